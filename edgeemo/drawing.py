"""Draws predictions into a picture, for people to look at.

The font is `aileron.ttf`: Aileron Regular 1.102 by Sora Sagano (http://www.dotcolon.net, CC0 1.0),
cut down by fontTools to DRAWN. Pillow's own is the same one without any accented letter.
"""

import functools
import io
import math
import unicodedata
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.languages import label_name, phrase
from edgeemo.errors import InvalidInput, MissingDependency
from edgeemo.label_layout import Label, placed, text_size
from edgeemo.optional import install_line, need
from edgeemo.results import Box, Face, Reading

_INK, _PAPER = (16, 24, 32), (255, 214, 10)  # RGB; dark on yellow is readable on any face
_MARGIN = 0.2  # of a text's size, around it
_STROKE = 9  # a text's size in strokes of its face's box
_MARKS = (0xA1, 0xA9, 0xAB, 0xB0, 0xB1, 0xB7, 0xBB, 0xBF, *range(0x2018, 0x201A), 0x201C, 0x201D)
_OTHERS = (*_MARKS, 0x152, 0x153, 0x178, 0x2013, 0x2014, 0x2026)
DRAWN = frozenset(map(chr, (*range(0x20, 0x7F), *range(0xC0, 0x100), *_OTHERS)))
"""Characters that the font has: those of ASCII and western Europe's letters and marks."""


def annotate(
    frame_rgb: NDArray[np.uint8], faces: Sequence[Face | Reading], language: str = "en"
) -> NDArray[np.uint8]:
    """A copy of uint8 (H, W, 3) RGB with each face's box and, beside it, emotion and confidence.

    The text follows the face's size; no label covers another or another's face, so that a face in
    a dense crowd may have a box alone. A reading without a face is left out. Of labels in letters
    that the font lacks see `drawable`.

    Args:
        language: one of edgeemo.contract.languages.LANGUAGES, in which the usual labels are named.

    Raises:
        InvalidInput: no such frame, what is no face and no reading, or another language.
        MissingDependency: Pillow is not installed, is older than 10.1, or was built without
            FreeType.
    """
    _check(frame_rgb, faces)
    image = need("PIL.Image", "pictures", "to draw", called="Pillow")
    drawing = need("PIL.ImageDraw", "pictures", "to draw", called="Pillow")
    picture = image.fromarray(frame_rgb)
    canvas = drawing.Draw(picture)
    seen = [face for face in faces if face.box is not None]
    boxes = [face.box for face in seen if face.box is not None]
    sizes = [text_size(box, picture.size) for box in boxes]
    texts = [_texts(face, language) for face in seen]
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
    given = faces if isinstance(faces, Sequence) else ()
    strange = [type(one).__name__ for one in given if not isinstance(one, Face | Reading)]
    strange += [] if isinstance(faces, Sequence) else [type(faces).__name__]
    if strange:
        raise InvalidInput(
            "expected a list of faces, as Recognizer.predict gives, or of a sensor's readings; "
            f"received {strange[0]}"
        )


def drawable(label: str, labels: Sequence[str]) -> str:
    """`label`, one of `labels`, in characters that the font has.

    Accents that it lacks fall away ("žal" is "zal"). Where other letters are left, or two labels
    would look the same, it is the label's number in the bundle, from 0: "label 3".
    """
    plain = drawable_text(label)
    alike = [other for other in labels if drawable_text(other) == plain]
    if DRAWN.issuperset(plain) and len(alike) == 1:
        return plain
    return f"label {list(labels).index(label)}"


def drawable_text(text: str) -> str:
    """`text` without the accents that the font lacks."""
    composed = unicodedata.normalize("NFKC", text)
    return "".join(one if one in DRAWN else _without_accents(one) for one in composed)


@functools.lru_cache(maxsize=64)
def font(size: int) -> Any:
    """Pillow's object of the font in a size in pixels.

    Raises:
        MissingDependency: Pillow is not installed, or was built without FreeType.
    """
    fonts = need("PIL.ImageFont", "pictures", "to draw", called="Pillow")
    data = resources.files("edgeemo").joinpath("aileron.ttf").read_bytes()
    try:
        return fonts.truetype(io.BytesIO(data), size)
    except ImportError:
        raise MissingDependency(
            f"Pillow built with FreeType is needed to draw; run: {install_line('pictures')}"
        ) from None


def _texts(face: Face | Reading, language: str) -> tuple[str, str]:
    emotion = _named(face.emotion, list(face.scores), language)
    return f"{emotion} {face.confidence:.0%}", emotion


def _named(emotion: str | None, labels: Sequence[str], language: str) -> str:
    if emotion is None:
        return phrase("unsure", language)
    names = [label_name(label, language, labels) for label in labels]
    return drawable(names[labels.index(emotion)], names)


def _without_accents(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _margin(size: int) -> int:
    return max(1, round(_MARGIN * size))


@functools.lru_cache(maxsize=1024)
def _measure(text: str, size: int) -> tuple[int, int]:
    letters, margin = font(size), _margin(size)
    above, below = letters.getmetrics()
    return math.ceil(letters.getlength(text)) + 2 * margin, above + below + margin


def _outline(canvas: Any, box: Box, stroke: int) -> None:
    x, y, width, height = box.as_tuple()
    canvas.rectangle((x, y, x + width - 1, y + height - 1), outline=_PAPER, width=stroke)


def _write(canvas: Any, label: Label) -> None:
    x, y, width, height = label.box.as_tuple()
    margin = _margin(label.size)
    canvas.rectangle((x, y, x + width - 1, y + height - 1), fill=_PAPER)
    canvas.text((x + margin, y + margin // 2), label.text, fill=_INK, font=font(label.size))
