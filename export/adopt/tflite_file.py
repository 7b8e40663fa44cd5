"""A .tflite from elsewhere, float or int8."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.quantize import Quantization
from edgeemo.errors import ModelError
from export.adopt.foreign import Answers, Floats, Foreign
from export.adopt.tflite_graph import standard_tflite
from export.adopt.wanted import RAW, Notes, Scaling, Wanted, settled_size


def read_tflite(path: Path, data: bytes, wanted: Wanted, notes: Notes) -> Foreign:
    """The model in the bytes of a .tflite. Raises ModelError."""
    standard, scores = standard_tflite(data, str(path), wanted, notes)
    interpreter = open_interpreter(standard, str(path), kernels="plain")
    source = interpreter.get_input_details()[0]
    shape = [int(n) for n in source["shape"]]
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"{path}: expected one picture (1, height, width, channels), got {shape}")
    size = settled_size(str(path), shape[1:], wanted, notes)
    is_int8 = np.dtype(source["dtype"]) == np.int8
    return Foreign(
        path,
        size,
        scores,
        tflite_answers(data, str(path)),
        scaling=_scaling(data, source, str(path)),
        tflite=standard,
        is_int8=is_int8,
    )


def _scaling(data: bytes, source: dict[str, Any], name: str) -> Scaling | None:
    """Pixels as they are, where the file takes uint8 without a scale; of int8, the scaling that
    spreads 0..255 over all that can be stored.
    """
    own = open_interpreter(data, name, kernels="plain").get_input_details()[0]
    if np.dtype(own["dtype"]) == np.uint8 and not own["quantization"][0]:
        return RAW
    scale, zero_point = (float(value) for value in source["quantization"])
    if scale:
        return Scaling((scale,), (scale * (-128 - zero_point),))
    return None


def tflite_answers(tflite: bytes, name: str) -> Answers:
    """What a .tflite itself answers, before anything in it is changed."""
    interpreter = open_interpreter(tflite, name, kernels="plain")
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def answers(values: Floats) -> Floats:
        stored = _stored(values, source)
        said = []
        for i in range(len(values)):
            interpreter.set_tensor(source["index"], stored[i : i + 1])
            interpreter.invoke()
            said.append(_real(interpreter.get_tensor(target["index"]), target).ravel())
        return np.stack(said)

    return answers


def _stored(values: Floats, tensor: dict[str, Any]) -> NDArray[Any]:
    """Real values as the tensor stores them."""
    scale, zero_point = tensor["quantization"]
    dtype = np.dtype(tensor["dtype"])
    if not scale:
        return values.astype(dtype)
    shift = 128 if dtype == np.uint8 else 0
    stored = Quantization(float(scale), int(zero_point) - shift).quantize(values)
    return (stored.astype(np.int16) + shift).astype(dtype)


def _real(stored: NDArray[Any], tensor: dict[str, Any]) -> Floats:
    """What the tensor's values mean."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return np.asarray(stored, np.float32)
    real = (stored.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return np.asarray(real, np.float32)
