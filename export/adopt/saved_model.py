"""A SavedModel folder from elsewhere: looked at before anything of it runs, for it is a program."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.errors import BackendError, ModelError
from export.adopt.foreign import Floats, Foreign, read_bytes
from export.adopt.keras_file import on_tensorflow
from export.adopt.onnx_graph import read_onnx_model, standard_onnx
from export.adopt.tflite_graph import standard_tflite
from export.adopt.wanted import Notes, Wanted, settled_size
from export.convert import onnx, tflite

GRAPH = "saved_model.pb"
_SIGNATURE = "serving_default"
# They read or write files, call Python or the network, or run other programs' code.
_FORBIDDEN = (
    "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc",
    "WholeFileReader", "WholeFileReaderV2", "TextLineReader", "FixedLengthRecordReader",
    "TFRecordReader", "TFRecordReaderV2", "IdentityReader", "LMDBReader",
    "InitializeTableFromTextFile",
    "InitializeTableFromTextFileV2", "PrintV2", "Print", "SaveSlices", "Save", "Restore",
    "RestoreSlice", "RemoteCall", "RpcCall", "DebugIdentityV2", "DebugIdentity",
    "TensorArrayV3", "ImportEvent", "CreateSummaryFileWriter", "CreateSummaryDbWriter",
    "WriteSummary", "WriteGraphSummary", "LoadDataset", "SaveDataset", "SaveDatasetV2",
    "TextLineDataset", "TFRecordDataset", "FixedLengthRecordDataset", "CacheDataset",
)  # fmt: skip
_OF_CHECKPOINTS = ("SaveV2", "MergeV2Checkpoints", "ShardedFilename")
_DTYPES = {"float32": np.float32, "uint8": np.uint8, "float16": np.float16, "float64": np.float64}


def read_saved_model(path: Path, wanted: Wanted, notes: Notes) -> Foreign:
    """The SavedModel in the folder `path`. Raises ModelError, MissingFile."""
    on_tensorflow()
    try:
        _check_program(path, tflite.parse_saved_model(read_bytes(path / GRAPH)))
        keeper, signature = tflite.load_saved_model(path, _SIGNATURE)
    except BackendError as error:
        raise ModelError(f"{path / GRAPH}: {error}; save it again with model.export") from None
    name, shape, dtype = _input(path, signature)
    size = settled_size(str(path), shape, wanted, notes)
    output = _output(path, signature)

    def network(values: Any) -> Any:
        return signature(**{name: tflite.cast(values, dtype)})[output]

    network.keeper = keeper  # type: ignore[attr-defined]
    fixed = (1, *size.shape)
    try:
        as_tflite = tflite.convert_function(network, fixed, str(path))
        as_onnx = onnx.convert_function(network, fixed, str(path))
    except BackendError as error:
        raise ModelError(f"{path}: {error}") from None
    standard, scores = standard_tflite(as_tflite, str(path), wanted, notes)
    model, *_ = standard_onnx(path, read_onnx_model(path, as_onnx), wanted, Notes())

    def answers(values: Floats) -> Floats:
        return np.stack([np.ravel(network(values[i : i + 1])) for i in range(len(values))])

    return Foreign(path, size, scores, answers, tflite=standard, onnx=model)


def _check_program(path: Path, message: Any) -> None:
    """Refuse a program that does more than compute. Raises ModelError."""
    for function, node in _nodes(message):
        kind = node.op.removeprefix("Raw")
        saves = kind in _OF_CHECKPOINTS and not function.startswith("__inference__traced_save")
        if kind in _FORBIDDEN or (saves and function):
            raise ModelError(
                f"{path}: its program reads or writes more than its weights (operator {node.op}); "
                "do not use this model"
            )


def _nodes(message: Any) -> Iterator[tuple[str, Any]]:
    """(function's name, node) of all nodes; "" of the graph's own."""
    for meta in message.meta_graphs:
        for node in meta.graph_def.node:
            yield "", node
        for function in meta.graph_def.library.function:
            for node in function.node_def:
                yield function.signature.name, node


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
