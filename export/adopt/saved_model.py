"""A SavedModel folder from elsewhere: looked at before anything of it runs, for it is a program."""

from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.errors import BackendError, ModelError
from export.adopt.foreign import Floats, Foreign, read_bytes
from export.adopt.keras_file import on_tensorflow
from export.adopt.onnx_graph import read_onnx_model, standard_onnx
from export.adopt.saved_model_program import check_program
from export.adopt.tflite_graph import standard_tflite
from export.adopt.wanted import Notes, Wanted, settled_size
from export.convert import onnx, tflite

GRAPH = "saved_model.pb"
_SIGNATURE = "serving_default"
_DTYPES = {"float32": np.float32, "uint8": np.uint8, "float16": np.float16, "float64": np.float64}


def read_saved_model(path: Path, wanted: Wanted, notes: Notes) -> Foreign:
    """The SavedModel in the folder `path`. Raises ModelError, MissingFile."""
    on_tensorflow()
    try:
        check_program(path, tflite.parse_saved_model(read_bytes(path / GRAPH)))
        keeper, signature = tflite.load_saved_model(path, _SIGNATURE)
    except BackendError as error:
        raise ModelError(f"{path / GRAPH}: {error}; save it again with model.export") from None
    name, shape, dtype = _input(path, signature)
    size = settled_size(str(path), shape, wanted, notes)
    output = _output(path, signature)

    def network(values: Any) -> Any:
        return signature(**{name: tflite.cast(values, dtype)})[output]

    fixed = (1, *size.shape)
    try:
        constant = tflite.frozen(network, fixed, str(path))
        del keeper  # of the variables
        as_tflite = tflite.convert_function(constant, fixed, str(path))
        as_onnx = onnx.convert_function(constant, fixed, str(path))
    except BackendError as error:
        raise ModelError(str(error)) from None
    standard, scores = standard_tflite(as_tflite, str(path), wanted, notes)
    model, *_ = standard_onnx(path, read_onnx_model(path, as_onnx), wanted, Notes())

    def answers(values: Floats) -> Floats:
        return np.stack([np.ravel(constant(values[i : i + 1])) for i in range(len(values))])

    return Foreign(path, size, scores, answers, tflite=standard, onnx=model)


def _input(path: Path, signature: Any) -> tuple[str, tuple[int | None, ...], str]:
    """Name, (height, width, channels) and type of the one input."""
    _, inputs = signature.structured_input_signature
    if len(inputs) != 1:
        raise ModelError(
            f"{path}: expected one input, received {len(inputs)} ({', '.join(inputs)[:200]}); "
            "export the part that gives emotions"
        )
    ((name, spec),) = inputs.items()
    shape = spec.shape.as_list() if spec.shape.rank is not None else []
    if len(shape) != 4 or shape[0] not in (None, 1):
        raise ModelError(
            f"{path}: expected an input (batch, height, width, channels), received {shape}"
        )
    if spec.dtype.name not in _DTYPES:
        raise ModelError(f"{path}: expected an input of floats or uint8, not {spec.dtype.name}")
    return name, tuple(shape[1:]), spec.dtype.name


def _output(path: Path, signature: Any) -> str:
    outputs = signature.structured_outputs
    if len(outputs) != 1:
        raise ModelError(
            f"{path}: expected one output, received {len(outputs)} ({', '.join(outputs)[:200]}); "
            "export the part that gives emotions"
        )
    return str(next(iter(outputs)))
