"""A detector's network as a function from frames to boxes, whatever runs it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.face_look import Looker, Place, Rows
from edgeemo.contract.face_rows import FaceRows
from edgeemo.contract.input_spec import InputSpec
from workstation.frames.canvas import Canvas, canvas_of
from workstation.frames.known import Known

_LEVELS = np.arange(-1.5, 3.01, 0.1)
_CANDIDATES = 1.0
"""A frame without a face, on average: each costs a second look."""
_FALSE = 1 / 100
"""A frame without a face: what is promised, on parts of scenes, which show more than whole ones."""


class Finder:
    """Finds faces in grey frames; what the network answers to pixels is kept.

    Args:
        rows: runs the network.
        spec: its input.
        reading: how its output is read.
        scale, zero_point: of the output; 1 and 0 of a float network.
    """

    def __init__(
        self, rows: Rows, spec: InputSpec, reading: FaceRows, scale: float, zero_point: int
    ) -> None:
        self._run = rows
        self._answers: dict[bytes, NDArray[Any]] = {}
        self._looker = Looker(self._kept, spec, reading, scale, zero_point)

    @property
    def reading(self) -> FaceRows:
        """How the output is read."""
        return self._looker.reading

    def find(self, grey: NDArray[np.uint8]) -> list[Place]:
        """(x, y, width, height) of each face of uint8 (H, W)."""
        return [face.place for face in self._looker.faces(grey)]

    def candidates(self, grey: NDArray[np.uint8]) -> int:
        """How many boxes get a second look."""
        return len(self._looker.candidates(grey))

    def at(self, **limits: float) -> "Finder":
        """The same with another `threshold` or `sure`, and the answers so far."""
        looker = self._looker
        other = Finder(
            self._run,
            looker.spec,
            replace(looker.reading, **limits),  # type: ignore[arg-type]
            looker.scale,
            looker.zero_point,
        )
        other._answers = self._answers
        return other

    def _kept(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        key = pixels.tobytes()
        if key not in self._answers:
            self._answers[key] = self._run(pixels)
        return self._answers[key]


def with_limits(finder: Finder, scenes: Sequence[Known], views: int = 8) -> Finder:
    """The finder with thresholds of its two looks, chosen on frames without a face: scenes without
    one, whole, and parts of them, some mirrored.

    The first is the least at which a frame has at most _CANDIDATES, the second the least at which
    it has at most _FALSE faces.
    """
    frames = [frame for scene in scenes if not len(scene.boxes) for frame in _views(scene, views)]
    finder = _least(finder, "threshold", lambda f: _sum(f.candidates, frames), _CANDIDATES, frames)
    return _least(finder, "sure", lambda f: _sum(lambda g: len(f.find(g)), frames), _FALSE, frames)


def _least(
    finder: Finder,
    limit: str,
    seen: Callable[[Finder], int],
    most: float,
    frames: Sequence[Canvas],
) -> Finder:
    """The finder with the least limit at which it sees `most` a frame, or the highest."""
    levels = [finder.at(**{limit: float(round(level, 3))}) for level in _LEVELS]
    enough = (at for at in levels if seen(at) <= most * len(frames))
    return next(enough, levels[-1])


def _sum(seen: Callable[[NDArray[np.uint8]], int], frames: Sequence[Canvas]) -> int:
    return sum(seen(frame.grey) for frame in frames)


def _views(scene: Known, count: int) -> list[Canvas]:
    """The scene, and parts of it of two thirds of its sides, mirrored every second time."""
    height, width = scene.grey.shape
    frames = [canvas_of(scene)]
    for i in range(1, count):
        top, left = (height // 3) * (i % 2), (width // 3) * (i // 2 % 2)
        part = scene.grey[top : top + 2 * height // 3, left : left + 2 * width // 3]
        frames.append(Canvas(np.ascontiguousarray(part[:, :: -1 if i > 3 else 1]), [], []))
    return frames
