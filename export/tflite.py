"""Keras model -> full-int8 TFLite. The only importer of TensorFlow in the project."""

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.cli.quiet import quiet
from edgeemo.contract.quantize import PIXEL_QUANTIZATION
from edgeemo.errors import BackendError
from edgeemo.optional import need

_ALIGNMENT = 16  # bytes, as TensorFlow Lite Micro's planner aligns tensors


def convert_int8(model: Any, calibration: NDArray[np.uint8] | None) -> bytes:
    """Full-integer, per-channel .tflite of a Keras model, calibrated on uint8 (N, 48, 48, 1) pictures.

    Without pictures the ranges of activations are those that the model's own `training.layers.FakeQuantize` layers hold.

    Raises:
        BackendError: the converter fails, or what it made is not purely int8 as the contract wants it.
    """
    tensorflow = need("tensorflow", "export", "to convert to TFLite")

    converter = tensorflow.lite.TFLiteConverter.from_keras_model(_batch_of_one(model))
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if calibration is not None:
        converter.representative_dataset = lambda: _one_by_one(calibration)
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tensorflow.int8
    converter.inference_output_type = tensorflow.int8
    try:
        with quiet():
            converted = bytes(converter.convert())
    except Exception as error:  # the converter raises its own and C++ kinds
        raise BackendError(
            f"TensorFlow cannot convert {model.name} to int8 ({' '.join(str(error).split())[:300]})"
        ) from None
    converted = _with_short_names(converted, {layer.name for layer in model.layers})
    check_full_int8(converted)
    return converted


def _one_by_one(pictures: NDArray[np.uint8]) -> Iterator[list[NDArray[np.float32]]]:
    for picture in pictures:
        yield [picture[np.newaxis].astype(np.float32)]


def _with_short_names(tflite: bytes, layers: Collection[str]) -> bytes:
    """The same model with tensors named after their layer and operation.

    The converter's names list every node that was fused into a tensor: 4 KB of `nano`'s 66.
    """
    utils = need("tensorflow.lite.tools.flatbuffer_utils", "export", "to write TFLite")
    flatbuffers = need("flatbuffers", "export", "to write TFLite")

    class Builder(flatbuffers.Builder):  # type: ignore[misc,name-defined]
        """Puts bytes, which weights are, at multiples of 16 as TFLite's schema asks; the library's own forgets it."""

        def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(size, count, _ALIGNMENT if size == 1 else alignment)

    graph = utils.convert_bytearray_to_object(tflite)
    seen: Counter[str] = Counter()
    for tensor in graph.subgraphs[0].tensors:
        name = _short_name(tensor.name.decode(), layers)
        seen[name] += 1
        tensor.name = name if seen[name] == 1 else f"{name}.{seen[name]}"
    builder = Builder(len(tflite))
    builder.Finish(graph.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _short_name(name: str, layers: Collection[str]) -> str:
    parts = name.partition(";")[0].split("/")
    for part in parts[:-1]:
        # The wrapping for a batch of one names each layer again, with a number behind.
        for layer in (part, part.rpartition("_")[0]):
            if layer in layers:
                return f"{layer}/{parts[-1]}"
    return "/".join(parts)


def check_full_int8(tflite: bytes) -> None:
    """Raise BackendError unless a .tflite is purely int8, per-channel, with scale 1 and zero point -128 at its input."""
    graph = _graph(tflite)
    for operator in graph.operators:
        for tensor in (*operator["inputs"], *operator["outputs"]):
            if tensor >= 0 and graph.tensors[tensor]["dtype"] not in (np.int8, np.int32):
                name = graph.tensors[tensor]["name"]
                raise BackendError(
                    f"int8.tflite: operator {operator['op_name']} works on {np.dtype(graph.tensors[tensor]['dtype'])} ({name}), "
                    "expected int8 alone; replace that layer"
                )
        if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = graph.tensors[operator["inputs"][1]]
            channels = graph.tensors[operator["outputs"][0]]["shape"][-1]
            if len(weights["quantization_parameters"]["scales"]) != channels:
                raise BackendError(f"int8.tflite: the weights {weights['name']} are not quantized per channel")
    scale, zero_point = graph.input["quantization"]
    if (scale, zero_point) != (PIXEL_QUANTIZATION.scale, PIXEL_QUANTIZATION.zero_point):
        raise BackendError(
            f"int8.tflite: expected scale 1 and zero point -128 at the input, the converter chose {scale} and {zero_point}; "
            "the calibration set must reach 0 and 255"
        )


def activation_bytes(tflite: bytes) -> int:
    """Largest sum of tensors alive at once over the operators in order, each aligned to 16 bytes; weights not counted."""
    graph = _graph(tflite)
    constant = graph.constants
    first: dict[int, int] = {graph.input["index"]: 0}
    last: dict[int, int] = {}
    for step, operator in enumerate(graph.operators):
        for tensor in (*operator["inputs"], *operator["outputs"]):
            if tensor >= 0 and tensor not in constant:
                first.setdefault(tensor, step)
                last[tensor] = step
    last[graph.output["index"]] = len(graph.operators) - 1
    sizes = {tensor: _aligned_bytes(graph.tensors[tensor]) for tensor in first}
    steps = range(len(graph.operators))
    return max(sum(sizes[t] for t in first if first[t] <= step <= last[t]) for step in steps)


def _aligned_bytes(tensor: dict[str, Any]) -> int:
    size = math.prod(int(n) for n in tensor["shape"]) * np.dtype(tensor["dtype"]).itemsize
    return int(-(-size // _ALIGNMENT) * _ALIGNMENT)


@dataclass(frozen=True)
class _Graph:
    tensors: dict[int, dict[str, Any]]
    operators: list[dict[str, Any]]
    constants: set[int]
    input: dict[str, Any]
    output: dict[str, Any]


def _graph(tflite: bytes) -> _Graph:
    interpreter = open_interpreter(tflite, "int8.tflite", kernels="plain")
    operators = interpreter._get_ops_details()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    produced = {int(t) for op in operators for t in op["outputs"]}
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    constants = {
        int(t) for op in operators for t in op["inputs"] if t >= 0 and t not in produced and t != source["index"]
    }
    return _Graph(tensors, operators, constants, source, target)


def _batch_of_one(model: Any) -> Any:
    """The model with its batch fixed to 1: micro interpreters and TensorRT want static shapes."""
    keras = need("keras", "export", "to convert")
    pixels = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="pixels")
    return keras.Model(pixels, model(pixels), name=model.name)
