"""An .onnx from elsewhere as our contract has it: float32 (1, H, W, C) in, one logit a label out.

Nodes are put before and behind the network; what lies between stays as it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.onnx_guard import check_self_contained
from edgeemo.errors import BundleError, ModelError
from edgeemo.optional import need
from export.adopt.tflite_graph import TWO_LOGITS, scores_of
from export.adopt.wanted import Notes, Scores, Wanted, check_outputs, settled_size
from export.convert.onnx import OPSET
from workstation.quiet import quiet

_INPUT, _OUTPUT = "pixels", "logits"
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_SAME_VALUES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger")
# As TFLite calls them.
_ENDS = {"Softmax": "SOFTMAX", "LogSoftmax": "LOG_SOFTMAX", "Sigmoid": "LOGISTIC"}
_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 10: np.float16, 11: np.float64}
_PER_CHANNEL = 13  # the opset from which DequantizeLinear has one scale a channel
_SMALLEST = 1e-7  # share, below which its logarithm is not told apart
_MOST_EXTERNAL = 1 << 30


@dataclass(frozen=True)
class OnnxEnds:
    """How a model's own file wants its picture, and what it answers."""

    model: bytes
    """The file, with weights inside."""
    input: str
    """Name of its input."""
    channels_first: bool
    """Whether that is (N, C, H, W)."""
    dtype: type
    """Element type of the input."""

    def answers(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (N, outputs) of float32 (N, H, W, C), one picture at a time."""
        session = _session(self.model)
        fed = np.transpose(values, (0, 3, 1, 2)) if self.channels_first else values
        said = []
        for i in range(len(fed)):
            one: NDArray[Any] = np.ascontiguousarray(fed[i : i + 1]).astype(self.dtype)
            feed = {self.input: one}
            said.append(np.asarray(session.run(None, feed)[0], np.float32).ravel())
        return np.stack(said)


def read_onnx_model(path: Path, data: bytes) -> Any:
    """The parsed model, its weights inside. Raises ModelError."""
    onnx = need("onnx", "export", "to read ONNX")
    try:
        check_self_contained(data, str(path))
        model = onnx.load_from_string(data)
    except BundleError as error:
        if "external" not in str(error):
            raise ModelError(f"{path}: {_NO_ONNX}") from None
        model = _with_external(path, data)
    except Exception:  # protobuf's own
        raise ModelError(f"{path}: {_NO_ONNX}") from None
    try:
        model = need("onnx.inliner", "export", "to read ONNX").inline_local_functions(model)
        onnx.checker.check_model(model)
    except Exception as error:  # onnx raises its own and C++ kinds
        raise ModelError(f"{path}: not a valid ONNX model ({_in_short(error)})") from None
    _check_nodes(path, model)
    return model


_NO_ONNX = "not a readable ONNX model; expected the file that torch.onnx.export or tf2onnx writes"


def _with_external(path: Path, data: bytes) -> Any:
    """The model with weights from files beside it, as PyTorch's exporter writes large ones."""
    onnx = need("onnx", "export", "to read ONNX")
    try:
        parsed = onnx.load_from_string(data)
    except Exception:  # protobuf's own
        raise ModelError(f"{path}: {_NO_ONNX}") from None
    for tensor in parsed.graph.initializer:
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            beside = path.parent / entry.value
            if Path(entry.value).name != entry.value or beside.is_symlink():
                raise ModelError(
                    f"{path}: keeps weights in {entry.value[:80]!a}, expected a file beside it; "
                    "do not use this model"
                )
            if not beside.is_file() or beside.stat().st_size > _MOST_EXTERNAL:
                raise ModelError(
                    f"{path}: keeps weights in {entry.value[:80]!a}, which is not beside it; copy "
                    "both files, or export with external_data=False"
                )
    try:
        model = onnx.load(str(path))
        check_self_contained(model.SerializeToString(), str(path))
    except Exception as error:  # onnx's checks of paths, protobuf's, ours
        raise ModelError(f"{path}: its weights cannot be read ({_in_short(error)})") from None
    return model


def _check_nodes(path: Path, model: Any) -> None:
    for node in model.graph.node:
        # protobuf hands out what is no UTF-8 as bytes
        texts = (node.name, node.op_type, node.domain, *node.input, *node.output)
        if not all(isinstance(text, str) for text in texts):
            raise ModelError(f"{path}: {_NO_ONNX}")
        if node.domain not in _DOMAINS:
            raise ModelError(
                f"{path}: has the operator {node.op_type} of {node.domain[:40]!a}, which ONNX "
                "Runtime does not have; export it with standard operators"
            )
        if node.op_type in _QUANTIZED:
            raise ModelError(
                f"{path}: is quantized already ({node.op_type}); adopt the float model, of which "
                "int8 is made here"
            )


def standard_onnx(
    path: Path, model: Any, wanted: Wanted, notes: Notes
) -> tuple[bytes, Scores, Any, OnnxEnds]:
    """The network in our contract, what its own outputs are, its size, and its own ends.

    Raises:
        ModelError: several inputs or outputs, a shape that stays open, or ends that cannot be
            brought into the contract.
    """
    onnx = need("onnx", "export", "to write ONNX")
    name = str(path)
    source = _only(name, "input", _inputs(model))
    _only(name, "output", list(model.graph.output))
    dtype = _TYPES.get(source.type.tensor_type.elem_type)
    if dtype is None:
        raise ModelError(f"{name}: expected an input of floats or uint8; export it with float32")
    first, sides = _layout(name, source, wanted)
    size = settled_size(name, sides, wanted, notes)
    notes.read.append(f"pictures are {'channels first (NCHW)' if first else 'channels last'}")
    model = _modern(name, model)
    ends = OnnxEnds(_as_it_came(model, source, size.shape, first), source.name, first, dtype)
    _free_names(model.graph)
    (own_input,), (own_output,) = _inputs(model), model.graph.output
    _fix_input(onnx, model, own_input.name, size.shape, first)
    scores = _logits_out(onnx, name, model, own_output.name, wanted, notes)
    return _checked(name, model), scores, size, ends


def _inputs(model: Any) -> list[Any]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [entry for entry in model.graph.input if entry.name not in constants]


def _only(name: str, what: str, entries: list[Any]) -> Any:
    if len(entries) != 1:
        names = ", ".join(entry.name for entry in entries)[:200]
        raise ModelError(
            f"{name}: expected one {what}, received {len(entries)} ({names}); export the part that "
            "gives emotions"
        )
    return entries[0]


def _layout(name: str, source: Any, wanted: Wanted) -> tuple[bool, tuple[int | None, ...]]:
    """Whether channels come first, and (height, width, channels) with None where open."""
    dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
            for d in source.type.tensor_type.shape.dim]  # fmt: skip
    if len(dims) != 4 or dims[0] not in (None, 1):
        shown = ", ".join("?" if d is None else str(d) for d in dims)
        raise ModelError(
            f"{name}: expected an input of one picture (batch, channels, height, width), received "
            f"({shown}); export it with a batch of 1 or a free one"
        )
    first, last = dims[1] in (1, 3), dims[3] in (1, 3)
    if first and last and wanted.size is not None:
        first = (dims[2], dims[3]) == (wanted.size.height, wanted.size.width)
    if not (first or last):
        # Nothing is said; PyTorch's order is the usual one of ONNX.
        first = dims[3] is None
    return (True, (dims[2], dims[3], dims[1])) if first else (False, (dims[1], dims[2], dims[3]))


