"""Frames with known faces: pictures moved, turned and set into one another, with their boxes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.optional import need
from workstation.frames.known import SURE, Known

Grey = NDArray[np.uint8]


@dataclass
class Canvas:
    """A frame in the making."""

    grey: Grey
    """uint8 (H, W)."""
    boxes: list[tuple[float, float, float, float]]
    """Left, top, width, height of each face."""
    sure: list[bool]
    """Whether it counts as a face; else its place is neither face nor none."""

    def transformed(self, matrix: NDArray[np.float64], size: tuple[int, int]) -> "Canvas":
        """This frame under a similarity (2, 3) in one of `size` (width, height), edges repeated."""
        grey = warp(self.grey, matrix, size)
        return Canvas(grey, [moved(box, matrix) for box in self.boxes], list(self.sure))


def warp(grey: Grey, matrix: NDArray[np.float64], size: tuple[int, int]) -> Grey:
    """`grey` under a similarity; where it shrinks, it is shrunk by area first, so that nothing
    aliases."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.6:
        width, height = (max(1, round(side * scale)) for side in grey.shape[::-1])
        small = _cv2().resize(grey, (width, height), interpolation=_cv2().INTER_AREA)
        matrix = matrix @ np.array(
            [[grey.shape[1] / width, 0, 0], [0, grey.shape[0] / height, 0], [0, 0, 1]]
        )
        grey = small
    moved_grey = _cv2().warpAffine(
        grey, matrix, size, flags=_cv2().INTER_LINEAR, borderMode=_cv2().BORDER_REPLICATE
    )
    return np.asarray(moved_grey, np.uint8)


def moved(
    box: tuple[float, float, float, float], matrix: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """A box under a similarity: the upright hull of the ellipse inside of it."""
    x, y, width, height = box
    centre = matrix @ (x + width / 2, y + height / 2, 1)
    a, b = matrix[:, 0] * width / 2, matrix[:, 1] * height / 2
    half = np.hypot(a, b)
    return (centre[0] - half[0], centre[1] - half[1], 2 * half[0], 2 * half[1])


def similarity(
    centre: tuple[float, float], scale: float, turn: float, target: tuple[float, float], flip: bool
) -> NDArray[np.float64]:
    """(2, 3): `centre` goes to `target`, scaled, turned by degrees, mirrored first if asked."""
    angle = np.deg2rad(turn)
    across = np.array([np.cos(angle), np.sin(angle)]) * scale * (-1 if flip else 1)
    down = np.array([-np.sin(angle), np.cos(angle)]) * scale
    start = np.array(target) - across * centre[0] - down * centre[1]
    return np.stack([across, down, start], axis=1)


def place(
    canvas: Canvas, photo: Known, matrix: NDArray[np.float64], mask: NDArray[np.uint8]
) -> None:
    """Set a photo into the canvas under a similarity, as opaque as its mask (0 to 255) says."""
    window = _window(photo.grey.shape, matrix, canvas.grey.shape[::-1])
    if window is None:
        return
    left, top, right, bottom = window
    local = matrix - np.array([[0, 0, left], [0, 0, top]])
    size = (right - left, bottom - top)
    weight = warped_mask(mask, local, size) / np.float32(255)
    under = canvas.grey[top:bottom, left:right]
    under[:] = warp(photo.grey, local, size) * weight + under * (1 - weight)
    here = canvas_of(photo)
    canvas.boxes += [moved(box, matrix) for box in here.boxes]
    canvas.sure += here.sure


def _window(
    shape: tuple[int, ...], matrix: NDArray[np.float64], size: tuple[int, ...]
) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of where a picture comes to lie in a frame of `size`; None where
    it lies outside."""
    height, width = shape
    corners = matrix @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    left, top = np.maximum(np.floor(corners.min(1)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(1)).astype(int), size)
    return (int(left), int(top), int(right), int(bottom)) if left < right and top < bottom else None


def warped_mask(mask: Grey, matrix: NDArray[np.float64], size: tuple[int, int]) -> Grey:
    """A mask under a similarity, nothing beyond its edge."""
    return np.asarray(_cv2().warpAffine(mask, matrix, size, flags=_cv2().INTER_LINEAR), np.uint8)


def canvas_of(known: Known) -> Canvas:
    boxes = [(float(x), float(y), float(w), float(h)) for x, y, w, h in known.boxes]
    return Canvas(known.grey, boxes, [bool(score >= SURE) for score in known.scores])


def _cv2() -> Any:
    return need("cv2", "opencv", "to make frames")
