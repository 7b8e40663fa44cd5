"""Pictures decoded and encoded by OpenCV."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.with_pillow import stretched, to_8_bits
from edgeemo.optional import is_installed, need

KINDS = frozenset({"PNG", "JPEG", "BMP", "WebP", "TIFF"})
"""What it decodes here. Of AVIF it leaves out the rotation."""


def has_opencv() -> bool:
    """Whether OpenCV is installed."""
    return is_installed("cv2")


def decode(data: bytes, shrunk: int) -> NDArray[np.uint8] | None:
    """A picture file's bytes as uint8 (H, W, 3) RGB, upright; None where they are damaged.

    `shrunk`: by how much a JPEG's sides are divided: 1, 2, 4 or 8.
    """
    cv2 = _cv2()
    flags = (
        getattr(cv2, f"IMREAD_REDUCED_COLOR_{shrunk}")
        if shrunk > 1
        else (cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    )
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if bgr is None:
        return None
    return np.asarray(cv2.cvtColor(_to_8_bit(bgr), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def encode(rgb: NDArray[np.uint8], suffix: str) -> bytes | None:
    """uint8 (H, W, 3) RGB as the file that an ending names; None where it cannot hold it."""
    cv2 = _cv2()
    try:
        done, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    except cv2.error:
        return None
    return bytes(encoded.tobytes()) if done else None


def _cv2() -> Any:
    # imread's own limits raise as C++ errors; ours come first, so its limit only has to be no
    # lower.
    return need("cv2", "opencv", "to read pictures", called="OpenCV")


def _to_8_bit(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        grey = picture[..., :1]
        if (picture == grey).all():  # Pillow keeps no more of colours than their upper bytes
            return np.repeat(to_8_bits(grey), 3, axis=2)
        return (picture >> 8).astype(np.uint8)
    return stretched(picture)