def _modern(name: str, model: Any) -> Any:
    """The model in an opset that quantization knows."""
    onnx = need("onnx", "export", "to write ONNX")
    opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 0)
    if opset >= _PER_CHANNEL:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    try:
        with quiet():
            return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # C++ kinds
        raise ModelError(
            f"{name}: is of opset {opset}, which cannot be brought to {OPSET} "
            f"({_in_short(error)}); export it again with opset_version={OPSET}"
        ) from None


def _fix_input(onnx: Any, model: Any, old: str, shape: tuple[int, int, int], first: bool) -> None:
    """Put `pixels` before the network: its order, its type, a batch of one."""
    graph = model.graph
    kept = [entry for entry in graph.input if entry.name != old]
    kind = next(e for e in graph.input if e.name == old).type.tensor_type.elem_type
    steps, last = [], _INPUT
    if first:
        steps.append(onnx.helper.make_node("Transpose", [last], ["_"], perm=[0, 3, 1, 2]))
    if kind != onnx.TensorProto.FLOAT:
        steps.append(onnx.helper.make_node("Cast", [last], ["_"], to=kind))
    if not steps:
        steps.append(onnx.helper.make_node("Identity", [last], ["_"]))
    for number, node in enumerate(steps):
        node.name = f"{_INPUT}/{node.op_type}"
        node.input[0], last = last, f"{_INPUT}/{number}"
        node.output[0] = last
    steps[-1].output[0] = old
    nodes = [*steps, *graph.node]
    del graph.node[:], graph.input[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.input.extend(
        [onnx.helper.make_tensor_value_info(_INPUT, onnx.TensorProto.FLOAT, [1, *shape]), *kept]
    )


def _as_it_came(model: Any, source: Any, shape: tuple[int, int, int], first: bool) -> bytes:
    """The bytes that the file's own answers come from: the network with a batch of one."""
    onnx = need("onnx", "export", "to write ONNX")
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    height, width, channels = shape
    sides = [1, channels, height, width] if first else [1, height, width, channels]
    kept = [entry for entry in plain.graph.input if entry.name != source.name]
    fixed = onnx.helper.make_tensor_value_info(
        source.name, source.type.tensor_type.elem_type, sides
    )
    del plain.graph.input[:], plain.graph.value_info[:]
    plain.graph.input.extend([fixed, *kept])
    return bytes(plain.SerializeToString())


def _free_names(graph: Any) -> None:
    """Rename what is called as we call the ends: TensorRT's commands know the input by its name."""

    def free(name: str) -> str:
        return f"own/{name}" if name.partition("/")[0] in (_INPUT, _OUTPUT) else name

    for node in graph.node:
        node.name = free(node.name)
        for names in (node.input, node.output):
            names[:] = [free(name) for name in names]
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = free(entry.name)


def _logits_out(onnx: Any, name: str, model: Any, old: str, wanted: Wanted, notes: Notes) -> Scores:
    graph = model.graph
    outputs = int(np.prod(_run_shape(name, model)))
    check_outputs(name, outputs, wanted, notes)
    node = _last(graph, old)
    end = _ENDS.get(node.op_type, node.op_type) if node is not None else ""
    takes_log = end not in _ENDS.values() and wanted.scores is Scores.SOFTMAX and outputs > 1
    if takes_log:
        notes.read.append(
            f"it ends in {end} and its outputs are shares of 1 (--scores): their logarithm stands "
            "for logits, as there is no softmax to cut off"
        )
        scores = Scores.SOFTMAX
    else:
        scores = scores_of(name, end, outputs, wanted, notes)
    if scores is Scores.SOFTMAX and not takes_log:
        assert node is not None
        node.op_type = "Identity"
        del node.attribute[:]
    _append_ends(onnx, graph, old, outputs, takes_log=takes_log)
    return scores


def _append_ends(onnx: Any, graph: Any, old: str, outputs: int, *, takes_log: bool) -> None:
    make, last = onnx.helper.make_node, old

    def add(kind: str, constants: list[Any] = [], **attributes: Any) -> None:  # noqa: B006
        nonlocal last
        names = [f"{_OUTPUT}/{kind}/{i}" for i in range(len(constants))]
        for constant, values in zip(names, constants, strict=True):
            graph.initializer.append(onnx.numpy_helper.from_array(values, constant))
        node = make(kind, [last, *names], [f"{_OUTPUT}/{kind}"], f"{_OUTPUT}/{kind}", **attributes)
        graph.node.append(node)
        last = node.output[0]

    add("Cast", to=onnx.TensorProto.FLOAT)
    add("Reshape", [np.array([1, outputs], np.int64)])
    if takes_log:
        add("Max", [np.array(_SMALLEST, np.float32)])
        add("Log")
    if outputs == 1:
        bias = np.zeros(2, np.float32)
        add("Gemm", [TWO_LOGITS.T.copy(), bias])
    graph.node[-1].output[0] = _OUTPUT
    del graph.output[:]
    shape = [1, max(outputs, 2)]
    graph.output.append(onnx.helper.make_tensor_value_info(_OUTPUT, onnx.TensorProto.FLOAT, shape))


def _last(graph: Any, output: str) -> Any | None:
    """The node behind which only shape and type change."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type in _SAME_VALUES:
        node = makers.get(node.input[0])
    return node


def _run_shape(name: str, model: Any) -> tuple[int, ...]:
    """The shape of what the model answers to zeros."""
    session = _session(model.SerializeToString(), name)
    source = session.get_inputs()[0]
    try:
        (said,) = session.run(None, {_INPUT: np.zeros(source.shape, np.float32)})
    except Exception as error:  # ONNX Runtime's own
        raise ModelError(
            f"{name}: fails on a picture of {source.shape[1:]} ({_in_short(error)}); does it want "
            "another --input?"
        ) from None
    return tuple(said.shape)


def _session(model: bytes, name: str = "model") -> Any:
    runtime = need("onnxruntime", "export", "to run ONNX")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes derive from Exception only
        raise ModelError(f"{name}: ONNX Runtime refuses the model ({_in_short(error)})") from None


def _checked(name: str, model: Any) -> bytes:
    onnx = need("onnx", "export", "to write ONNX")
    try:
        with quiet():
            model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
    except Exception as error:
        raise ModelError(
            f"{name}: cannot be brought into the contract ({_in_short(error)})"
        ) from None
    return bytes(model.SerializeToString())


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
