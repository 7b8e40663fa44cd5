"""Faces keep their number, and are followed between two looks of the detector.

Pure: time comes with each call.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgeemo.results import Box

# Faces of a frame that are read and followed, the largest; comparing each of thousands with each of
# before would cost the frame rate.
MOST_FACES = 64
KEEP = 1.0  # seconds that a face which is not found keeps its number for its return
_OVERLAP = 0.2  # intersection over union that makes two boxes one face
# Or centres so near, in widths of the face; a fast head leaves its box between two looks.
_NEAR = 0.7
# Pixels of the side to which a face is scaled to be followed; its surroundings to twice as many.
_PATTERN = 24
_FLAT = 1e-3  # of both variances' product, which is 0 without contrast, but for rounding
_ALIKE = 0.5  # normalized correlation from which a place is taken for the face's own
_LARGER = 1.25  # area by which another face must lead before it is taken for the largest one
_PROVEN = 3  # looks that must have found it before; detectors see faces in curtains, for a moment


@dataclass(frozen=True)
class Track:
    """A face that is seen."""

    face_id: int
    """Its number, from 1."""
    box: Box
    """Where it is."""


@dataclass
class _State:
    track: Track
    """Number and box."""
    last_seen: float
    """Time of the detector's last look that saw it, seconds."""
    looks: int = 0
    """Looks of the detector that saw it."""
    pattern: NDArray[np.uint8] | None = None
    """uint8 (24, 24): what the face looked like then."""


class Tracker:
    """Gives each face a number, from 1, that stays with it while it is seen, and a second more."""

    def __init__(self) -> None:
        self._states: list[_State] = []
        self._shown: list[_State] = []
        self._frame: NDArray[np.uint8] | None = None
        self._count = 0
        self._largest: int | None = None

    def detected(
        self, boxes: Sequence[Box], time: float, frame_rgb: NDArray[np.uint8]
    ) -> list[Track]:
        """The faces that the detector found in uint8 (H, W, 3) RGB at `time`, in its order.

        `time` is in seconds, on a clock that does not step back.
        """
        self._states = [state for state in self._states if time - state.last_seen <= KEEP]
        if len(self._states) > 2 * MOST_FACES:  # of boxes that jump about; the newest stay
            self._states.sort(key=lambda state: state.last_seen)
            del self._states[: -2 * MOST_FACES]
        free = list(self._states)
        matches: dict[int, _State] = {}
        pairs = (
            (_likeness(state.track.box, box), i, state)
            for i, box in enumerate(boxes)
            for state in self._states
        )
        for likeness, i, state in sorted(pairs, key=lambda pair: -pair[0]):
            if likeness > 0 and i not in matches and state in free:
                matches[i] = state
                free.remove(state)
        self._shown = [self._seen(matches.get(i), box, time) for i, box in enumerate(boxes)]
        self._frame = frame_rgb
        return self.shown()

    def _seen(self, state: _State | None, box: Box, time: float) -> _State:
        if state is None:
            self._count += 1
            state = _State(Track(self._count, box), time)
            self._states.append(state)
        state.track, state.last_seen, state.pattern = Track(state.track.face_id, box), time, None
        state.looks += 1
        return state

    def carried(self, frame_rgb: NDArray[np.uint8]) -> list[Track]:
        """The faces of the detector's last look, each nearby where the frame looks most like it.

        One that has left the frame by more than half is dropped until the detector sees it again.

        The frame is uint8 (H, W, 3) RGB.
        """
        if self._frame is not None:
            for state in self._shown:
                if state.pattern is None:
                    state.pattern = _scaled(self._frame, state.track.box, 1)
                state.track = Track(
                    state.track.face_id, _followed(frame_rgb, state.track.box, state.pattern)
                )
        height, width = frame_rgb.shape[:2]
        self._shown = [s for s in self._shown if _is_half_in(s.track.box, height, width)]
        return self.shown()

    def shown(self) -> list[Track]:
        """The faces as they were last found or carried."""
        return [state.track for state in self._shown]

    def largest(self) -> Track | None:
        """The largest face.

        The one that was it before stays it while it is seen, until a clearly larger one is proven.
        When that one is missed for a moment, a face that is not proven does not take its place:
        then there is none.
        """
        best = max(self._shown, key=lambda state: _area(state.track.box), default=None)
        before = next(
            (state for state in self._shown if state.track.face_id == self._largest), None
        )
        if best and before:
            larger = _area(best.track.box) >= _LARGER * _area(before.track.box)
            best = best if larger and best.looks >= _PROVEN else before
        elif best and best.looks < _PROVEN and self._largest in self.known():
            return None
        self._largest = best.track.face_id if best else self._largest
        return best.track if best else None

    def known(self) -> set[int]:
        """Numbers of the faces that are seen or may come back."""
        return {state.track.face_id for state in self._states}

    def forget(self) -> None:
        """The view is another one now: no face that comes is one of those before."""
        self._states, self._shown, self._largest, self._frame = [], [], None, None


