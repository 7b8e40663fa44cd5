"""A file that may ship: what it is, its bytes, and how it is run on this machine."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import Backend, RuntimeOptions
from edgeemo.backends.litert import LiteRtBackend
from edgeemo.backends.onnx import OnnxBackend
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Format, Precision
from workstation.progress import counted

_BATCH = 64


@dataclass(frozen=True)
class Kind:
    """What a model file is."""

    precision: Precision
    """Numbers that it computes with."""
    format: Format
    """Kind of file, which decides the runtime."""

    @property
    def file(self) -> str:
        """Its name in a bundle; the only place where such a name is made, and none is read."""
        return f"{self.precision}.{self.format}"


INT8_TFLITE = Kind(Precision.INT8, Format.TFLITE)
MIXED_TFLITE = Kind(Precision.MIXED, Format.TFLITE)
INT8_ONNX = Kind(Precision.INT8, Format.ONNX)
MIXED_ONNX = Kind(Precision.MIXED, Format.ONNX)
FP16_ONNX = Kind(Precision.FP16, Format.ONNX)
FP32_ONNX = Kind(Precision.FP32, Format.ONNX)


@dataclass(frozen=True)
class Candidate:
    """A file that may ship, and how it came to be."""

    kind: Kind
    """What it is."""
    model: bytes = field(repr=False)
    """Its bytes."""
    detail: str = ""
    """How it was quantized, in words; "" where it was not."""
    step: str = ""
    """The step that made it, of STEPS or TRAINED (export.prove.steps); "" of float models."""
    method: str = ""
    """How its ranges were chosen; "" of float models."""
    source: bytes = field(default=b"", repr=False)
    """The float model that it was made from; empty where that was no file."""
    wide: tuple[str, ...] = ()
    """Layers with 16-bit activations (TFLite), or nodes that stay float (ONNX)."""

    @property
    def file(self) -> str:
        """Its name in a bundle."""
        return self.kind.file


def open_candidate(
    candidate: Candidate,
    spec: InputSpec,
    labels: tuple[str, ...],
    *,
    reference_kernels: bool = False,
) -> LiteRtBackend | OnnxBackend:
    """The candidate in the code that ships, for inputs `spec` and outputs `labels`.

    Raises:
        MissingDependency: its runtime is not installed.
        BackendError: the runtime refuses it.
    """
    options = RuntimeOptions(reference_kernels=reference_kernels)
    model, kind = candidate.model, candidate.kind
    if kind.format is Format.TFLITE:
        return LiteRtBackend(model, candidate.file, spec, labels, options)
    return OnnxBackend(model, candidate.file, spec, labels, options, kind.precision)


def infer(
    backend: Backend, pictures: NDArray[np.uint8], *, progress: bool = False
) -> NDArray[np.float32]:
    """float32 (N, labels) logits of uint8 (N, H, W, C) pictures; `progress` shows a bar."""
    starts = counted(range(0, len(pictures), _BATCH), backend.artifact, "batches", shown=progress)
    return np.concatenate([backend.infer(pictures[start : start + _BATCH]) for start in starts])
