"""Keras model -> fp32 ONNX -> int8 ONNX (QDQ)."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.quantize import looked_up
from edgeemo.errors import BackendError
from edgeemo.optional import need
from export.convert import onnx_symmetric as symmetric
from export.convert.calibration import RAW_PIXELS
from workstation.quiet import quiet

OPSET = 17
PERCENTILE = 99.99  # of a tensor's values, at each end, that are inside its range
_INPUT = "pixels"
_WEIGHTED = ("Conv", "Gemm")


def check_installed(purpose: str) -> None:
    """Say before anything takes time where ONNX Runtime does not work.

    Raises MissingDependency, BrokenDependency.
    """
    need("onnxruntime", "export", purpose)


def convert_fp32(model: Any) -> bytes:
    """fp32 ONNX of a Keras model: float32 (1, H, W, C) raw pixels in, (1, classes) logits out.

    Raises BackendError.
    """
    keras = need("keras", "export", "to convert to ONNX")
    onnx = need("onnx", "export", "to write ONNX")
    shape = model.input_shape[1:]
    signature = [keras.InputSpec(shape=(1, *shape), dtype="float32", name=_INPUT)]
    infers = for_pictures(model, shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fp32.onnx")
        try:
            with quiet():
                infers.export(
                    str(path),
                    format="onnx",
                    verbose=False,
                    input_signature=signature,
                    opset_version=OPSET,
                )
        except Exception as error:  # tf2onnx raises ValueErrors, RuntimeErrors and its own
            raise BackendError(
                f"tf2onnx cannot convert {model.name} ({_in_short(error)})"
            ) from None
        exported = onnx.load(path)
    onnx.checker.check_model(exported)
    return bytes(exported.SerializeToString())


def count_inputs(model: bytes) -> int:
    """How many inputs an ONNX model has beside its constants."""
    graph = need("onnx", "export", "to read ONNX").load_from_string(model).graph
    constants = {tensor.name for tensor in graph.initializer}
    return len({entry.name for entry in graph.input} - constants)


def for_pictures(model: Any, shape: Sequence[int]) -> Any:
    """A Keras model for float32 (N, *shape) pictures, whatever its own input leaves open.

    It infers, and says so: layers such as Resizing, whose call has training=True by default, put
    those behind them in training mode otherwise (Keras 3.15), batch normalization too.
    """
    keras = need("keras", "export", "to convert")
    pixels = keras.Input(tuple(shape), dtype="float32", name=_INPUT)
    return keras.Model(pixels, model(pixels, training=False), name=model.name)


def convert_function(function: Any, shape: Sequence[int], name: str) -> bytes:
    """fp32 ONNX of a TensorFlow function of one float32 tensor of that shape.

    Raises BackendError.
    """
    keras = need("keras", "export", "to convert to ONNX")
    pixels = keras.Input(batch_shape=tuple(shape), name=_INPUT)
    layer = keras.layers.Lambda(function, name="network")
    return convert_fp32(keras.Model(pixels, layer(pixels), name="network"))


def convert_fp16(fp32: bytes) -> bytes:
    """The fp32 ONNX with float16 weights and arithmetic; input and output stay float32.

    Raises BackendError.
    """
    onnx = need("onnx", "export", "to write ONNX")
    float16 = need("onnxruntime.transformers.float16", "export", "to convert ONNX to float16")
    onnx_model = need("onnxruntime.quantization.onnx_model", "export", "to convert ONNX to float16")
    try:
        with quiet():
            halved = float16.convert_float_to_float16(
                onnx.load_from_string(fp32), keep_io_types=True
            )
            onnx_model.ONNXModel(halved).topological_sort()  # the casts were put at the end
        onnx.checker.check_model(halved)
    except Exception as error:  # it raises ValueErrors and onnx's own
        raise BackendError(
            f"ONNX Runtime cannot convert the model to float16 ({_in_short(error)})"
        ) from None
    return bytes(halved.SerializeToString())


def convert_int8(
    fp32: bytes,
    calibration: NDArray[np.uint8],
    method: str = "min-max",
    as_float: Collection[str] = (),
    table: NDArray[np.float32] = RAW_PIXELS,
    *,
    for_tensorrt: bool = False,
) -> bytes:
    """int8 QDQ ONNX: per-channel weights in 7 bits, activations int8.

    Seven bits (`reduce_range`), because on x86-64 without VNNI the products of full 8-bit weights
    saturate (docs/stack.md). `calibration` are uint8 (N, H, W, C) pictures, `method` is "min-max"
    or "percentile", and the nodes `as_float` stay float32. `table` (C, 256) says what the model
    takes for a pixel. With `for_tensorrt` it is symmetric, in 8 bits, with the pairs where TensorRT
    wants them (export.convert.onnx_symmetric). Raises BackendError.
    """
    quantization = need("onnxruntime.quantization", "export", "to quantize ONNX")
    onnx = need("onnx", "export", "to quantize ONNX")
    calibrate = {"min-max": "MinMax", "percentile": "Percentile"}[method]
    settings: dict[str, Any] = {"reduce_range": True}
    if for_tensorrt:
        settings = symmetric.settings(onnx.load_from_string(fp32).graph)
    options = {"CalibPercentile": PERCENTILE} | settings.pop("extra_options", {})
    left_out = [*as_float, *settings.pop("nodes_to_exclude", [])]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "folded.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(fp32)
        try:
            with quiet():
                quantization.quantize_static(
                    source,
                    target,
                    _Reader(fp32, calibration, table),
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=quantization.QuantType.QInt8,
                    weight_type=quantization.QuantType.QInt8,
                    calibrate_method=quantization.CalibrationMethod[calibrate],
                    nodes_to_exclude=left_out,
                    extra_options=options,
                    **settings,
                )
        except Exception as error:  # ONNX Runtime's own classes derive from Exception only
            raise BackendError(
                f"ONNX Runtime cannot quantize the model ({_in_short(error)})"
            ) from None
        if for_tensorrt:
            made = onnx.load(target)
            symmetric.tidy(made)
            return bytes(made.SerializeToString())
        return target.read_bytes()


def folded(fp32: bytes) -> bytes:
    """The fp32 ONNX as quantization wants it: shapes inferred, constants folded away.

    Raises BackendError.
    """
    shape_inference = need("onnxruntime.quantization.shape_inference", "export", "to quantize ONNX")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "folded.onnx")
        source.write_bytes(fp32)
        try:
            with quiet():
                shape_inference.quant_pre_process(source, target, skip_symbolic_shape=True)
        except Exception as error:
            raise BackendError(
                f"ONNX Runtime cannot prepare the model for quantization ({_in_short(error)})"
            ) from None
        return target.read_bytes()


def entropy_ranges(samples: Mapping[str, NDArray[np.float32]]) -> dict[str, tuple[float, float]]:
    """Low and high of each tensor's values.

    They are cut where the 8-bit histogram has the smallest KL divergence to that of the values.
    """
    calibrate = need("onnxruntime.quantization.calibrate", "export", "to calibrate")
    # Bins of the values, and levels that they are cut to; with as many of the one as of the other
    # there would be nothing to search.
    collector = calibrate.HistogramCollector("entropy", False, 2048, 256, PERCENTILE, "same")
    with quiet():
        collector.collect({name: [values] for name, values in samples.items()})
        ranges = collector.compute_collection_result()
    return {name: (float(low), float(high)) for name, (low, high, *_) in ranges.items()}


def with_corrected_biases(
    fp32: bytes,
    int8: bytes,
    calibration: NDArray[np.uint8],
    table: NDArray[np.float32] = RAW_PIXELS,
) -> bytes:
    """`fp32`, as `folded` gives it, with biases that make up for the rounding of its weights.

    `int8` was made from it. Rounded weights W' shift an output channel's mean by (W' - W) E[x],
    where E[x] are the means of the node's input channels; that much is taken off its bias (Nagel
    et al. 2019, 4.2; the padded border is not accounted for).
    """
    onnx = need("onnx", "export", "to write ONNX")
    model, rounded = onnx.load_from_string(fp32), _dequantized(int8)
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = [
        node
        for node in model.graph.node
        if node.op_type in _WEIGHTED and {*node.input[1:]} <= {*values} and len(node.input) > 2
    ]
    if not nodes:
        return fp32
    means = _channel_means(fp32, [node.input[0] for node in nodes], calibration, table)
    for node in nodes:
        if node.input[1] not in rounded:
            continue  # a node that stays float
        weights, bias = (onnx.numpy_helper.to_array(values[name]) for name in node.input[1:3])
        error = rounded[node.input[1]] - weights
        shift = _mean_shift(node, error, means[node.input[0]])
        corrected = onnx.numpy_helper.from_array((bias - shift).astype(np.float32), node.input[2])
        values[node.input[2]].CopyFrom(corrected)
    return bytes(model.SerializeToString())


def _mean_shift(
    node: Any, error: NDArray[np.float64], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 (outputs,): what `error` of the weights adds to the mean of each output."""
    error = error.reshape(*error.shape[:2], -1).sum(axis=2)
    if node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute):
        error = error.T
    if error.shape[1] == len(means):
        return np.asarray(error @ means)
    # A depthwise convolution has one input channel an output.
    return np.asarray(error[:, 0] * np.repeat(means, len(error) // len(means)))


def worst_nodes(
    fp32: bytes,
    int8: bytes,
    pictures: NDArray[np.uint8],
    table: NDArray[np.float32] = RAW_PIXELS,
) -> list[str]:
    """Names of the nodes with weights, those that lose most (in SQNR) first.

    `fp32` is what `int8` was made from; the comparison is ONNX Runtime's own. Each node is judged
    with the inputs that the nodes before it gave.
    """
    debug = need("onnxruntime.quantization.qdq_loss_debug", "export", "to compare layers")
    onnx = need("onnx", "export", "to read ONNX")
    with tempfile.TemporaryDirectory() as folder, quiet():
        activations = []
        for name, model in (("fp32", fp32), ("int8", int8)):
            plain, watched = Path(folder, f"{name}.onnx"), Path(folder, f"{name}-watched.onnx")
            plain.write_bytes(model)
            debug.modify_model_output_intermediate_tensors(str(plain), str(watched))
            reader = _Reader(model, pictures, table)
            activations.append(debug.collect_activations(str(watched), reader))
        errors = debug.compute_activation_error(
            debug.create_activation_matching(*reversed(activations))
        )
    graph = onnx.load_from_string(fp32).graph
    # A ReLU belongs to the node before it, and only what comes out of it is quantized.
    behind = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "Relu"}
    ends = {
        node.name: behind.get(node.output[0], node.output[0])
        for node in graph.node
        if node.op_type in _WEIGHTED
    }
    rated = [
        (float(errors[end]["xmodel_err"]), name) for name, end in ends.items() if end in errors
    ]
    return [name for _, name in sorted(rated)]


def opset(model: bytes) -> int:
    """The opset of the default domain that an ONNX model states."""
    onnx = need("onnx", "export", "to read ONNX")
    imports = onnx.load_from_string(model).opset_import
    return int(next(entry.version for entry in imports if entry.domain in ("", "ai.onnx")))


class _Reader:
    """What ONNX Runtime's tools draw their pictures from (its CalibrationDataReader protocol)."""

    def __init__(
        self, model: bytes, pictures: NDArray[np.uint8], table: NDArray[np.float32]
    ) -> None:
        name = _input_name(model)
        self._feeds = ({name: looked_up(table, picture[np.newaxis])} for picture in pictures)

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return self._feeds

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._feeds, None)


