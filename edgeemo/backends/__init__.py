"""Inference runtimes behind one small protocol: pixels in, logits out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.bundle import Bundle
from edgeemo.errors import BackendError, InvalidInput, MissingDependency


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
    bundle: Bundle, artifact: str | None = None, *, threads: int = 1, reference_kernels: bool = False
) -> Backend:
    """Open a bundle's model with the runtime that its format needs.

    Without `artifact`, the quantized TFLite model is tried first and the ONNX one where LiteRT is not installed. "Not installed" falls
    through; "installed but broken" raises. `reference_kernels` asks LiteRT for its plain kernels, whose results are
    the same bits on every machine for one version (slow; ONNX Runtime knows no such switch and ignores it).

    Raises:
        MissingDependency: no runtime for it is installed; the message names the install command.
        BrokenDependency, BackendError, BundleError: what it says.
    """
    if artifact is not None:
        return _open(bundle, artifact, threads, reference_kernels)
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


def _open(bundle: Bundle, file: str, threads: int, reference_kernels: bool) -> Backend:
    if threads < 1:
        raise InvalidInput(f"expected at least 1 thread, received {threads}")
    description, model = bundle.artifact(file)
    spec = bundle.manifest.input_spec
    if description.format == "tflite":
        from edgeemo.backends.litert import LiteRtBackend

        return LiteRtBackend(model, file, spec, threads=threads, reference_kernels=reference_kernels)
    if description.format == "onnx":
        from edgeemo.backends.onnx import OnnxBackend

        return OnnxBackend(model, file, spec, threads=threads)
    raise BackendError(f"{bundle.path}: no runtime for the format {description.format!r} of {file}; update edgeemo")


def check_inputs(inputs: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Raise InvalidInput unless `inputs` are uint8 (N, *shape)."""
    if getattr(inputs, "dtype", None) != np.uint8 or inputs.shape[1:] != shape:
        raise InvalidInput(
            f"expected uint8 inputs of shape (N, {', '.join(map(str, shape))}), received "
            f"{getattr(inputs, 'dtype', type(inputs).__name__)} {getattr(inputs, 'shape', '')}"
        )
