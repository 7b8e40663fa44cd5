"""What a model's file is, by its bytes, and who reads it; what is never read is told from there."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.errors import BackendError, MissingFile, ModelError
from export.adopt.foreign import Floats, Foreign, read_bytes
from export.adopt.keras_file import PICKLE, load_keras
from export.adopt.onnx_graph import read_onnx_model, standard_onnx
from export.adopt.saved_model import GRAPH, read_saved_model
from export.adopt.tflite_file import read_tflite
from export.adopt.tflite_graph import standard_tflite
from export.adopt.wanted import RAW, Notes, Wanted, settled_size
from export.convert import onnx, tflite

KINDS = "a .keras, .h5, .onnx or .tflite file, or a SavedModel folder"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_BATCH = 64


def read_model(path: Path, wanted: Wanted, notes: Notes) -> Foreign:
    """The model at `path`, whatever its kind. Raises ModelError, MissingFile."""
    if path.is_dir():
        if not (path / GRAPH).exists():
            raise ModelError(f"{path}: a folder without {GRAPH}; expected {KINDS}")
        return read_saved_model(path, wanted, notes)
    if not path.exists():
        raise MissingFile(f"{path}: no such file; expected {KINDS}")
    data = read_bytes(path)
    if data[4:8] == b"TFL3":
        return read_tflite(path, data, wanted, notes)
    if data[:4] == b"PK\x03\x04" or data[:8] == _HDF5:
        return _read_keras(path, data, wanted, notes)
    _refuse(path, data)
    return _read_onnx(path, data, wanted, notes)


def _refuse(path: Path, data: bytes) -> None:
    """Raise ModelError for what is known and not read."""
    suffix = path.suffix.lower()
    if data[:2] in _PICKLES or suffix in (".pt", ".pth", ".pkl", ".pickle", ".ckpt"):
        raise ModelError(f"{path}: {PICKLE}")
    if suffix in (".pb", ".pbtxt", ".meta"):
        raise ModelError(
            f"{path}: a TensorFlow 1 graph, which is not read; convert it where it was made: "
            "python -m tf2onnx.convert --graphdef frozen.pb --inputs X:0 --outputs Y:0 "
            "--output model.onnx, and adopt that"
        )
    if suffix in (".keras", ".h5", ".hdf5", ".tflite"):
        raise ModelError(f"{path}: not what its ending says, or damaged; copy it again")
    if not data:
        raise ModelError(f"{path}: empty; copy it again")
    if suffix != ".onnx":
        raise ModelError(f"{path}: expected {KINDS}, received something else")


def _read_onnx(path: Path, data: bytes, wanted: Wanted, notes: Notes) -> Foreign:
    model, scores, size, ends = standard_onnx(path, read_onnx_model(path, data), wanted, notes)
    scaling = RAW if ends.dtype is np.uint8 else None
    return Foreign(path, size, scores, ends.answers, scaling, onnx=model)


def _read_keras(path: Path, data: bytes, wanted: Wanted, notes: Notes) -> Foreign:
    model = load_keras(path, data, wanted)
    for what, ends in (("input", model.inputs), ("output", model.outputs)):
        if len(ends) != 1:
            raise ModelError(
                f"{path}: expected one {what}, received {len(ends)} "
                f"({', '.join(end.name for end in ends)[:200]}); save the part that gives emotions"
            )
    shape = model.inputs[0].shape
    if len(shape) != 4:
        raise ModelError(f"{path}: expected pictures (batch, height, width, channels), got {shape}")
    size = settled_size(str(path), tuple(shape[1:]), wanted, notes)
    own = _own_scaling(model)
    if own:
        notes.read.append(f"it scales its pixels itself (layer {own})")
    fixed = _fixed(model, size.shape)
    try:
        as_tflite, as_onnx = tflite.convert_fp32(fixed), _as_onnx(path, fixed, size.shape)
    except BackendError as error:
        raise ModelError(f"{path}: {error}") from None
    standard, scores = standard_tflite(as_tflite, str(path), wanted, notes)
    parsed = read_onnx_model(path, as_onnx)
    as_onnx, *_ = standard_onnx(path, parsed, wanted, Notes())

    def answers(values: Floats) -> Floats:
        starts = range(0, len(values), _BATCH)
        said = [fixed.predict_on_batch(values[i : i + _BATCH]) for i in starts]
        return np.concatenate(said).astype(np.float32).reshape(len(values), -1)

    scaling = RAW if own or model.inputs[0].dtype == "uint8" else None
    return Foreign(path, size, scores, answers, scaling, standard, as_onnx)


def _as_onnx(path: Path, model: Any, shape: tuple[int, int, int]) -> bytes:
    made = onnx.convert_fp32(model)
    if onnx.count_inputs(made) == 1:
        return made

    # Keras makes inputs of constants that are no variables, as a Normalization layer holds them.
    def network(values: Any) -> Any:
        return model(values, training=False)

    fixed = (1, *shape)
    return onnx.convert_function(tflite.frozen(network, fixed, str(path)), fixed, str(path))


def _fixed(model: Any, shape: tuple[int, int, int]) -> Any:
    """The model for float32 pictures of that shape, whatever its own input leaves open."""
    if tuple(model.inputs[0].shape[1:]) == shape and model.inputs[0].dtype == "float32":
        return model
    return onnx.for_pictures(model, shape)


def _own_scaling(model: Any) -> str:
    """The layer that scales the pixels, or ""."""
    for layer in model.layers:
        if type(layer).__name__ in ("Rescaling", "Normalization"):
            return str(layer.name)
        if hasattr(layer, "layers") and (inside := _own_scaling(layer)):
            return inside
        if layer.weights and not hasattr(layer, "layers"):
            break
    return ""
