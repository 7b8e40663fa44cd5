"""What a prediction is: frozen, checked once when made."""

from dataclasses import dataclass
from typing import Any

from edgeemo.contract.labels import LABELS
from edgeemo.errors import InvalidInput


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the frame: left edge, top edge, width, height; may reach beyond the frame."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidInput(f"expected a box of at least 1x1 pixel, received {self.width}x{self.height}")

    def as_tuple(self) -> tuple[int, int, int, int]:
        """(x, y, width, height)."""
        return self.x, self.y, self.width, self.height


@dataclass(frozen=True)
class Face:
    """One face and its emotion.

    Attributes:
        box: where the detector found it.
        emotion: the label of the highest score.
        confidence: that score, a probability 0..1.
        scores: probability of each of the seven labels, in LABELS order; they sum to 1.
        latency_ms: crop and network, without detection, in milliseconds.
    """

    box: Box
    emotion: str
    confidence: float
    scores: dict[str, float]
    latency_ms: float = 0.0

    def __post_init__(self) -> None:
        total = sum(self.scores.values())
        if tuple(self.scores) != LABELS or abs(total - 1) > 1e-3 or not all(0 <= s <= 1 for s in self.scores.values()):
            raise InvalidInput(f"expected seven probabilities in label order that sum to 1, received {self.scores}")
        if self.emotion not in self.scores or not self.confidence == self.scores[self.emotion] == max(
            self.scores.values()
        ):
            raise InvalidInput(
                f"expected the emotion of the highest score and that score as confidence, received {self.emotion!r} and "
                f"{self.confidence} with {self.scores}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: box as [x, y, width, height], emotion, confidence, scores (rounded to 1e-6)."""
        return {
            "box": list(self.box.as_tuple()),
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "scores": {label: round(score, 6) for label, score in self.scores.items()},
        }