def _area(box: Box) -> int:
    return box.width * box.height


def _is_half_in(box: Box, height: int, width: int) -> bool:
    """Whether half of the box's width and height is in the frame, or half of the frame's in it."""
    across = min(box.x + box.width, width) - max(box.x, 0)
    down = min(box.y + box.height, height) - max(box.y, 0)
    return 2 * across >= min(box.width, width) and 2 * down >= min(box.height, height)


def _likeness(a: Box, b: Box) -> float:
    """How likely two boxes are the same face.

    Above 0 if they may be, more where they overlap more.
    """
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    both = max(0, width) * max(0, height)
    overlap = both / (_area(a) + _area(b) - both)
    if overlap >= _OVERLAP:
        return 1 + overlap
    apart = math.hypot(
        a.x + a.width / 2 - b.x - b.width / 2, a.y + a.height / 2 - b.y - b.height / 2
    )
    larger, smaller = max(a.width, b.width), min(a.width, b.width)
    near = 1 - apart / (_NEAR * larger)
    return near if smaller > larger / 2 else 0.0


def _scaled(frame_rgb: NDArray[np.uint8], box: Box, sides: int) -> NDArray[np.uint8]:
    """The green channel, near enough to grey, of a square around the box's centre: uint8 of 24
    times `sides` pixels, each linear between four; beyond the frame its nearest edge stands.

    The square is `sides` times as large as the box.
    """
    side, pixels = sides * max(box.width, box.height), sides * _PATTERN
    step: NDArray[np.float64] = np.arange(pixels, dtype=np.float64) * (side / pixels)
    height, width = frame_rgb.shape[:2]
    top, below, down = _between(box.y + (box.height - side) / 2 + step, height)
    left, right, across = _between(box.x + (box.width - side) / 2 + step, width)
    green = frame_rgb[..., 1]
    upper, lower = (
        green[np.ix_(rows, left)] * (1 - across) + green[np.ix_(rows, right)] * across
        for rows in (top, below)
    )
    share = down[:, np.newaxis]
    return np.asarray(upper * (1 - share) + lower * share + 0.5, np.float64).astype(np.uint8)


def _between(
    at: NDArray[np.float64], side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Of places on an axis of `side` pixels: the pixel before, the one behind, the share of it."""
    at = at.clip(0, side - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, side - 1), at - before


def _likenesses(view: NDArray[np.uint8], pattern: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The normalized correlation of uint8 (24, 24) with each place of it in uint8 (48, 48), its
    upper left corner at (0, 0) to (24, 24); -1..1, 0 where either has no contrast.

    r = sum(a b) / sqrt(sum(a^2) sum(b^2)), a and b less their means (Lewis 1995, Fast Normalized
    Cross-Correlation).
    """
    size = _PATTERN * _PATTERN
    wide = view.astype(np.float64)
    windows = sliding_window_view(wide, (_PATTERN, _PATTERN))
    deviation = pattern - pattern.mean()
    products = np.einsum("yxij,ij->yx", windows, deviation)
    sums, squares = (_window_sums(values) for values in (wide, wide * wide))
    spread = np.maximum(squares - sums * sums / size, 0) * (deviation * deviation).sum()
    likeness = np.zeros((_PATTERN + 1, _PATTERN + 1))
    np.divide(products, np.sqrt(spread), out=likeness, where=spread > _FLAT)
    return likeness


def _window_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of each 24x24 pixels."""
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    n = _PATTERN
    return np.asarray(table[n:, n:] - table[:-n, n:] - table[n:, :-n] + table[:-n, :-n])


def _followed(frame_rgb: NDArray[np.uint8], box: Box, pattern: NDArray[np.uint8]) -> Box:
    likeness = _likenesses(_scaled(frame_rgb, box, 2), pattern)
    y, x = (int(v) for v in np.unravel_index(likeness.argmax(), likeness.shape))
    best = likeness[y, x]
    middle = _PATTERN // 2
    # One that is as like where it was stays there.
    if best < _ALIKE or likeness[middle, middle] > best - 0.01:
        return box
    step = max(box.width, box.height) / _PATTERN
    return Box(
        box.x + round((x - middle) * step),
        box.y + round((y - middle) * step),
        box.width,
        box.height,
    )
