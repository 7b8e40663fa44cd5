"""Inference runtimes behind one small protocol: pixels in, logits out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.bundle import Bundle
from edgeemo.errors import BackendError, InvalidInput, MissingDependency

Providers = (
    str | Sequence[str] | None
)  # of ONNX Runtime: None is the CPU, "auto" the best that is there, or names


class Backend(Protocol):
    """An opened model.

    Attributes:
        name: the runtime's package name.
        version: its version.
        artifact: file name of the model inside its bundle.
        threads: number of threads for one inference.
    """

    name: str
    version: str
    artifact: str
    threads: int

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, 7) logits of uint8 (N, 48, 48, 1) raw grey pixels 0..255."""


def open_backend(
    bundle: Bundle,
    artifact: str | None = None,
    *,
    threads: int = 1,
    reference_kernels: bool = False,
    providers: Providers = None,
) -> Backend:
    """Open a bundle's model with the runtime that its format needs.

    Without `artifact`, the quantized TFLite model is tried first and the ONNX one where LiteRT is not installed. "Not installed" falls
    through; "installed but broken" raises. `reference_kernels` asks LiteRT for its plain kernels, whose results are
    the same bits on every machine for one version (slow; ONNX Runtime knows no such switch and ignores it).

    `providers` asks for ONNX Runtime, on these execution providers ("auto": TensorRT, CUDA, CPU, as far as they are there).
    Without `artifact`, that is the half-precision model where an NVIDIA GPU runs it, and else the quantized one.

    Raises:
        MissingDependency: no runtime for it is installed; the message names the install command.
        InvalidInput: an execution provider that ONNX Runtime does not have here, or one for a TFLite model.
        BrokenDependency, BackendError, BundleError: what it says.
    """
    if artifact is not None:
        return _open(bundle, artifact, threads, reference_kernels, providers)
    if providers is not None:
        return _open_on(bundle, threads, providers)
    held = [artifact for artifact in bundle.manifest.artifacts if artifact.is_integer]
    candidates = [a.file for a in sorted(held, key=lambda a: a.format != "tflite")] or [
        bundle.manifest.artifacts[0].file
    ]
    for file in candidates[:-1]:
        try:
            return _open(bundle, file, threads, reference_kernels)
        except MissingDependency:
            continue
    return _open(bundle, candidates[-1], threads, reference_kernels)


def _open_on(bundle: Bundle, threads: int, providers: Providers) -> Backend:
    """The ONNX model that suits the providers.

    TensorRT takes no quantization with zero points, which int8.onnx has; on a CPU the quantized model is the proved one.
    """
    from edgeemo.backends.onnx import GPU, choose_providers

    held = {a.precision: a.file for a in bundle.manifest.artifacts if a.format == "onnx"}
    if not held:
        raise BackendError(
            f"{bundle.path}: holds no ONNX model, and execution providers run no other"
        )
    on_gpu, on_cpu = (
        next((held[p] for p in order if p in held), next(iter(held.values())))
        for order in (("fp16", "fp32"), ("int8", "mixed", "fp32"))
    )
    if choose_providers(providers)[0] in GPU:
        backend = _open(bundle, on_gpu, threads, providers=providers)
        if getattr(backend, "providers", ("",))[0] in GPU:
            return backend
        providers = None  # they were tried, and did not start
    return _open(bundle, on_cpu, threads, providers=providers)


def _open(
    bundle: Bundle,
    file: str,
    threads: int,
    reference_kernels: bool = False,
    providers: Providers = None,
) -> Backend:
    if threads < 1:
        raise InvalidInput(f"expected at least 1 thread, received {threads}")
    description, model = bundle.artifact(file)
    spec = bundle.manifest.input_spec
    if description.format == "tflite":
        if providers is not None:
            raise InvalidInput(
                f"expected an ONNX model for execution providers, received {file}; leave one of them out"
            )
        from edgeemo.backends.litert import LiteRtBackend

        return LiteRtBackend(
            model, file, spec, threads=threads, reference_kernels=reference_kernels
        )
    if description.format == "onnx":
        from edgeemo.backends.onnx import OnnxBackend

        return OnnxBackend(
            model, file, spec, threads=threads, providers=providers, precision=description.precision
        )
    raise BackendError(
        f"{bundle.path}: no runtime for the format {description.format!r} of {file}; update edgeemo"
    )


def check_inputs(inputs: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raise InvalidInput unless `inputs` are uint8 (N, *shape)."""
    if getattr(inputs, "dtype", None) != np.uint8 or inputs.shape[1:] != shape:
        raise InvalidInput(
            f"expected uint8 inputs of shape (N, {', '.join(map(str, shape))}), received "
            f"{getattr(inputs, 'dtype', type(inputs).__name__)} {getattr(inputs, 'shape', '')}"
        )
