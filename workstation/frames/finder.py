"""A detector's network as a function from frames to boxes, whatever runs it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.face_look import Looker, Place, Rows
from edgeemo.contract.face_rows import FLOAT_SCALE, FaceRows
from edgeemo.contract.input_spec import InputSpec
from workstation.frames.known import Known

_LEVELS = np.round(np.arange(-1.5, 6.01, 0.05), 3)
_PARTS = 30  # of each scene without a face
_CANDIDATES = 1.0
"""A frame without a face, on average: each costs a second look."""
_FALSE = 1 / 200
"""A frame without a face: half of what is promised of scenes that nothing was chosen on."""
_FALSE_AT_ONCE = _FALSE / 4
"""Of these, what the first look alone may take for faces."""


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

    def scores(self, grey: NDArray[np.uint8], *, first: bool) -> list[float]:
        """Logits of the candidates of the first look, or of the faces: infinite where the second
        look has no say."""
        looker = self._looker
        step = FLOAT_SCALE if looker.scale == 1.0 else looker.scale
        candidates = looker.candidates(grey)
        if first:
            return [candidate.score * step for candidate in candidates]
        certain = {candidate for candidate in candidates if looker.is_certain(candidate)}
        faces = looker.all_faces(grey)
        return [np.inf if face in certain else face.score * step for face in faces]

    def at(self, **limits: float) -> "Finder":
        """The same with another `threshold`, `certain` or `sure`, and the answers so far."""
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
        key = hashlib.blake2b(
            pixels.tobytes(), digest_size=16
        ).digest()  # not the pixels: gigabytes
        if key not in self._answers:
            self._answers[key] = self._run(pixels)
        return self._answers[key]


def with_limits(finder: Finder, scenes: Sequence[Known]) -> Finder:
    """The finder with thresholds of its two looks, chosen on frames without a face: scenes without
    one and _PARTS parts of each.

    Each is the least at which a frame has, on average, at most _CANDIDATES, _FALSE_AT_ONCE faces
    without a second look, and _FALSE faces in all.
    """
    draw = np.random.default_rng(1)
    frames = [part for scene in scenes if not len(scene.boxes) for part in _parts(scene.grey, draw)]
    for limit, most in (("threshold", _CANDIDATES), ("certain", _FALSE_AT_ONCE), ("sure", _FALSE)):
        # One pass is enough: what is found from a higher level on is what has that score here.
        lowest = finder.at(**({} if limit == "certain" else {limit: float(_LEVELS[0])}))
        first = limit != "sure"
        scores = np.array([s for frame in frames for s in lowest.scores(frame, first=first)])
        enough = (level for level in _LEVELS if (scores >= level).sum() <= most * len(frames))
        finder = finder.at(**{limit: float(next(enough, _LEVELS[-1]))})
    return finder


def _parts(grey: NDArray[np.uint8], draw: np.random.Generator) -> list[NDArray[np.uint8]]:
    """A scene, and parts of it of a third to all of its sides, every second one mirrored."""
    height, width = grey.shape
    parts = [grey]
    for number in range(_PARTS):
        share = draw.uniform(0.33, 1.0)
        h, w = max(8, int(height * share)), max(8, int(width * share))
        top, left = (int(draw.integers(0, rest + 1)) for rest in (height - h, width - w))
        part = grey[top : top + h, left : left + w]
        parts.append(np.ascontiguousarray(part[:, :: 1 if number % 2 else -1]))
    return parts
