"""TFLite models through LiteRT (ai-edge-litert), or its predecessor tflite-runtime where only that
is installed.
"""

import contextlib
import copy
import hashlib
import importlib.metadata
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import PLAIN, RuntimeOptions, check_inputs
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import Arithmetic, InputSpec
from edgeemo.contract.manifest import Artifact, TensorInfo
from edgeemo.contract.quantize import (
    PIXEL_QUANTIZATION,
    Quantization,
    input_table,
    looked_up,
    pixels_to_int8,
    scaled_pixels,
)
from edgeemo.errors import BackendError, BrokenDependency, InvalidInput, MissingDependency
from edgeemo.optional import is_installed, need

_RESOLVERS = {
    "default": "AUTO",
    "plain": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
_PACKAGES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))
# Written to stderr from C++ once a process; no option of the Python API and no environment variable
# turns it off.
_GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate"
_STDERR = threading.Lock()


class LiteRtBackend:
    """A .tflite model with pixels in as `spec` has them (int8 or float32) and a logit a label out.

    Threads may share one; it runs for one of them at a time.

    Raises:
        MissingDependency: neither interpreter is installed.
        BackendError: the interpreter refuses the model or, later, fails while running it, or its
            input or output is not as the contract says.
    """

    def __init__(
        self,
        model: bytes,
        artifact: str,
        spec: InputSpec,
        labels: tuple[str, ...],
        options: RuntimeOptions = PLAIN,
    ) -> None:
        self.name, self.version = installed_interpreter()
        self.artifact, self.spec, self.labels = artifact, spec, labels
        self.threads = options.threads
        kernels = "reference" if options.reference_kernels else "default"
        self._interpreter = open_interpreter(model, artifact, threads=self.threads, kernels=kernels)
        self._input, self._output = ends(self._interpreter)
        self.input_info, self.output_info = info(self._input), info(self._output)
        self._to_input = _input_conversion(self.input_info, spec, artifact)
        self._to_logits = _output_conversion(self.output_info, len(labels), artifact)
        self._running = threading.Lock()  # input and output are the interpreter's own memory

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C) pixels 0..255."""
        check_inputs(inputs, self.spec.shape)
        stored = self._to_input(inputs)
        logits = np.empty((len(inputs), len(self.labels)), np.float32)
        try:
            for i in range(len(inputs)):
                with self._running:
                    self._interpreter.set_tensor(self._input["index"], stored[i : i + 1])
                    self._interpreter.invoke()
                    output = self._interpreter.get_tensor(self._output["index"])[0]
                logits[i] = self._to_logits(output)
        except (ValueError, RuntimeError) as error:
            raise _failed(self.artifact, error) from None
        return logits


def open_artifact(bundle: Bundle, artifact: Artifact, options: RuntimeOptions) -> LiteRtBackend:
    """A bundle's model by LiteRT.

    Raises what `LiteRtBackend` raises, and InvalidInput for providers.
    """
    if options.providers is not None:
        raise InvalidInput(
            f"expected an ONNX model for execution providers, received {artifact.file}; "
            "leave one of them out"
        )
    return LiteRtBackend(
        bundle.files[artifact.file], artifact.file, bundle.spec, bundle.labels, options
    )


def _failed(artifact: str, error: Exception) -> BackendError:
    return BackendError(
        f"{artifact}: the interpreter fails while running it ({' '.join(str(error).split())[:200]})"
    )


def trace(
    model: bytes,
    artifact: str,
    inputs: NDArray[np.uint8],
    spec: InputSpec,
    *,
    sign: Callable[[], object] = lambda: None,
) -> list[tuple[str, str]]:
    """(name, digest) of every operator's output tensors under reference kernels, in order.

    A digest is the first 16 hex digits of sha256 over the tensor's bytes for each of `inputs`
    (uint8 (N, H, W, C) pixels, one at a time, in order). It is "" for a tensor whose memory the
    interpreter gave to a later one, as tflite-runtime 2.14 does with what it adds in place. `sign`
    is called once the model is open and after each picture.

    Raises:
        MissingDependency, BrokenDependency: no interpreter that works is installed.
        BackendError: it refuses the model or fails while running it.
    """
    check_inputs(inputs, spec.shape)
    interpreter = open_interpreter(model, artifact, kernels="reference", keep_tensors=True)
    source, _ = ends(interpreter)
    stored = _input_conversion(info(source), spec, artifact)(inputs)
    try:
        outputs = _operator_outputs(interpreter)
        digests = [hashlib.sha256() for _ in outputs]
        sign()
        for i in range(len(inputs)):
            interpreter.set_tensor(source["index"], stored[i : i + 1])
            interpreter.invoke()
            for (index, _), digest in zip(outputs, digests, strict=True):
                digest.update(interpreter.get_tensor(index).tobytes())
            sign()
        kept = _kept(interpreter, [index for index, _ in outputs])
    except (ValueError, RuntimeError) as error:
        raise _failed(artifact, error) from None
    return [
        (name, digest.hexdigest()[:16] if index in kept else "")
        for (index, name), digest in zip(outputs, digests, strict=True)
    ]


def tensor_values(
    model: bytes, artifact: str, inputs: NDArray[np.uint8], spec: InputSpec, number: int
) -> NDArray[Any]:
    """(N, size) of one tensor's own type: what the reference kernels leave in the tensor `number`
    for each of uint8 (N, H, W, C) pixels.

    Raises:
        MissingDependency, BrokenDependency: no interpreter that works is installed.
        BackendError: it refuses the model or fails while running it.
    """
    check_inputs(inputs, spec.shape)
    interpreter = open_interpreter(model, artifact, kernels="reference", keep_tensors=True)
    source, _ = ends(interpreter)
    values = []
    try:
        for stored in _input_conversion(info(source), spec, artifact)(inputs):
            interpreter.set_tensor(source["index"], stored[np.newaxis])
            interpreter.invoke()
            values.append(interpreter.get_tensor(number).ravel())
    except (ValueError, RuntimeError) as error:
        raise _failed(artifact, error) from None
    return np.stack(values)


def _operator_outputs(interpreter: Any) -> list[tuple[int, str]]:
    """(index, name) of every operator's output tensors, in the order of execution."""
    names = {tensor["index"]: str(tensor["name"]) for tensor in interpreter.get_tensor_details()}
    # The operator lists of both packages begin with an underscore and have been the same since
    # TensorFlow 2.4.
    return [
        (int(index), names[index])
        for operator in interpreter._get_ops_details()
        for index in operator["outputs"]
        if index in names
    ]


