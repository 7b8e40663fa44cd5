"""Keras model -> TFLite, in float and in int8.

The only importer of TensorFlow (but for training on several machines) and of ai-edge-quantizer.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.input_spec import Arithmetic
from edgeemo.errors import BackendError
from edgeemo.optional import need
from export.convert.graph import ALIGNMENT, check_full_int8, read_graph
from workstation.quiet import quiet

# Where the operators with weights have their parts: input, weights, bias.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_INT8, _INT16 = 8, 16  # bits
BIAS_LIMIT = 1 << 28
"""Most steps of a bias: a quarter of what sums may have in C, and less than 32 bits for LiteRT."""


def convert_fp32(model: Any) -> bytes:
    """Float .tflite of a Keras model: float32 (1, H, W, C) raw pixels in, (1, classes) logits out.

    Raises BackendError.
    """
    tensorflow = need("tensorflow", "export", "to convert to TFLite")
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(_batch_of_one(model))
    return _converted(converter, model)


def convert_function(function: Any, shape: Sequence[int], name: str) -> bytes:
    """Float .tflite of a TensorFlow function of one float32 tensor of that shape.

    Raises BackendError.
    """
    tensorflow = need("tensorflow", "export", "to convert to TFLite")
    spec = tensorflow.TensorSpec(shape, tensorflow.float32, name="pixels")
    concrete = tensorflow.function(function, autograph=False).get_concrete_function(spec)
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([concrete], function)
    try:
        with quiet():
            return bytes(converter.convert())
    except Exception as error:  # as below
        raise BackendError(
            f"TensorFlow cannot convert {name} to TFLite ({_in_short(error)})"
        ) from None


def cast(values: Any, dtype: str) -> Any:
    """A tensor with elements of the type of that name."""
    tensorflow = need("tensorflow", "export", "to convert to TFLite")
    return tensorflow.cast(values, dtype)


def frozen(function: Any, shape: Sequence[int], name: str) -> Any:
    """A TensorFlow function of one float32 tensor of that shape and with one output, with its
    variables and what else it holds (as a Normalization layer does) as constants inside.

    Raises BackendError.
    """
    tensorflow = need("tensorflow", "export", "to convert to TFLite")
    constants = need(
        "tensorflow.python.framework.convert_to_constants", "export", "to convert to TFLite"
    )
    spec = tensorflow.TensorSpec(shape, tensorflow.float32, name="pixels")
    try:
        with quiet():
            concrete = tensorflow.function(function, autograph=False).get_concrete_function(spec)
            if any(node.op.startswith("Assign") for node in _nodes(concrete)):
                raise BackendError(
                    f"{name}: changes its variables while it answers, as batch normalization in "
                    "training mode does; export a function that calls model(x, training=False), or "
                    "adopt the .keras file"
                )
            whole = constants.convert_variables_to_constants_v2(concrete)
    except BackendError:
        raise
    except Exception as error:  # as below
        raise BackendError(f"TensorFlow cannot freeze {name} ({_in_short(error)})") from None

    def constant(values: Any) -> Any:
        return whole(tensorflow.convert_to_tensor(values))[0]

    return constant


def _nodes(concrete: Any) -> Iterator[Any]:
    """The nodes of a concrete function and of those that it calls."""
    graph = concrete.graph.as_graph_def()
    yield from graph.node
    for called in graph.library.function:
        yield from called.node_def


def load_saved_model(path: Path, signature: str) -> Any:
    """A SavedModel and its signature, which must have been looked at before: it is a program.

    Returns:
        (what keeps its variables alive, the signature's concrete function).

    Raises BackendError.
    """
    tensorflow = need("tensorflow", "export", "to read a SavedModel")
    try:
        with quiet():
            loaded = tensorflow.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's own and C++ kinds
        raise BackendError(f"{path}: cannot be loaded ({_in_short(error)})") from None
    if signature not in loaded.signatures:
        raise BackendError(
            f"{path}: has no signature {signature!r} (only {', '.join(loaded.signatures)[:200]}); "
            "export it again with model.export(PATH)"
        )
    return loaded, loaded.signatures[signature]


def parse_saved_model(data: bytes) -> Any:
    """The message that saved_model.pb holds; nothing of it is run. Raises BackendError."""
    pb = need("tensorflow.core.protobuf.saved_model_pb2", "export", "to read a SavedModel")
    message = pb.SavedModel()
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf's own
        raise BackendError(f"no SavedModel ({_in_short(error)})") from None
    return message


def convert_trained(simulated: Any) -> bytes:
    """Full-int8, per-channel .tflite of a network of quantization-aware training.

    It has the ranges that the network's layers hold.

    Raises:
        BackendError: the converter fails, or what it made is not purely int8 as the contract wants.
    """
    tensorflow = need("tensorflow", "export", "to convert to TFLite")
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(_batch_of_one(simulated))
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.inference_input_type = tensorflow.int8
    converter.inference_output_type = tensorflow.int8
    converted = _converted(converter, simulated)
    check_full_int8(converted)
    return converted


def quantize(
    fp32: bytes,
    ranges: Mapping[str, tuple[float, float]],
    *,
    wide: Collection[str] = (),
    arithmetic: Arithmetic = Arithmetic.GRAPH,
) -> bytes:
    """int8 .tflite of a float one, with per-channel weights.

    Args:
        ranges: low and high of each tensor, by name.
        wide: tensors whose operators get 16-bit activations.
        arithmetic: whether the model takes pixels, or what the runtime makes of them.

    Raises:
        BackendError: the quantizer fails, or there is an operator without an int8 kernel; the
            message names its layer.
    """
    library = need("ai_edge_quantizer", "export", "to quantize TFLite")
    every = library.qtyping.TFLOperationName.ALL_SUPPORTED
    graph = read_graph(fp32, "fp32.tflite")
    named_ends = {name: (("min", low), ("max", high)) for name, (low, high) in ranges.items()}
    ranks = {tensor["name"]: len(tensor["shape"]) for tensor in graph.tensors.values()}
    try:
        with quiet():
            quantizer = library.quantizer.Quantizer(fp32)
            quantizer.add_static_config(
                ".*", every, activation_num_bits=_INT8, weight_num_bits=_INT8
            )
            for name in wide:
                exactly = f"^{re.escape(name)};?$"
                quantizer.add_static_config(
                    exactly, every, activation_num_bits=_INT16, weight_num_bits=_INT8
                )
            statistics = {
                name: {end: np.full((1,) * ranks[name], value, np.float32) for end, value in ends}
                for name, ends in named_ends.items()
            }
            quantized = bytes(
                quantizer.quantize(statistics, enable_progress_report=False).quantized_model
            )
    except Exception as error:  # its own ValueErrors, KeyErrors and RuntimeErrors
        raise BackendError(
            f"ai-edge-quantizer cannot quantize the model ({_in_short(error)})"
        ) from None
    quantized = with_fitting_biases(fp32, quantized)
    check_full_int8(quantized, wide=bool(wide), arithmetic=arithmetic)
    return quantized


def with_fitting_biases(fp32: bytes, int8: bytes) -> bytes:
    """The int8 .tflite, with coarser weights where a bias would not fit into 32 bits.

    A bias is stored in steps of its input's scale times its channel's. The scale of a channel
    whose weights are all zero is next to nothing, so that the quantizer clips its bias to next to
    nothing too, and the C kernels have no room left for sums. Steps that bring the float bias of
    `fp32` to BIAS_LIMIT are fine enough: what they round weights by is far below the bias.
    """
    graph, floats = read_graph(int8), open_interpreter(fp32, "fp32.tflite", kernels="plain")
    numbers = {tensor["name"]: tensor["index"] for tensor in floats.get_tensor_details()}
    written, changed = unpacked(int8), False
    for operator in graph.operators:
        if operator["op_name"] not in WEIGHTED or len(operator["inputs"]) < 3:
            continue
        places = [int(tensor) for tensor in operator["inputs"][:3]]
        if places[2] < 0 or graph.tensors[places[2]]["dtype"] != np.int32:
            continue
        tensors = [written.subgraphs[0].tensors[place] for place in places]
        stored = written.buffers[tensors[2].buffer].data.view(np.int32)
        step = np.asarray(tensors[2].quantization.scale, np.float64)
        large = np.abs(stored.astype(np.int64)) > BIAS_LIMIT
        if not large.any() or len(step) != len(stored):
            continue
        real = floats.get_tensor(numbers[graph.tensors[places[2]]["name"]]).astype(np.float64)
        _coarsen(written, tensors, large, np.maximum(1, np.abs(real) / (BIAS_LIMIT * step)), real)
        changed = True
    return packed(written, len(int8)) if changed else int8


def _coarsen(
    model: Any,
    tensors: Sequence[Any],
    channels: NDArray[np.bool_],
    factors: NDArray[np.float64],
    bias: NDArray[np.float64],
) -> None:
    """Make the steps of those channels `factors` (outputs,) times as large.

    `tensors` are an operator's input, weights and bias in `model`; `bias` is the float one.
    """
    _, kernel, offsets = tensors
    factors = np.where(channels, factors, 1.0)
    shape = [1] * len(kernel.shape)
    shape[kernel.quantization.quantizedDimension] = -1
    weights = model.buffers[kernel.buffer].data.view(np.int8).reshape(kernel.shape)
    rounded = np.round(weights / factors.reshape(shape)).astype(np.int8)
    scales = [
        (np.asarray(tensor.quantization.scale, np.float64) * factors).astype(np.float32)
        for tensor in (kernel, offsets)
    ]
    kernel.quantization.scale, offsets.quantization.scale = scales
    stored = model.buffers[offsets.buffer].data.view(np.int32)
    again = np.where(channels, np.round(bias / scales[1].astype(np.float64)), stored)
    model.buffers[kernel.buffer].data = np.frombuffer(rounded.tobytes(), np.uint8)
    model.buffers[offsets.buffer].data = np.frombuffer(again.astype(np.int32).tobytes(), np.uint8)


def with_corrected_biases(
    fp32: bytes, int8: bytes, means: Mapping[str, NDArray[np.float64]]
) -> bytes:
    """The float .tflite `fp32` with biases that make up for the rounding of its weights.

    `int8` was made from it. Rounded weights W' shift an output channel's mean by (W' - W) E[x],
    where E[x] are the means of the layer's input channels, `means` by tensor; that much is taken
    off its bias (Nagel et al. 2019, 4.2; the padded border is not accounted for).
    """
    rounded = _weights_by_name(int8)
    graph = read_graph(fp32, "fp32.tflite")
    values = open_interpreter(fp32, "fp32.tflite", kernels="plain")
    written = unpacked(fp32)
    for operator in graph.operators:
        if (
            operator["op_name"] not in WEIGHTED
            or len(operator["inputs"]) < 3
            or operator["inputs"][2] < 0
        ):
            continue
        source, weights, bias = (int(tensor) for tensor in operator["inputs"][:3])
        error = rounded[graph.tensors[weights]["name"]] - values.get_tensor(weights)
        shift = _mean_shift(operator["op_name"], error, means[graph.tensors[source]["name"]])
        corrected = (values.get_tensor(bias) - shift).astype(np.float32)
        written.buffers[written.subgraphs[0].tensors[bias].buffer].data = np.frombuffer(
            corrected.tobytes(), np.uint8
        )
    return packed(written, len(fp32))


def _mean_shift(
    operator: str, error: NDArray[np.float64], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64 (outputs,): what `error` of the weights adds to the mean of each output.

    `means` are those of the inputs.
    """
    if operator == "DEPTHWISE_CONV_2D":  # (1, height, width, outputs)
        each = error.sum(axis=(0, 1, 2))
        return np.asarray(each * np.repeat(means, len(each) // len(means)))
    if operator == "CONV_2D":  # (outputs, height, width, inputs)
        error = error.sum(axis=(1, 2))
    return np.asarray(error @ means)


def _weights_by_name(int8: bytes) -> dict[str, NDArray[np.float64]]:
    """The real values of an int8 file's constant tensors of more than one axis, by name."""
    graph = read_graph(int8)
    interpreter = open_interpreter(int8, "int8.tflite", kernels="plain")
    weights = {}
    for index in graph.constants:
        tensor = graph.tensors[index]
        parameters = tensor["quantization_parameters"]
        scales, axis = parameters["scales"], parameters["quantized_dimension"]
        if tensor["dtype"] == np.int8 and len(tensor["shape"]) > 1 and len(scales):
            shape = [1] * len(tensor["shape"])
            shape[axis] = -1
            by_channel = scales.astype(np.float64).reshape(shape)
            weights[tensor["name"]] = interpreter.get_tensor(index) * by_channel
    return weights


def _converted(converter: Any, model: Any) -> bytes:
    try:
        with quiet():
            converted = bytes(converter.convert())
    except Exception as error:  # the converter raises its own and C++ kinds
        raise BackendError(
            f"TensorFlow cannot convert {model.name} to TFLite ({_in_short(error)})"
        ) from None
    return _with_short_names(converted, [layer.name for layer in model.layers])


def _with_short_names(tflite: bytes, layers: Collection[str]) -> bytes:
    """The same model with tensors named after their layer and operation.

    The converter's names list every node that was fused into a tensor: 4 KB of `nano`'s 66.
    """
    graph = unpacked(tflite)
    uses: Counter[str] = Counter()
    for tensor in graph.subgraphs[0].tensors:
        name = _short_name(tensor.name.decode(), layers)
        uses[name] += 1
        tensor.name = name if uses[name] == 1 else f"{name}.{uses[name]}"
    return packed(graph, len(tflite))


def unpacked(tflite: bytes) -> Any:
    """A .tflite as an object, with the constants that lie behind its tables, as the quantizer writes
    those of large networks, among its buffers.
    """
    utils = need("tensorflow.lite.tools.flatbuffer_utils", "export", "to write TFLite")
    graph = utils.convert_bytearray_to_object(tflite)
    for buffer in graph.buffers:
        if buffer.data is None and buffer.offset > 1:
            data = np.frombuffer(tflite, np.uint8, buffer.size, buffer.offset)
            buffer.data, buffer.offset, buffer.size = data, 0, 0
    return graph


def packed(graph: Any, size: int) -> bytes:
    """The bytes of a .tflite object of about `size` bytes."""
    flatbuffers = need("flatbuffers", "export", "to write TFLite")

    class Builder(flatbuffers.Builder):  # type: ignore[misc,name-defined]
        """Puts bytes, which weights are, at multiples of 16, as TFLite's schema asks.

        The library's own builder forgets it.
        """

        def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(size, count, ALIGNMENT if size == 1 else alignment)

    builder = Builder(size)
    builder.Finish(graph.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _short_name(name: str, layers: Collection[str]) -> str:
    if name.startswith("StatefulPartitionedCall"):  # the graph's output, whatever made it
        return f"{list(layers)[-1]}/output"
    parts = name.partition(";")[0].split("/")
    for part in parts[:-1]:
        # The wrapping for a batch of one names each layer again, with a number behind.
        for layer in (part, part.rpartition("_")[0]):
            if layer in layers:
                return f"{layer}/{parts[-1]}"
    return "/".join(parts)


def _batch_of_one(model: Any) -> Any:
    """The model as it infers (see `onnx.for_pictures`), its batch fixed to 1: micro interpreters
    and TensorRT want static shapes.
    """
    keras = need("keras", "export", "to convert")
    pixels = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="pixels")
    return keras.Model(pixels, model(pixels, training=False), name=model.name)


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
