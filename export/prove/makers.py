"""Who makes a ladder's candidates: one maker a format, and one for quantization-aware training."""

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.quantize import scaled_pixels
from edgeemo.errors import BackendError
from export.convert import onnx, tflite
from export.convert.activations import METHODS, Activation, for_max_pools, record
from export.convert.artifacts import INT8_ONNX, INT8_TFLITE, MIXED_ONNX, MIXED_TFLITE, Candidate
from export.convert.calibration import thinned
from export.prove.layers import Layer, compare_layers, worst
from export.prove.steps import STEPS, TRAINED

_WORST = 3  # layers that the mixed step gives more bits
_LOOKED_AT = 32  # pictures that show which ones they are


class Maker(Protocol):
    """Makes the candidates of one format, by the `steps` that it knows."""

    steps: tuple[str, ...]

    def make(self, step: str, best: Candidate | None) -> Candidate:
        """The candidate of a step.

        `best` is the closest to the float model so far, None at the first step.
        """


class _CalibratedMaker(ABC):
    """What the two formats have in common: how steps follow from calibration."""

    steps: tuple[str, ...] = STEPS

    def __init__(self, fp32: bytes, calibration: NDArray[np.uint8], spec: InputSpec) -> None:
        self._fp32, self._calibration, self._spec = fp32, calibration, spec
        self._table = scaled_pixels(spec)

    def make(self, step: str, best: Candidate | None) -> Candidate:
        """As Maker says."""
        if best is None or step in METHODS:
            return self.calibrated(step)
        return self.corrected(best) if step == "bias" else self.mixed(best)

    def calibrated(self, method: str) -> Candidate:
        """With ranges of the method, one of export.convert.activations.METHODS."""
        return self._quantized(method, method, f"ranges by {method}", self._fp32)

    def corrected(self, best: Candidate) -> Candidate:
        """`best` with biases that make up for the rounding of its weights."""
        source = self._with_corrected_biases(best)
        return self._quantized(
            "bias", best.method, f"ranges by {best.method}, biases corrected", source
        )

    @abstractmethod
    def mixed(self, best: Candidate) -> Candidate:
        """`best` with its worst layers at a higher precision."""

    @abstractmethod
    def _with_corrected_biases(self, best: Candidate) -> bytes:
        """The float model with biases for `best`."""

    @abstractmethod
    def _quantized(
        self, step: str, method: str, detail: str, source: bytes, wide: tuple[str, ...] = ()
    ) -> Candidate:
        """The float model `source` in int8, with more for the layers `wide`."""


class TfliteMaker(_CalibratedMaker):
    """int8 TFLite of a float .tflite, calibrated on uint8 (N, H, W, C) pictures.

    Its mixed step has 16-bit activations.
    """

    def __init__(
        self,
        fp32: bytes,
        calibration: NDArray[np.uint8],
        seed: int,
        spec: InputSpec = DEFAULT_SPEC,
        *,
        may_be_mixed: bool = True,
    ) -> None:
        super().__init__(fp32, calibration, spec)
        self.steps = tuple(step for step in STEPS if may_be_mixed or step != "mixed")
        self._activations: dict[str, Activation] = record(fp32, calibration, seed, self._table)

    def mixed(self, best: Candidate) -> Candidate:
        """`best` with 16-bit activations in its worst layers."""
        pictures = thinned(self._calibration, _LOOKED_AT)
        layers = compare_layers(best.source, best.model, pictures, self._table)
        try:
            return self._wide(best, layers)
        except BackendError:
            # 16-bit additions want scales that not every network has; operators with weights
            # do not.
            return self._wide(
                best, [layer for layer in layers if layer.operator in tflite.WEIGHTED]
            )

    def _wide(self, best: Candidate, layers: list[Layer]) -> Candidate:
        wide = tuple(layer.name for layer in worst(layers, _WORST))
        detail = f"16-bit activations in {', '.join(wide)}"
        return self._quantized("mixed", best.method, detail, best.source, wide)

    def _with_corrected_biases(self, best: Candidate) -> bytes:
        means = {name: activation.mean for name, activation in self._activations.items()}
        return tflite.with_corrected_biases(self._fp32, best.model, means)

    def _quantized(
        self, step: str, method: str, detail: str, source: bytes, wide: tuple[str, ...] = ()
    ) -> Candidate:
        ranges = for_max_pools(source, METHODS[method](self._activations))
        kind = MIXED_TFLITE if wide else INT8_TFLITE
        model = tflite.quantize(source, ranges, wide=wide, arithmetic=self._spec.arithmetic)
        return Candidate(kind, model, detail, step, method, source, wide)


class OnnxMaker(_CalibratedMaker):
    """int8 ONNX of a float ONNX model, calibrated on uint8 (N, H, W, C) pictures.

    In its mixed step nodes stay float. `for_tensorrt` makes it as TensorRT wants it.
    """

    # ONNX Runtime knows no ranges by least error, and its entropy calibration starts with as many
    # bins as levels and so gives min-max again.
    steps = tuple(step for step in STEPS if step not in ("least-error", "entropy"))

    def __init__(
        self,
        fp32: bytes,
        calibration: NDArray[np.uint8],
        spec: InputSpec = DEFAULT_SPEC,
        *,
        for_tensorrt: bool = False,
    ) -> None:
        super().__init__(onnx.folded(fp32), calibration, spec)
        self._for_tensorrt = for_tensorrt

    def mixed(self, best: Candidate) -> Candidate:
        """`best` with its worst nodes in float."""
        pictures = thinned(self._calibration, _LOOKED_AT)
        worst_first = onnx.worst_nodes(best.source, best.model, pictures, self._table)
        wide = tuple(worst_first[:_WORST])
        detail = f"float in {', '.join(wide)}"
        return self._quantized("mixed", best.method, detail, best.source, wide)

    def _with_corrected_biases(self, best: Candidate) -> bytes:
        return onnx.with_corrected_biases(self._fp32, best.model, self._calibration, self._table)

    def _quantized(
        self, step: str, method: str, detail: str, source: bytes, wide: tuple[str, ...] = ()
    ) -> Candidate:
        kind = MIXED_ONNX if wide else INT8_ONNX
        model = onnx.convert_int8(
            source,
            self._calibration,
            method,
            wide,
            self._table,
            for_tensorrt=self._for_tensorrt,
        )
        if self._for_tensorrt:
            detail += ", symmetric for TensorRT"
        return Candidate(kind, model, detail, step, method, source, wide)


class TrainedMaker:
    """int8 TFLite of a network of quantization-aware training: one step, TRAINED.

    The network's layers have its ranges.
    """

    steps: tuple[str, ...] = (TRAINED,)

    def __init__(self, simulated: Any) -> None:
        self._simulated = simulated

    def make(self, step: str, _: Candidate | None) -> Candidate:
        """The model with its trained ranges."""
        model = tflite.convert_trained(self._simulated)
        return Candidate(INT8_TFLITE, model, "ranges of quantization-aware training", step, step)
