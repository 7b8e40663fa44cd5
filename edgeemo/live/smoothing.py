"""Scores over time become an emotion that does not flicker. Pure: time comes with each call."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeemo.contract.labels import check_same_labels
from edgeemo.contract.manifest import MAX_SECONDS, Smoothing
from edgeemo.errors import InvalidInput

MARGIN = 0.05  # probability by which another label must lead before it counts as leading
OFF = Smoothing(window=0.0, hold_time=0.0, floor=0.0)


@dataclass(frozen=True)
class Smoothed:
    """A smoothed answer."""

    emotion: str | None
    """The label; None while none is sure enough."""
    confidence: float
    """Its probability 0..1; while `emotion` is None, that of the best label."""
    scores: dict[str, float]
    """Probability of each label, in the order in which the labels came."""


class Smoother:
    """Smooths one face's scores.

    Labels and their order are those of the first scores. Scores are averaged with an exponential
    window in seconds, so that the result does not depend on the frame rate: after `window` seconds
    of a new answer, it makes up 63 %. The reported label changes when another leads by MARGIN for
    `hold_time` seconds without a break; it changes to None when, as long, no label reaches `floor`.
    The first scores are reported as they are.

    Args:
        smoothing: window and hold time in seconds, floor as a probability; OFF reports each answer
            as it comes.

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
        self._labels: tuple[str, ...] = ()
        self._mean = np.empty(0)
        self._time = 0.0
        self._state: str | None = None
        self._pending: str | None = None
        # Seconds that `_pending` has led; counted, so that a clock that steps back takes nothing
        # away.
        self._pending_for = 0.0

    def update(self, scores: Mapping[str, float], time: float) -> Smoothed:
        """The smoothed answer after `scores`, the probability of each label, at `time`.

        `time` is in seconds on any clock; one that is no number, or before the last one, counts as
        no time passed.

        Raises:
            InvalidInput: other labels than those of the first scores, or in another order.
        """
        values = np.fromiter(scores.values(), np.float64, len(scores))
        if not self._labels:
            self._labels = tuple(scores)
            self._mean, self._time = values, time if math.isfinite(time) else 0.0
            self._state = self._leading()
            return self._answer()
        check_same_labels(tuple(scores), self._labels, "Smoother", InvalidInput)
        passed = max(0.0, time - self._time) if math.isfinite(time) else 0.0
        self._time = time if math.isfinite(time) else self._time
        weight = 1 - math.exp(-passed / self._window) if self._window else 1.0
        self._mean = self._mean + weight * (values - self._mean)
        self._hold_state(passed)
        return self._answer()

    def _hold_state(self, passed: float) -> None:
        leading = self._leading()
        if leading == self._state:
            self._pending_for = 0.0
        else:
            same = leading == self._pending
            self._pending_for = self._pending_for + passed if same else 0.0
            if self._pending_for >= self._hold:
                self._state, self._pending_for = leading, 0.0
        self._pending = leading

    def _leading(self) -> str | None:
        best = int(self._mean.argmax())
        if self._state is not None:
            current = self._labels.index(self._state)
            if self._mean[best] - self._mean[current] < self._margin:
                best = current
        return self._labels[best] if self._mean[best] >= self._floor else None

    def _answer(self) -> Smoothed:
        scores = dict(zip(self._labels, map(float, self._mean), strict=True))
        confidence = scores[self._state] if self._state is not None else max(scores.values())
        return Smoothed(self._state, min(1.0, confidence), scores)


def check(smoothing: Smoothing) -> None:
    """Raise InvalidInput unless window and hold time are 0 to 3,600 s and the floor is 0..1."""
    times_fit = all(
        0 <= seconds <= MAX_SECONDS for seconds in (smoothing.window, smoothing.hold_time)
    )
    if not times_fit or not 0 <= smoothing.floor <= 1:
        raise InvalidInput(
            "expected a window and a hold time of 0 to 3600 seconds and a floor of 0 to 1, "
            f"received {smoothing}"
        )
