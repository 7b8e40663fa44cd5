"""Draws predictions into a picture, for people to look at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeemo.optional import need
from edgeemo.results import Face, Reading

_INK, _PAPER = (16, 24, 32), (255, 214, 10)  # RGB; dark on yellow is readable on any face


def annotate(frame_rgb: NDArray[np.uint8], faces: Sequence[Face | Reading]) -> NDArray[np.uint8]:
    """A copy of uint8 (H, W, 3) RGB with each face's box and, beside it, emotion and confidence.

    A reading without a face is left out.
    """
    cv2 = need("cv2", "opencv", "to draw")
    picture = frame_rgb.copy()
    height, width = picture.shape[:2]
    size = max(0.4, min(height, width) / 700)
    stroke = max(2, round(2 * size))
    for face in faces:
        if face.box is None:
            continue
        x, y, w, h = face.box.as_tuple()
        cv2.rectangle(picture, (x, y), (x + w, y + h), _PAPER, stroke)
        text = f"{face.emotion or 'unsure'} {face.confidence:.0%}"
        (text_width, text_height), below = cv2.getTextSize(
            text, cv2.FONT_HERSHEY_SIMPLEX, size, max(1, stroke // 2)
        )
        # Above the box where there is room, else just inside it; never beyond the right or left edge.
        left = min(max(x, 0), max(0, width - text_width - 8))
        top = y - text_height - below - 6
        top = top if top >= 0 else max(0, y)
        cv2.rectangle(
            picture, (left, top), (left + text_width + 8, top + text_height + below + 6), _PAPER, -1
        )
        cv2.putText(
            picture,
            text,
            (left + 4, top + text_height + 3),
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            _INK,
            max(1, stroke // 2),
            cv2.LINE_AA,
        )
    return picture
