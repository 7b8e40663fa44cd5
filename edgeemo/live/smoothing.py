"""Scores over time become an emotion that does not flicker. Pure: time comes with each call."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeemo.contract.labels import LABELS
from edgeemo.contract.manifest import Smoothing
from edgeemo.errors import InvalidInput

MARGIN = 0.05  # probability by which another label must lead before it counts as leading
OFF = Smoothing(window=0.0, hold_time=0.0, floor=0.0)


@dataclass(frozen=True)
class Smoothed:
    """A smoothed answer: `emotion` is None while no label is sure enough; `confidence` is then the best label's.

    `scores` are probabilities of the seven labels, in LABELS order.
    """

    emotion: str | None
    confidence: float
    scores: dict[str, float]


class Smoother:
    """Smooths one face's scores.

    Scores are averaged with an exponential window in seconds, so that the result does not depend on the frame rate: after
    `window` seconds of a new answer, it makes up 63 %. The reported label changes when another leads by MARGIN for
    `hold_time` seconds without a break; it changes to None when, as long, no label reaches `floor`. The first scores are
    reported as they are.

    Args:
        smoothing: window and hold time in seconds, floor as a probability; OFF reports each answer as it comes.

    Raises:
        InvalidInput: negative or infinite seconds, or a floor outside 0..1.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        check(smoothing)
        self._window, self._hold, self._floor = (
            smoothing.window,
            smoothing.hold_time,
            smoothing.floor,
        )
        self._margin = MARGIN if smoothing != OFF else 0.0
        self._mean = np.empty(0)
        self._time = 0.0
        self._state: str | None = None
        self._pending: str | None = None
        self._held = 0.0  # seconds that `_pending` has led; counted, so that a clock that steps back takes nothing away

    def update(self, scores: Mapping[str, float], time: float) -> Smoothed:
        """The smoothed answer after `scores` (probabilities in LABELS order) at `time`, in seconds on any clock.

        A time that is no number, or before the last one, counts as no time passed.
        """
        values = np.fromiter(scores.values(), np.float64, len(LABELS))
        if not self._mean.size:
            self._mean, self._time = values, time if math.isfinite(time) else 0.0
            self._state = self._leading()
            return self._answer()
        passed = max(0.0, time - self._time) if math.isfinite(time) else 0.0
        self._time = time if math.isfinite(time) else self._time
        weight = 1 - math.exp(-passed / self._window) if self._window else 1.0
        self._mean = self._mean + weight * (values - self._mean)
        self._hold_state(passed)
        return self._answer()

    def _hold_state(self, passed: float) -> None:
        leading = self._leading()
        if leading == self._state:
            self._held = 0.0
        else:
            self._held = self._held + passed if leading == self._pending else 0.0
            if self._held >= self._hold:
                self._state, self._held = leading, 0.0
        self._pending = leading

    def _leading(self) -> str | None:
        best = int(self._mean.argmax())
        if self._state is not None:
            current = LABELS.index(self._state)
            if self._mean[best] - self._mean[current] < self._margin:
                best = current
        return LABELS[best] if self._mean[best] >= self._floor else None

    def _answer(self) -> Smoothed:
        scores = dict(zip(LABELS, map(float, self._mean), strict=True))
        confidence = scores[self._state] if self._state is not None else max(scores.values())
        return Smoothed(self._state, min(1.0, confidence), scores)


def check(smoothing: Smoothing) -> None:
    """Raise InvalidInput unless window and hold time are seconds of 0 to 3,600 and the floor is 0..1."""
    times_fit = all(0 <= seconds <= 3600 for seconds in (smoothing.window, smoothing.hold_time))
    if not times_fit or not 0 <= smoothing.floor <= 1:
        raise InvalidInput(
            f"expected a window and a hold time of 0 to 3600 seconds and a floor of 0 to 1, received {smoothing}"
        )
