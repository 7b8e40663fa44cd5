"""Draws predictions into a picture, for people to look at."""

import functools
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import InvalidInput, MissingDependency
from edgeemo.label_layout import Label, placed, text_size
from edgeemo.optional import install_line, need
from edgeemo.results import Box, Face, Reading

_INK, _PAPER = (16, 24, 32), (255, 214, 10)  # RGB; dark on yellow is readable on any face
_MARGIN = 0.2  # of a text's size, around it
_STROKE = 9  # a text's size in strokes of its face's box


def annotate(frame_rgb: NDArray[np.uint8], faces: Sequence[Face | Reading]) -> NDArray[np.uint8]:
    """A copy of uint8 (H, W, 3) RGB with each face's box and, beside it, emotion and confidence.

    The text follows the face's size; no label covers another or another's face, so that a face in
    a dense crowd may have a box alone. A reading without a face is left out. Labels are drawn in
    ASCII: see `drawable`.

    Raises:
        InvalidInput: no such frame, or what is no face and no reading.
        MissingDependency: Pillow is not installed, or older than 10.1.
    """
    _check(frame_rgb, faces)
    image = need("PIL.Image", "pictures", "to draw", called="Pillow")
    drawing = need("PIL.ImageDraw", "pictures", "to draw", called="Pillow")
    picture = image.fromarray(frame_rgb)
    canvas = drawing.Draw(picture)
    seen = [face for face in faces if face.box is not None]
    boxes = [face.box for face in seen if face.box is not None]
    sizes = [text_size(box, picture.size) for box in boxes]
    texts = [_texts(face) for face in seen]
    labels = placed(boxes, texts, _measure, picture.size, gap=0)
    for box, size in zip(boxes, sizes, strict=True):
        _outline(canvas, box, max(2, round(size / _STROKE)))
    for label in labels:
        if label is not None:
            _write(canvas, label)
    return np.array(picture, np.uint8)


def _check(frame_rgb: object, faces: object) -> None:
    shape, dtype = getattr(frame_rgb, "shape", None), getattr(frame_rgb, "dtype", None)
    if dtype != np.uint8 or shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        what = type(frame_rgb).__name__ if shape is None else f"{dtype} {shape}"
        raise InvalidInput(f"expected a frame of uint8, (H, W, 3) RGB; received {what}")
    given = faces if isinstance(faces, Sequence) else (faces,)
    strange = [type(one).__name__ for one in given if not isinstance(one, Face | Reading)]
    if strange:
        raise InvalidInput(
            "expected a list of faces, as Recognizer.predict gives, or of a sensor's readings; "
            f"received {strange[0]}"
        )


def drawable(label: str, labels: Sequence[str]) -> str:
    """`label`, one of `labels`, in ASCII, which any font has.

    Accents fall away ("ärger" is "arger"). Where other letters are left, or two labels would look
    the same, it is the label's number in the bundle, from 0: "label 3".
    """
    plain = _without_accents(label)
    alike = [other for other in labels if _without_accents(other) == plain]
    if plain.isascii() and len(alike) == 1:
        return plain
    return f"label {list(labels).index(label)}"


def _texts(face: Face | Reading) -> tuple[str, str]:
    emotion = drawable(face.emotion, list(face.scores)) if face.emotion else "unsure"
    return f"{emotion} {face.confidence:.0%}", emotion


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


@functools.lru_cache(maxsize=64)
def _font(size: int) -> Any:
    """The font that is part of Pillow."""
    fonts = need("PIL.ImageFont", "pictures", "to draw", called="Pillow")
    try:
        return fonts.load_default(size)
    except (TypeError, ImportError):  # before 10.1, or built without FreeType
        raise MissingDependency(
            "Pillow 10.1 or newer, built with FreeType, is needed to draw; run:"
            f" {install_line('pictures')}"
        ) from None


def _margin(size: int) -> int:
    return max(1, round(_MARGIN * size))


@functools.lru_cache(maxsize=1024)
def _measure(text: str, size: int) -> tuple[int, int]:
    font, margin = _font(size), _margin(size)
    above, below = font.getmetrics()
    return math.ceil(font.getlength(text)) + 2 * margin, above + below + margin


def _outline(canvas: Any, box: Box, stroke: int) -> None:
    x, y, width, height = box.as_tuple()
    canvas.rectangle((x, y, x + width - 1, y + height - 1), outline=_PAPER, width=stroke)


def _write(canvas: Any, label: Label) -> None:
    x, y, width, height = label.box.as_tuple()
    margin = _margin(label.size)
    canvas.rectangle((x, y, x + width - 1, y + height - 1), fill=_PAPER)
    canvas.text((x + margin, y + margin // 2), label.text, fill=_INK, font=_font(label.size))
