"""Inference runtimes behind one small protocol: pixels in, logits out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Artifact, Format, Precision
from edgeemo.errors import BackendError, InvalidInput, MissingDependency
from edgeemo.registry import Registry

Providers = (
    str | Sequence[str] | None
)  # of ONNX Runtime: None is the CPU, "auto" the best that is there, or names


class Backend(Protocol):
    """An opened model. A recognizer runs it from one thread at a time.

    Attributes:
        name: the runtime's package name.
        version: its version.
        artifact: file name of the model inside its bundle.
        threads: number of threads for one inference.
        labels: what the outputs mean, in their order.
        spec: what the inputs are.
    """

    name: str
    version: str
    artifact: str
    threads: int
    labels: tuple[str, ...]
    spec: InputSpec

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C) pixels 0..255 as `spec` has them."""


@dataclass(frozen=True)
class RuntimeOptions:
    """How a runtime is to run a model."""

    threads: int = 1
    """Threads of one inference, at least 1."""
    reference_kernels: bool = False
    """LiteRT's plain kernels: for one version the same bits on every machine, and slow."""
    providers: Providers = None
    """ONNX Runtime's execution providers; None is the CPU alone."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InvalidInput(f"expected at least 1 thread, received {self.threads}")


PLAIN = RuntimeOptions()
"""One thread, the runtime's own kernels, the CPU."""

Opener = Callable[[Bundle, Artifact, RuntimeOptions], Backend]

RUNTIMES: Registry[Opener] = Registry(
    "runtime",
    "edgeemo.backends",
    {
        "litert": "edgeemo.backends.litert:open_artifact",
        "onnxruntime": "edgeemo.backends.onnx:open_artifact",
    },
)
"""Runtimes by name. Another package's opener takes what `Opener` says and gives a `Backend`."""

_USUAL = {Format.TFLITE: "litert", Format.ONNX: "onnxruntime"}


def open_backend(
    bundle: Bundle,
    artifact: str | None = None,
    *,
    runtime: str | None = None,
    threads: int = 1,
    reference_kernels: bool = False,
    providers: Providers = None,
) -> Backend:
    """Open a bundle's model with the runtime that its format needs.

    Without `artifact`, the quantized TFLite model is tried first and the ONNX one where LiteRT is
    not installed. "Not installed" falls through; "installed but broken" raises.

    Args:
        artifact: the model's file name in the bundle.
        runtime: one of RUNTIMES; by default the one for the artifact's format.
        threads, reference_kernels: see `RuntimeOptions`; ONNX Runtime ignores the second.
        providers: asks for ONNX Runtime, on these execution providers ("auto": TensorRT, CUDA, CPU,
            as far as they are there). Without `artifact`, that is the quantized model where
            TensorRT runs and takes it (see edgeemo.backends.tensorrt_rules), else the
            half-precision one where an NVIDIA GPU runs it, and else the quantized one.

    Raises:
        MissingDependency: no runtime for it is installed; the message names the install command.
        InvalidInput: an unknown runtime, an execution provider that ONNX Runtime does not have
            here, or one for a TFLite model.
        BrokenDependency, BackendError, BundleError: what it says.
    """
    options = RuntimeOptions(threads, reference_kernels, providers)
    if artifact is not None:
        return _open(bundle, bundle.manifest.artifact(artifact), options, runtime)
    if providers is not None:
        return _open_on(bundle, options, runtime)
    candidates = default_artifacts(bundle)
    for candidate in candidates[:-1]:
        try:
            return _open(bundle, candidate, options, runtime)
        except MissingDependency:
            continue
    return _open(bundle, candidates[-1], options, runtime)


def default_artifacts(bundle: Bundle) -> list[Artifact]:
    """The quantized models, TFLite first; of a bundle without one, its first model."""
    integer = [a for a in bundle.manifest.artifacts if a.precision.is_integer]
    return sorted(integer, key=lambda a: a.format is not Format.TFLITE) or [
        bundle.manifest.artifacts[0]
    ]


def _open_on(bundle: Bundle, options: RuntimeOptions, runtime: str | None) -> Backend:
    """The ONNX model that suits the providers.

    On TensorRT that is the quantized one where it is as TensorRT wants it, which the profile
    `jetson` makes it; CUDA would compute it in float. On a CPU the quantized model is the proved
    one.
    """
    from edgeemo.backends.onnx import GPU, TENSORRT, choose_providers

    there = {a.precision: a for a in bundle.manifest.artifacts if a.format is Format.ONNX}
    if not there:
        raise BackendError(
            f"{bundle.path}: holds no ONNX model, and execution providers run no other"
        )
    on_gpu, on_cpu = (
        next((there[p] for p in order if p in there), next(iter(there.values())))
        for order in (
            (Precision.FP16, Precision.FP32),
            (Precision.INT8, Precision.MIXED, Precision.FP32),
        )
    )
    first = choose_providers(options.providers)[0]
    if first == TENSORRT and on_cpu.precision.is_integer and _is_for_tensorrt(bundle, on_cpu):
        backend = _open(bundle, on_cpu, options, runtime)
        started = tuple(getattr(backend, "providers", ()))
        if started[:1] == (TENSORRT,):
            return backend
        options = replace(options, providers=started or None)  # it was tried, and did not start
        first = started[0] if started else ""
    if first in GPU:
        backend = _open(bundle, on_gpu, options, runtime)
        if getattr(backend, "providers", ("",))[0] in GPU:
            return backend
        options = replace(options, providers=None)  # they were tried, and did not start
    return _open(bundle, on_cpu, options, runtime)


def _is_for_tensorrt(bundle: Bundle, artifact: Artifact) -> bool:
    from edgeemo.backends.tensorrt_rules import broken_rules

    return not broken_rules(bundle.files[artifact.file], artifact.file)


def _open(
    bundle: Bundle, artifact: Artifact, options: RuntimeOptions, runtime: str | None
) -> Backend:
    return RUNTIMES.get(runtime or _USUAL[artifact.format])(bundle, artifact, options)


def check_inputs(inputs: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raise InvalidInput unless `inputs` are uint8 (N, *shape)."""
    if getattr(inputs, "dtype", None) != np.uint8 or inputs.shape[1:] != shape:
        raise InvalidInput(
            f"expected uint8 inputs of shape (N, {', '.join(map(str, shape))}), received "
            f"{getattr(inputs, 'dtype', type(inputs).__name__)} {getattr(inputs, 'shape', '')}"
        )