def _kept(interpreter: Any, outputs: list[int]) -> set[int]:
    """The tensors that still hold what their operator wrote: of several in one place, the last."""
    # The view must be gone before the next call, so only its address is taken.
    return set({interpreter.tensor(index)().ctypes.data: index for index in outputs}.values())


def timed_call(model: bytes, name: str, threads: int) -> Callable[[], object]:
    """A function that runs any single-input .tflite model once (set input, invoke, get output), for
    benchmarks.
    """
    interpreter = open_interpreter(model, name, threads=threads)
    source, target = ends(interpreter)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, source["shape"])
    value = (
        (pixels - 128).astype(np.int8)
        if source["dtype"] == np.int8
        else pixels.astype(source["dtype"])
    )

    def call() -> object:
        interpreter.set_tensor(source["index"], value)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return call


def open_interpreter(
    model: bytes,
    name: str,
    *,
    threads: int = 1,
    kernels: str = "default",
    keep_tensors: bool = False,
) -> Any:
    """The runtime's own interpreter on a .tflite model, its tensors allocated; `name` stands in
    messages.

    `kernels`: "default" (XNNPACK and what else the runtime chooses), "plain" (no delegates, so that
    the operators are those of the file), or "reference" (for one version the same bits on every
    machine; slow). With `keep_tensors` (not with "default" kernels) every tensor can be read after
    a run, because none shares its memory with another.

    Raises:
        MissingDependency, BrokenDependency: no interpreter that works is installed.
        BackendError: it refuses the model.
    """
    module = _interpreter_module()[0]
    try:
        with _without_greeting(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that kept tensors need memory
            interpreter = module.Interpreter(
                model_content=model,
                num_threads=threads,
                experimental_op_resolver_type=getattr(module.OpResolverType, _RESOLVERS[kernels]),
                experimental_preserve_all_tensors=keep_tensors,
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BackendError(
            f"{name}: the interpreter refuses the model ({' '.join(str(error).split())[:200]})"
        ) from None
    return interpreter


def parse_model(model: bytes, name: str) -> Any:
    """A .tflite as the schema's own objects (ModelT): what the interpreter does not tell, such as
    strides.

    The interpreter opens it first, because the schema's Python code trusts what it reads.

    Raises:
        MissingDependency, BrokenDependency: no ai-edge-litert.
        BackendError: no model.
    """
    open_interpreter(model, name, kernels="plain")
    objects = schema()
    try:
        parsed = objects.ModelT.InitFromObj(objects.Model.GetRootAs(model, 0))
        _bring_in(parsed.buffers, model)
    except (
        Exception
    ) as error:  # whatever struct, NumPy and flatbuffers raise on bytes that are no model
        raise BackendError(
            f"{name}: not a readable .tflite file ({type(error).__name__}: {str(error)[:120]})"
        ) from None
    return parsed


def _bring_in(buffers: list[Any], model: bytes) -> None:
    """Give buffers that lie behind the flatbuffer their bytes, where the others have them.

    ai-edge-quantizer puts a larger model's kernels there; offsets 0 and 1 stand for none (TFLite's
    schema.fbs). Raises ValueError for bytes outside the file.
    """
    for buffer in buffers:
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(model):
                raise ValueError(f"a buffer up to {buffer.offset + buffer.size:,}")
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


def operator_answers(
    model: Any, operator: Any, source: int, values: NDArray[Any], name: str
) -> NDArray[np.int8]:
    """What the reference kernel of one operator of one activation answers.

    Args:
        model: as `parse_model` gives it.
        operator: one of its operators, whose other inputs are constants.
        source: the number of the activation among the model's tensors.
        values: (N,) of the activation's own type; the operator works number by number.
        name: stands in messages.

    Returns:
        (N,) int8 in the output's own scale.

    Raises:
        BackendError: the interpreter refuses the operator, or one of the numbers.
    """
    schema = need("ai_edge_litert.schema_py_generated", "litert", "to ask an operator")
    flatbuffers = need("flatbuffers", "litert", "to ask an operator")
    tensors, buffers = model.subgraphs[0].tensors, [schema.BufferT()]
    alone, graph, asked = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    graph.tensors, graph.operators = [], [asked]
    for number in (*operator.inputs, *operator.outputs):
        tensor = copy.copy(tensors[int(number)])
        if number in (source, *operator.outputs):
            tensor.shape, tensor.buffer = np.array([1, len(values)], np.int32), 0
            tensor.shapeSignature = None
        else:
            buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
        graph.tensors.append(tensor)
    asked.opcodeIndex = 0
    asked.inputs, asked.outputs = list(range(len(operator.inputs))), [len(operator.inputs)]
    asked.builtinOptionsType, asked.builtinOptions = (
        operator.builtinOptionsType,
        operator.builtinOptions,
    )
    graph.inputs, graph.outputs = [list(operator.inputs).index(source)], asked.outputs
    alone.version, alone.subgraphs, alone.buffers = 3, [graph], buffers
    alone.operatorCodes = [model.operatorCodes[operator.opcodeIndex]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(alone.Pack(builder), b"TFL3")
    interpreter = open_interpreter(bytes(builder.Output()), name, kernels="reference")
    first, last = ends(interpreter)
    try:
        interpreter.set_tensor(first["index"], values[np.newaxis])
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(last["index"])[0])
    except (ValueError, RuntimeError) as error:
        raise _failed(name, error) from None


def builtin_operators() -> dict[int, str]:
    """The names of TFLite's operators by number."""
    return {
        number: name
        for name, number in vars(schema().BuiltinOperator).items()
        if isinstance(number, int)
    }


def schema() -> Any:
    """The module of TFLite's schema that ai-edge-litert brings.

    Raises:
        MissingDependency, BrokenDependency: no ai-edge-litert.
    """
    return need("ai_edge_litert.schema_py_generated", "litert", "to read what a .tflite file holds")


def installed_interpreter() -> tuple[str, str]:
    """(package, version) of the interpreter that would be used.

    Raises MissingDependency, BrokenDependency.
    """
    _, name, version = _interpreter_module()
    return name, version


def _interpreter_module() -> tuple[ModuleType, str, str]:
    for package, distribution in _PACKAGES:
        if is_installed(package):
            if package == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2:
                # Its extension was built for NumPy 1 and crashes the process when an interpreter is
                # made.
                raise BrokenDependency(
                    f"tflite-runtime needs NumPy below 2 and this is {np.__version__}; run: pip"
                    " install 'edgeemo[litert]' (or, where there is no ai-edge-litert: pip install"
                    " 'numpy<2')"
                )
            return (
                need(f"{package}.interpreter", "litert", "to run TFLite models"),
                distribution,
                _version(distribution),
            )
    raise MissingDependency(
        "no TFLite interpreter is installed; run: pip install 'edgeemo[litert]'"
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except (
        importlib.metadata.PackageNotFoundError
    ):  # a nightly or vendor's build, installed under another name
        return "of unknown version"


@contextlib.contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep the greeting off stderr; what else is written there meanwhile comes out at the end."""
    # The lock, because of two threads that both held stderr, the one that ends first would give
    # back the other's copy.
    with _STDERR, contextlib.ExitStack() as undo:
        with contextlib.suppress(
            OSError, AttributeError
        ):  # stderr is closed, or the system has no memfd
            _redirect_stderr(undo)
        yield


def _redirect_stderr(undo: contextlib.ExitStack) -> None:
    real = os.dup(2)
    undo.callback(os.close, real)
    buffer = os.memfd_create("stderr")
    undo.callback(os.close, buffer)
    os.dup2(buffer, 2)
    undo.callback(_pass_on, buffer)
    undo.callback(os.dup2, real, 2)


def _pass_on(buffer: int) -> None:
    written = os.pread(buffer, os.fstat(buffer).st_size, 0)
    kept = b"".join(
        line for line in written.splitlines(keepends=True) if not line.startswith(_GREETING)
    )
    if kept:
        with contextlib.suppress(OSError):
            os.write(2, kept)


def ends(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The details of a model's one input and its first output. Raises BackendError."""
    try:
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    except UnicodeDecodeError:
        raise BackendError("expected tensors whose names are text") from None
    if len(inputs) != 1 or not outputs:
        raise BackendError(
            f"expected a model of one input and one output, received {len(inputs)} and"
            f" {len(outputs)}"
        )
    return inputs[0], outputs[0]


def info(tensor: dict[str, Any]) -> TensorInfo:
    """A tensor's details as the manifest has them."""
    shape, dtype = tuple(int(n) for n in tensor["shape"]), np.dtype(tensor["dtype"]).name
    if dtype != "int8":
        return TensorInfo(shape, dtype, None, None)
    scale, zero_point = tensor["quantization"]
    return TensorInfo(shape, dtype, float(scale), int(zero_point))


def _input_conversion(
    info: TensorInfo, spec: InputSpec, artifact: str
) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    if info.shape == (1, *spec.shape):
        if info.dtype == "float32":
            return partial(looked_up, scaled_pixels(spec))
        if info.dtype == "int8" and info.scale:
            stored_as = Quantization(info.scale, int(info.zero_point or 0))
            if spec.arithmetic is Arithmetic.GRAPH and stored_as == PIXEL_QUANTIZATION:
                return pixels_to_int8
            return partial(looked_up, input_table(spec, stored_as))
    raise BackendError(
        f"{artifact}: expected an input of shape {(1, *spec.shape)}, float32 or int8; "
        f"received {info}"
    )


def _output_conversion(
    info: TensorInfo, classes: int, artifact: str
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    if info.shape == (1, classes):
        if info.dtype == "float32":
            return lambda stored: stored
        if info.dtype == "int8" and info.scale:
            return Quantization(info.scale, int(info.zero_point or 0)).dequantize
    raise BackendError(
        f"{artifact}: expected an output of shape {(1, classes)}, float32 or int8; received {info}"
    )
