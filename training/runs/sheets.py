"""Contact sheets: many small pictures, with or without a caption below each, as one picture."""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_GAP, _CAPTION = 4, 15  # pixels between two pictures, and of a caption's line
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.38


def contact_sheet(
    images: Pixels, columns: int, captions: Sequence[str] | None = None, scale: int = 1
) -> Pixels:
    """uint8 (H, W) or (H, W, 3): pictures uint8 (n, h, w, C) or (n, h, w), row by row, on white.

    One caption a picture, in ASCII.
    """
    order = np.arange(len(images))
    return group_sheet(
        images,
        [order[i : i + columns] for i in range(0, len(order), columns)],
        captions,
        columns,
        scale,
    )


def group_sheet(
    images: Pixels,
    groups: Iterable[Sequence[int] | NDArray[np.int64]],
    captions: Sequence[str] | NDArray[np.str_] | None = None,
    columns: int = 12,
    scale: int = 2,
) -> Pixels:
    """uint8 (H, W) or (H, W, 3) RGB: a row for each group, with its first `columns` members.

    `groups` are positions into `images` uint8 (n, h, w, C) or (n, h, w) and into `captions`.
    """
    rows = [list(members)[:columns] for members in groups]
    down, across = images.shape[1] * scale, images.shape[2] * scale
    height, width = down + (_CAPTION if captions is not None else 0) + _GAP, across + _GAP
    colour = images.shape[3:] if images.shape[3:] == (3,) else ()
    size = max(len(rows), 1) * height, max(map(len, rows), default=1) * width
    sheet = np.full((*size, *colour), 255, np.uint8)
    for y, members in enumerate(rows):
        for x, i in enumerate(members):
            top, left = y * height, x * width
            picture = np.asarray(images[i]).reshape(*images.shape[1:3], *colour)
            larger = picture.repeat(scale, axis=0).repeat(scale, axis=1)
            sheet[top : top + down, left : left + across] = larger
            if captions is not None:
                strip = sheet[top + down : top + down + _CAPTION, left : left + across]
                _write(strip, str(captions[i]))
    return sheet


def png(sheet: Pixels) -> bytes:
    """The bytes of a PNG file of uint8 (H, W) grey or (H, W, 3) RGB."""
    stored = sheet[..., ::-1] if sheet.ndim == 3 else sheet  # OpenCV takes blue first
    return bytes(cv2.imencode(".png", stored)[1].tobytes())


def _write(strip: Pixels, text: str) -> None:
    """Draw `text` into a white strip, smaller where it is too long."""
    width = cv2.getTextSize(text, _FONT, _SIZE, 1)[0][0]
    size = _SIZE * min(1.0, strip.shape[1] / max(width, 1))
    # OpenCV draws into contiguous memory only.
    line = np.ascontiguousarray(strip)
    cv2.putText(line, text, (0, 11), _FONT, size, (0, 0, 0), 1, cv2.LINE_AA)
    strip[:] = line
