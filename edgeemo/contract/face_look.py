"""How a detector's network looks for faces in a frame: once at the whole, and once more at each
candidate that is in doubt, enlarged. What looks like a face from afar and from near is one.

All of it is integer arithmetic around the network, so that C finds the same faces:

* the whole frame in its smallest box of the input's shape (`whole_frame`) is the first look, whose
  MOST_CANDIDATES best boxes (`FaceRows.found`) are candidates;
* a candidate whose middle lies in a face that was found at a better candidate is a part of that
  face, and gets no look;
* a candidate from `certain` on is a face, and gets no look either;
* where `large_at_once`, a candidate from `sure` on whose region is as wide as the whole frame's box
  or wider was seen from near at once: it is a face, and gets no look either;
* a candidate's region is `Crop(closer_q10).region` of its box; one that `is_in_frame` refuses is no
  face;
* of the boxes found there from `sure` on, those count that overlap the candidate by more than
  SAME / 256 of their union; the best of them, of equals the first, takes the candidate's place;
* of those faces, best first, of equals in the order of their candidates, one that overlaps a better
  one by more than `overlap` / 256 of their union is the same face.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import BOX, Crop
from edgeemo.contract.face_rows import FLOAT_SCALE, FaceRows, in_frame
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.preprocess import face_to_input, is_in_frame, to_grey, whole_frame

MOST_CANDIDATES = 32
SAME = 102

Rows = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Runs the network: uint8 (H, W, C) pixels in, (cells, 5) rows out."""
Place = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of the frame."""


@dataclass(frozen=True)
class FoundFace:
    """A face in a frame."""

    place: Place
    """(x, y, width, height) in pixels; may reach beyond the frame."""
    score: int
    """The network's logit above its zero point, in steps of its output."""


@dataclass(frozen=True)
class Looker:
    """A detector's network and how it is asked.

    `rows`' outputs are of `scale` and `zero_point`; a float network's are of 1 and 0.
    """

    rows: Rows
    """Runs the network."""
    spec: InputSpec
    """The network's input."""
    reading: FaceRows
    """How its output is read."""
    scale: float
    """Of the output."""
    zero_point: int
    """Of the output."""

    def faces(self, frame: NDArray[np.uint8]) -> list[FoundFace]:
        """Faces of uint8 (H, W, 3) RGB or (H, W) grey, the surest first."""
        return self._distinct(self._confirmed(frame, parts=False))

    def all_faces(self, frame: NDArray[np.uint8]) -> list[FoundFace]:
        """The same where parts of faces get a look as well: at least what is found with any higher
        `sure`."""
        return self._distinct(self._confirmed(frame, parts=True))

    def _confirmed(self, frame: NDArray[np.uint8], *, parts: bool) -> list[FoundFace]:
        """What the second look takes for faces, in the order of the candidates."""
        frame = self._seen(frame)
        confirmed: list[FoundFace] = []
        for candidate in self.candidates(frame):
            if not parts and any(is_part(candidate.place, face.place) for face in confirmed):
                continue
            face = candidate if self.is_certain(candidate) else self._closer(frame, candidate)
            if face is not None:
                confirmed.append(face)
        return confirmed

    def _seen(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame grey where the network is, once for all looks."""
        return to_grey(frame) if frame.ndim == 3 and self.spec.channels == 1 else frame

    def _distinct(self, faces: list[FoundFace]) -> list[FoundFace]:
        kept: list[FoundFace] = []
        for face in sorted(faces, key=lambda face: -face.score):
            if not any(overlaps(face.place, k.place, self.reading.overlap) for k in kept):
                kept.append(face)
        return kept

    def candidates(self, frame: NDArray[np.uint8]) -> list[FoundFace]:
        """What the first look takes for faces, the surest first."""
        box = whole_frame(frame.shape[1], frame.shape[0], self.spec)
        return self._look(frame, box, BOX, self.reading)[:MOST_CANDIDATES]

    def is_certain(self, candidate: FoundFace) -> bool:
        """Whether the first look is enough for this candidate."""
        return candidate.score >= self.reading.least_certain(self._step)

    def _closer(self, frame: NDArray[np.uint8], candidate: FoundFace) -> FoundFace | None:
        crop = Crop(self.reading.closer_q10)
        surely = replace(self.reading, threshold=self.reading.sure)
        large = self.reading.large_at_once and candidate.score >= surely.least(self._step)
        if large and self._is_close(frame, candidate.place, crop):
            return candidate
        if not is_in_frame(frame, candidate.place, self.spec, crop):
            return None
        found = self._look(frame, candidate.place, crop, surely)
        return next((f for f in found if overlaps(f.place, candidate.place, SAME)), None)

    def _is_close(self, frame: NDArray[np.uint8], place: Place, crop: Crop) -> bool:
        """Whether the first look showed this place at least as large."""
        height, width = self.spec.height, self.spec.width
        whole = whole_frame(frame.shape[1], frame.shape[0], self.spec)
        return crop.region(place, height, width).width >= BOX.region(whole, height, width).width

    @property
    def _step(self) -> float:
        """A step of scores as a logit."""
        return FLOAT_SCALE if self.scale == 1.0 else self.scale

    def _look(
        self, frame: NDArray[np.uint8], box: Place, crop: Crop, reading: FaceRows
    ) -> list[FoundFace]:
        height, width = self.spec.height, self.spec.width
        region = crop.region(box, height, width)
        rows = self.rows(face_to_input(frame, box, self.spec, crop))
        return [
            FoundFace(in_frame(face, region, width, height), int(face[4]))
            for face in reading.found(rows, self.scale, self.zero_point)
        ]


def is_part(a: Place, b: Place) -> bool:
    """Whether the middle of `a` lies in `b`."""
    x, y = 2 * a[0] + a[2], 2 * a[1] + a[3]
    return 2 * b[0] <= x < 2 * (b[0] + b[2]) and 2 * b[1] <= y < 2 * (b[1] + b[3])


def overlaps(a: Place, b: Place, share: int) -> bool:
    """Whether two boxes have more than `share` / 256 of their union in common."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return 256 * common > share * (a[2] * a[3] + b[2] * b[3] - common)
