"""A detector's network as a function from frames to boxes, whatever runs it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import BOX
from edgeemo.contract.face_rows import FaceRows, in_frame
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.preprocess import face_to_input, whole_frame
from workstation.frames.canvas import Canvas, canvas_of
from workstation.frames.known import Known

Rows = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""uint8 (H, W, 1) in, (cells, 5) out."""
_THRESHOLDS = np.arange(-2.0, 3.01, 0.1)
_FALSE_IN = 400
"""Frames without a face of which one may show a false face at the threshold that is chosen: less
than the one in a hundred that is promised."""


class Finder:
    """Finds faces in grey frames; what the network answers to a frame is kept.

    Args:
        rows: runs the network.
        spec: its input.
        reading: how its output is read.
        scale, zero_point: of the output; 1 and 0 of a float network.
    """

    def __init__(
        self, rows: Rows, spec: InputSpec, reading: FaceRows, scale: float, zero_point: int
    ) -> None:
        self.rows, self.spec, self.reading = rows, spec, reading
        self.scale, self.zero_point = scale, zero_point
        self._answers: dict[bytes, NDArray[Any]] = {}

    def find(self, grey: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
        """(x, y, width, height) of each face of uint8 (H, W)."""
        box = whole_frame(grey.shape[1], grey.shape[0], self.spec)
        pixels = face_to_input(grey, box, self.spec)
        key = pixels.tobytes()
        if key not in self._answers:
            self._answers[key] = self.rows(pixels)
        region = BOX.region(box, self.spec.height, self.spec.width)
        faces = self.reading.found(self._answers[key], self.scale, self.zero_point)
        return [in_frame(face, region, self.spec.width, self.spec.height) for face in faces]

    def at(self, threshold: float) -> "Finder":
        """The same with another threshold, and the answers so far."""
        other = Finder(
            self.rows,
            self.spec,
            replace(self.reading, threshold=threshold),
            self.scale,
            self.zero_point,
        )
        other._answers = self._answers
        return other


def choose_threshold(finder: Finder, scenes: Sequence[Known], views: int = 8) -> float:
    """The least threshold at which at most one of _FALSE_IN frames without a face shows one.

    The frames are scenes without a face, whole, mirrored, and parts of them.
    """
    frames = [frame for scene in scenes if not len(scene.boxes) for frame in _views(scene, views)]
    for threshold in _THRESHOLDS:
        at = finder.at(float(round(threshold, 3)))
        if sum(len(at.find(frame.grey)) for frame in frames) <= len(frames) / _FALSE_IN:
            return at.reading.threshold
    return float(_THRESHOLDS[-1])


def _views(scene: Known, count: int) -> list[Canvas]:
    """The scene, and parts of it of two thirds of its sides, mirrored every second time."""
    height, width = scene.grey.shape
    frames = [canvas_of(scene)]
    for i in range(1, count):
        top, left = (height // 3) * (i % 2), (width // 3) * (i // 2 % 2)
        part = scene.grey[top : top + 2 * height // 3, left : left + 2 * width // 3]
        frames.append(Canvas(np.ascontiguousarray(part[:, :: -1 if i > 3 else 1]), [], []))
    return frames
