"""Draws predictions into a picture, for people to look at."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.optional import need
from edgeemo.results import Box, Face, Reading

_INK, _PAPER = (16, 24, 32), (255, 214, 10)  # RGB; dark on yellow is readable on any face


def annotate(frame_rgb: NDArray[np.uint8], faces: Sequence[Face | Reading]) -> NDArray[np.uint8]:
    """A copy of uint8 (H, W, 3) RGB with each face's box and, beside it, emotion and confidence.

    A reading without a face is left out. OpenCV draws ASCII alone: see `drawable`.

    Raises:
        MissingDependency: OpenCV is not installed.
    """
    cv2 = need("cv2", "opencv", "to draw")
    picture = frame_rgb.copy()
    size = max(0.4, min(picture.shape[:2]) / 700)
    for face in faces:
        if face.box is not None:
            emotion = drawable(face.emotion, list(face.scores)) if face.emotion else "unsure"
            _draw(cv2, picture, face.box, f"{emotion} {face.confidence:.0%}", size)
    return picture


def drawable(label: str, labels: Sequence[str]) -> str:
    """`label`, one of `labels`, in the ASCII that OpenCV's fonts have.

    Accents fall away ("ärger" is "arger"). Where other letters are left, or two labels would look
    the same, it is the label's number in the bundle, from 0: "label 3".
    """
    plain = _without_accents(label)
    alike = [other for other in labels if _without_accents(other) == plain]
    if plain.isascii() and len(alike) == 1:
        return plain
    return f"label {list(labels).index(label)}"


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _draw(cv2: Any, picture: NDArray[np.uint8], box: Box, text: str, size: float) -> None:
    """Draw a box and its text into the picture; `size` is the font's scale."""
    x, y, w, h = box.as_tuple()
    width = picture.shape[1]
    stroke = max(2, round(2 * size))
    font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, stroke // 2)
    cv2.rectangle(picture, (x, y), (x + w, y + h), _PAPER, stroke)
    (text_width, text_height), below = cv2.getTextSize(text, font, size, weight)
    # Above the box where there is room, else just inside it; never beyond the right or left edge.
    left = min(max(x, 0), max(0, width - text_width - 8))
    top = y - text_height - below - 6
    top = top if top >= 0 else max(0, y)
    corner = (left + text_width + 8, top + text_height + below + 6)
    cv2.rectangle(picture, (left, top), corner, _PAPER, -1)
    origin = (left + 4, top + text_height + 3)
    cv2.putText(picture, text, origin, font, size, _INK, weight, cv2.LINE_AA)
