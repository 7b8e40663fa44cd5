"""How far a frame is scaled down before a detector looks at it: the detector, and its input's size,
is what a frame costs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaling:
    """A detector's rule for the size of its input."""

    max_side: int
    """Longer side of the input in pixels, at most."""
    face_pixels: int
    """Side of a face in the input, in pixels, from which on the detector finds it."""
    smallest_face: float | None = None
    """Smallest face to be found, as a share of the frame's shorter side; None scales down for
    `max_side` alone."""

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the input for a frame, in pixels; never more than the frame's own."""
        scale = min(1.0, self.max_side / max(width, height))
        if self.smallest_face is not None:
            scale = min(scale, self.face_pixels / (self.smallest_face * min(width, height)))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def shrink(
        self, cv2: Any, picture: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """uint8 (H, W) or (H, W, 3) scaled down, and the frame's pixels for one of the input's,
        across and down.
        """
        height, width = picture.shape[:2]
        size = self.size(width, height)
        if self.smallest_face is not None:
            picture = shrink_fast(cv2, picture, size)
        elif size != (width, height):
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return picture, (width / size[0], height / size[1])


def shrink_fast(cv2: Any, picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 (H, W) or (H, W, 3) as `size` (width, height), not larger: halved as often as fits,
    then bilinear.

    The exact area mean takes 7 times as long on 640x480, and a detector finds as much in this.
    """
    while picture.shape[1] >= 2 * size[0] and picture.shape[0] >= 2 * size[1]:
        picture = cv2.resize(
            picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA
        )
    if picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
