"""What a prediction is: frozen, checked once when made."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeemo.contract.labels import MIN_LABELS
from edgeemo.errors import InvalidInput


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the frame: left edge, top edge, width, height; may reach beyond the
    frame.
    """

    x: int
    """Left edge."""
    y: int
    """Top edge."""
    width: int
    """Width, at least 1."""
    height: int
    """Height, at least 1."""

    def __post_init__(self) -> None:
        for name in ("x", "y", "width", "height"):
            try:
                whole = operator.index(getattr(self, name))
            except TypeError:
                raise InvalidInput(
                    f"expected whole pixels for a box, received {getattr(self, name)!r} as {name}"
                ) from None
            object.__setattr__(self, name, whole)  # a detector's numbers may be NumPy's
        if self.width < 1 or self.height < 1:
            raise InvalidInput(
                f"expected a box of at least 1x1 pixel, received {self.width}x{self.height}"
            )

    def as_tuple(self) -> tuple[int, int, int, int]:
        """(x, y, width, height)."""
        return self.x, self.y, self.width, self.height


@dataclass(frozen=True)
class Face:
    """One face and its emotion."""

    box: Box
    """Where the detector found it."""
    emotion: str
    """The label of the highest score."""
    confidence: float
    """That score, a probability 0..1."""
    scores: dict[str, float]
    """Probability of each of the bundle's labels, in its order; they sum to 1."""
    latency_ms: float = 0.0
    """Crop and network, without detection, in milliseconds."""

    def __post_init__(self) -> None:
        total = sum(self.scores.values())
        in_range = all(0 <= score <= 1 for score in self.scores.values())
        if len(self.scores) < MIN_LABELS or abs(total - 1) > 1e-3 or not in_range:
            raise InvalidInput(
                "expected a probability for each of two or more labels, that sum to 1, received "
                f"{self.scores}"
            )
        if self.emotion not in self.scores or not self.confidence == self.scores[
            self.emotion
        ] == max(self.scores.values()):
            raise InvalidInput(
                "expected the emotion of the highest score and that score as confidence, received"
                f" {self.emotion!r} and {self.confidence} with {self.scores}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: box as [x, y, width, height], emotion, confidence, scores (rounded to
        1e-6).
        """
        return {
            "box": list(self.box.as_tuple()),
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "scores": {label: round(score, 6) for label, score in self.scores.items()},
        }


@dataclass(frozen=True)
class Reading:
    """What a sensor says of one face in one frame, or of a frame without a face, or of a camera
    that is gone.
    """

    time: float
    """Seconds: when the frame was captured, on the clock of `time.time()`; in a recording, its
    position."""
    frame: int
    """Number of the frame, from 0; frames that were dropped count too."""
    face_id: int | None = None
    """A number that stays with a face while it is seen; None without a face."""
    emotion: str | None = None
    """The label, smoothed over time; None without a face, or while no label is sure enough."""
    confidence: float = 0.0
    """Smoothed probability 0..1 of `emotion`, or of the best label while `emotion` is None; 0
    without a face."""
    scores: dict[str, float] = field(default_factory=dict)
    """Smoothed probability of each of the bundle's labels, in its order; empty without a face."""
    box: Box | None = None
    """Where the face is; None without one."""
    latency_ms: float = 0.0
    """From the frame's capture to this reading, in milliseconds."""
    fps: float = 0.0
    """Frames a second that were looked at lately."""
    dropped: int = 0
    """Frames that came and were not looked at, so far."""
    camera_ok: bool = True
    """False while the camera is gone; such a reading has no face."""
    monotonic: float = 0.0
    """Seconds on the clock of `time.monotonic()`, which nobody sets: when the frame was captured,
    in a recording when it was read. Differences are right where `time` jumps, as on a Pi that
    learns the date from the network."""

    def __post_init__(self) -> None:
        seen = self.face_id is not None
        if seen != (self.box is not None) or seen != bool(self.scores):
            raise InvalidInput(
                "expected box and scores of a reading with a face, and neither without, received"
                f" {self}"
            )
        if self.emotion is not None and (
            self.emotion not in self.scores or self.confidence != self.scores[self.emotion]
        ):
            raise InvalidInput(f"expected one of the labels and its score, received {self}")
        if not (
            0 <= self.confidence <= 1
            and math.isfinite(self.time)
            and math.isfinite(self.monotonic)
            and math.isfinite(self.latency_ms)
        ):
            raise InvalidInput(
                f"expected a confidence of 0 to 1 and a finite time and latency, received {self}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `camera_ok` is there only when it is false."""
        return {
            "time": round(self.time, 4),
            "monotonic": round(self.monotonic, 4),
            "frame": self.frame,
            "face_id": self.face_id,
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "scores": {label: round(score, 6) for label, score in self.scores.items()},
            "box": list(self.box.as_tuple()) if self.box else None,
            "latency_ms": round(self.latency_ms, 2),
            "fps": round(self.fps, 2),
            "dropped": self.dropped,
        } | ({} if self.camera_ok else {"camera_ok": False})


def prediction(image: str, faces: Sequence[Face]) -> dict[str, Any]:
    """A picture's faces as `predict --json` prints them: plain JSON values."""
    return {"image": image, "faces": [face.to_dict() for face in faces]}
