"""The ladder: int8 made with more and more effort, until what it loses on `validation` would pass the gate.

Each step is judged with the gate's own limits on the validation split, so that the test split, which has the last word,
is not what a step is chosen by.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import BackendError
from export.convert import onnx, tflite
from export.convert.activations import METHODS, Activation, Ranges, record
from export.convert.calibration import thinned
from export.prove.gate import Verdict
from export.prove.layers import Layer, compare_layers, worst

STEPS = ("min-max", "percentile", "entropy", "bias", "mixed")
TRAINED = "trained"
_WORST = 3  # layers that the mixed step gives more bits
_LOOKED_AT = 32  # pictures to find them with


@dataclass(frozen=True)
class Candidate:
    """A quantized model, and how it came to be.

    Attributes:
        file: its name in a bundle. step: one of STEPS, or TRAINED. method: how its ranges were found.
        detail: what the step did, in words.
        model: its bytes; source: those of the float model that it was made from.
        wide: layers with 16-bit activations (TFLite), or nodes that stay float (ONNX).
    """

    file: str
    step: str
    method: str
    detail: str
    model: bytes = field(repr=False)
    source: bytes = field(repr=False)
    wide: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """A step's outcome on the validation split, and its price."""

    file: str
    step: str
    detail: str
    bytes: int
    seconds: float
    ms_per_face: float
    top1: float
    drop: float
    drop_upper95: float
    agreement: float
    mean_kl: float
    passed: bool
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class Maker(Protocol):
    """Makes the candidates of one format, by the `steps` that it knows."""

    steps: tuple[str, ...]

    def make(self, step: str, best: Candidate | None) -> Candidate:
        """The candidate of a step; `best` is the closest to the float model so far, None at the first step."""


class _CalibratedMaker(ABC):
    """What the two formats have in common: how steps follow from calibration."""

    steps: tuple[str, ...] = STEPS

    def __init__(self, fp32: bytes, calibration: NDArray[np.uint8]) -> None:
        self._fp32, self._calibration = fp32, calibration

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
    """int8.tflite of a float network, calibrated on uint8 (N, 48, 48, 1) pictures; its mixed step has 16-bit activations."""

    def __init__(
        self, model: Any, calibration: NDArray[np.uint8], seed: int, *, may_be_mixed: bool = True
    ) -> None:
        super().__init__(tflite.convert_fp32(model), calibration)
        self.steps = tuple(step for step in STEPS if may_be_mixed or step != "mixed")
        self._activations: dict[str, Activation] = record(self._fp32, calibration, seed)

    def mixed(self, best: Candidate) -> Candidate:
        """`best` with 16-bit activations in its worst layers."""
        layers = compare_layers(best.source, best.model, thinned(self._calibration, _LOOKED_AT))
        try:
            return self._wide(best, layers)
        except BackendError:
            # 16-bit additions want scales that not every network has; operators with weights do not.
            return self._wide(
                best, [layer for layer in layers if layer.operator in tflite.WEIGHTED]
            )

    def _wide(self, best: Candidate, layers: list[Layer]) -> Candidate:
        wide = tuple(layer.name for layer in worst(layers, _WORST))
        return self._quantized(
            "mixed", best.method, f"16-bit activations in {', '.join(wide)}", best.source, wide
        )

    def _with_corrected_biases(self, best: Candidate) -> bytes:
        means = {name: seen.mean for name, seen in self._activations.items()}
        return tflite.with_corrected_biases(self._fp32, best.model, means)

    def _quantized(
        self, step: str, method: str, detail: str, source: bytes, wide: tuple[str, ...] = ()
    ) -> Candidate:
        ranges: Ranges = METHODS[method](self._activations)
        file = "mixed.tflite" if wide else "int8.tflite"
        return Candidate(
            file, step, method, detail, tflite.quantize(source, ranges, wide=wide), source, wide
        )


class OnnxMaker(_CalibratedMaker):
    """int8.onnx of a float ONNX model, calibrated on uint8 (N, 48, 48, 1) pictures; in its mixed step nodes stay float."""

    # ONNX Runtime's entropy calibration starts with as many bins as levels and so finds min-max again.
    steps = tuple(step for step in STEPS if step != "entropy")

    def __init__(self, fp32: bytes, calibration: NDArray[np.uint8]) -> None:
        super().__init__(onnx.folded(fp32), calibration)

    def mixed(self, best: Candidate) -> Candidate:
        """`best` with its worst nodes in float."""
        wide = tuple(
            onnx.worst_nodes(best.source, best.model, thinned(self._calibration, _LOOKED_AT))[
                :_WORST
            ]
        )
        return self._quantized(
            "mixed", best.method, f"float in {', '.join(wide)}", best.source, wide
        )

    def _with_corrected_biases(self, best: Candidate) -> bytes:
        return onnx.with_corrected_biases(self._fp32, best.model, self._calibration)

    def _quantized(
        self, step: str, method: str, detail: str, source: bytes, wide: tuple[str, ...] = ()
    ) -> Candidate:
        file = "mixed.onnx" if wide else "int8.onnx"
        model = onnx.convert_int8(source, self._calibration, method, wide)
        return Candidate(file, step, method, detail, model, source, wide)


class TrainedMaker:
    """int8.tflite of a network of quantization-aware training, whose layers hold its ranges: one step, TRAINED."""

    steps: tuple[str, ...] = (TRAINED,)

    def __init__(self, simulated: Any) -> None:
        self._simulated = simulated

    def make(self, step: str, _: Candidate | None) -> Candidate:
        """The model with its trained ranges."""
        model = tflite.convert_trained(self._simulated)
        return Candidate(
            "int8.tflite", step, step, "ranges of quantization-aware training", model, b""
        )


@dataclass(frozen=True)
class Judged:
    """What the validation split says of a candidate: the gate's verdict, further reasons against it, and its time."""

    verdict: Verdict
    reasons: tuple[str, ...]
    ms_per_face: float


def climb(
    maker: Maker,
    steps: tuple[str, ...],
    judged: Callable[[Candidate], Judged],
    clock: Callable[[], float],
) -> Iterator[tuple[Candidate, Attempt]]:
    """Each step's candidate with its attempt; who has enough stops asking."""
    best: tuple[float, Candidate] | None = None
    for step in steps:
        start = clock()
        candidate = maker.make(step, best[1] if best else None)
        attempt = _tried(candidate, judged(candidate), clock() - start)
        # Mean KL uses every score, so it tells two candidates apart that agree on the same top labels.
        if best is None or attempt.mean_kl < best[0]:
            best = attempt.mean_kl, candidate
        yield candidate, attempt


def _tried(candidate: Candidate, judged: Judged, seconds: float) -> Attempt:
    verdict = judged.verdict
    reasons = (*verdict.reasons, *judged.reasons)
    return Attempt(
        file=candidate.file,
        step=candidate.step,
        detail=candidate.detail,
        bytes=len(candidate.model),
        seconds=round(seconds, 2),
        ms_per_face=round(judged.ms_per_face, 4),
        top1=verdict.card.top1,
        drop=verdict.drop.drop,
        drop_upper95=verdict.drop.upper95,
        agreement=verdict.agreement,
        mean_kl=verdict.mean_kl,
        passed=not reasons,
        reasons=reasons,
    )