def _input_name(model: bytes) -> str:
    onnx = need("onnx", "export", "to read ONNX")
    return str(onnx.load_from_string(model).graph.input[0].name)


def _dequantized(int8: bytes) -> dict[str, NDArray[np.float64]]:
    """The real values of a QDQ model's weights, by the name that they have in the float model."""
    onnx = need("onnx", "export", "to read ONNX")
    graph = onnx.load_from_string(int8).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    rounded = {
        node.output[0]: node.input[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in values
    }
    weights = {}
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        name = rounded.get(node.input[0], node.input[0])
        if name not in values or values[name].ndim < 2:
            continue
        stored, scale = values[name], values[node.input[1]].astype(np.float64)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [1] * stored.ndim
        shape[axis] = -1
        scale = scale.reshape(shape) if scale.ndim else scale
        if node.input[0] in rounded:  # float weights, with both nodes behind them
            stored = np.clip(np.rint(stored / scale), -128, 127)
        weights[name.removesuffix("_quantized")] = stored * scale
    return weights


def _channel_means(
    fp32: bytes,
    tensors: Sequence[str],
    pictures: NDArray[np.uint8],
    table: NDArray[np.float32],
) -> dict[str, NDArray[np.float64]]:
    """float64 (channels,) means over the pictures of an ONNX model's tensors (1, channels, ...)."""
    onnx, runtime = (
        need("onnx", "export", "to read ONNX"),
        need("onnxruntime", "export", "to run ONNX"),
    )
    model = onnx.load_from_string(fp32)
    inputs = {entry.name for entry in model.graph.input}
    known = {entry.name for entry in model.graph.output} | inputs
    names = list(dict.fromkeys(tensors))
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (source,) = inputs
    totals = {name: np.zeros(()) for name in names}
    for picture in pictures:
        values = session.run(names, {source: looked_up(table, picture[np.newaxis])})
        for name, value in zip(names, values, strict=True):
            totals[name] = totals[name] + value.reshape(*value.shape[:2], -1).mean(
                axis=(0, 2), dtype=np.float64
            )
    return {name: total / len(pictures) for name, total in totals.items()}


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
