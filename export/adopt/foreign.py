"""A model from elsewhere, read: its networks in our contract, and what the file itself answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.checked.reading import read_regular, why_no_file
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import Quantization, softmax
from edgeemo.errors import MissingFile, ModelError
from export.adopt.tflite_graph import standard_tflite
from export.adopt.wanted import RAW, Notes, Scaling, Scores, Wanted, settled_size

MAX_BYTES = 1 << 30
"""Of a model file; a bundle's files take 64 MB at most."""

Floats = NDArray[np.float32]
Answers = Callable[[Floats], Floats]
"""float32 (N, H, W, C), as a first layer takes them, to float32 (N, outputs) of the file itself."""


@dataclass(frozen=True)
class Foreign:
    """A model from elsewhere whose ends are as our contract wants them."""

    path: Path
    """Its file or folder."""
    size: InputSpec
    """Height, width and channels that it takes."""
    scores: Scores
    """What its own outputs are."""
    original: Answers = field(repr=False)
    """What the file itself answers."""
    scaling: Scaling | None = None
    """What its first layer takes for a pixel, where the file says so."""
    tflite: bytes | None = field(default=None, repr=False)
    """Its network as .tflite with logits out, float or int8; None where there is none."""
    onnx: bytes | None = field(default=None, repr=False)
    """Its float network as .onnx with logits out; None where there is none."""
    is_int8: bool = False
    """Whether it was quantized elsewhere; then `tflite` is int8."""

    def probabilities(self, values: Floats) -> Floats:
        """float32 (N, labels): the scores that the file itself gives, whatever its outputs are."""
        said = self.original(values)
        if self.scores is Scores.LOGITS:
            return softmax(said if said.shape[1] > 1 else np.hstack([np.zeros_like(said), said]))
        return said if said.shape[1] > 1 else np.hstack([1 - said, said])


def read_bytes(path: Path) -> bytes:
    """A model file's bytes. Raises MissingFile, ModelError."""
    if why := why_no_file(path):
        raise MissingFile(f"{path}: {why}; check the path")
    try:
        return read_regular(path, MAX_BYTES)
    except ValueError as error:
        raise ModelError(f"{path}: {error}; no bundle holds so large a model") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def read_tflite(path: Path, wanted: Wanted, notes: Notes) -> Foreign:
    """A .tflite, float or int8. Raises ModelError, MissingFile."""
    data = read_bytes(path)
    standard, scores = standard_tflite(data, str(path), wanted, notes)
    interpreter = open_interpreter(standard, str(path), kernels="plain")
    source = interpreter.get_input_details()[0]
    shape = [int(n) for n in source["shape"]]
    if len(shape) != 4 or shape[0] != 1:
        raise ModelError(f"{path}: expected one picture (1, height, width, channels), got {shape}")
    size = settled_size(str(path), _sides(source, shape), wanted, notes)
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


def _sides(source: dict, shape: list[int]) -> tuple[int | None, ...]:  # type: ignore[type-arg]
    """Height, width and channels, None where the file leaves them open."""
    return tuple(shape[1:])


def _scaling(data: bytes, source: dict, name: str) -> Scaling | None:  # type: ignore[type-arg]
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


def _stored(values: Floats, tensor: dict) -> NDArray:  # type: ignore[type-arg]
    """Real values as the tensor stores them."""
    scale, zero_point = tensor["quantization"]
    dtype = np.dtype(tensor["dtype"])
    if not scale:
        return values.astype(dtype)
    shift = 128 if dtype == np.uint8 else 0
    stored = Quantization(float(scale), int(zero_point) - shift).quantize(values)
    return (stored.astype(np.int16) + shift).astype(dtype)


def _real(stored: NDArray, tensor: dict) -> Floats:  # type: ignore[type-arg]
    """What the tensor's values mean."""
    scale, zero_point = tensor["quantization"]
    if not scale:
        return np.asarray(stored, np.float32)
    real = (stored.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    return np.asarray(real, np.float32)
