"""What is wrong with a camera's pictures: none, another size than before, or always the same."""

import numbers

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import Frame
from edgeemo.errors import CameraError

# Standard deviation of pixels below which a picture may stand still: night, or a cap on the lens.
_FLAT = 8.0


class PictureWatch:
    """Sees a camera's picture that changes its size, or stands still.

    Args:
        name: of the camera, for messages.
        frozen: seconds of the very same picture after which the camera counts as gone; None: it
            may stand still.
    """

    def __init__(self, name: str, frozen: float | None) -> None:
        self._name, self._frozen = name, frozen
        self._sample: NDArray[np.uint8] | None = None
        self._shape: tuple[int, ...] = ()
        self._since = 0.0

    def check(self, frame: Frame, now: float) -> None:
        """Raise CameraError where `frame`, which came at `now` seconds, shows that it is gone."""
        shape = frame.pixels.shape
        if self._shape and shape != self._shape:
            before = f"{self._shape[1]}x{self._shape[0]}"
            raise CameraError(
                f"{self._name}: frames of {shape[1]}x{shape[0]} where they were {before} before"
            )
        self._shape = shape
        if self._frozen is None:
            return
        sample = frame.pixels[::16, ::16].copy()
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._sample, self._since = sample, now
        elif now - self._since > self._frozen and sample.std() > _FLAT:
            raise CameraError(f"{self._name}: the very same picture for {self._frozen:g} s")


def is_picture(frame: Frame) -> bool:
    """Whether its pixels are uint8 (H, W, 3), and not empty, and its time is a number.

    False for what is no frame at all, which somebody else's camera may give, and for one whose
    attributes raise.
    """
    try:
        pixels, time = getattr(frame, "pixels", None), getattr(frame, "time", None)
    except Exception:  # of a property
        return False
    return (
        isinstance(time, numbers.Real)
        and isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 3
        and pixels.shape[2] == 3
        and pixels.size > 0
    )
