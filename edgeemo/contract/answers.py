"""Which pictures a report speaks of and what a model answered to each, as text: nothing of a
picture can be seen in it.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import BundleError

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
"""A label's number as one character; as many as a bundle may have labels."""

# Hex digits of a picture's sha256: among 10,000 pictures two agree by chance once in five million
# times
ID_DIGITS = 12


def picture_ids(images: NDArray[np.uint8]) -> list[str]:
    """The first `ID_DIGITS` hex digits of the sha256 of each of uint8 (N, 48, 48, 1) pictures'
    pixels.
    """
    return [
        hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:ID_DIGITS]
        for image in images
    ]


def encode_labels(labels: Iterable[int]) -> str:
    """Label numbers 0 to 63 as a character of `DIGITS` each."""
    return "".join(DIGITS[int(label)] for label in labels)


def decode_labels(text: object, count: int, label_count: int, where: str) -> NDArray[np.int64]:
    """int64 (count,) label numbers below `label_count` of `encode_labels`' text.

    Raises:
        BundleError: anything else; the message names `where`.
    """
    digits = DIGITS[:label_count]
    if not isinstance(text, str) or len(text) != count or not set(text) <= set(digits):
        raise BundleError(
            f"{where}: expected {count:,} characters of {digits}; build or copy the bundle again"
        )
    return np.array([digits.index(digit) for digit in text], np.int64)


def decode_ids(text: object, count: int, where: str) -> list[str]:
    """The `count` ids of one text of them all; raises BundleError, naming `where`, for anything
    else.
    """
    if (
        not isinstance(text, str)
        or len(text) != count * ID_DIGITS
        or not set(text) <= set("0123456789abcdef")
    ):
        raise BundleError(
            f"{where}: expected {count:,} ids of {ID_DIGITS} hex digits; build or copy the bundle"
            " again"
        )
    return [text[i : i + ID_DIGITS] for i in range(0, len(text), ID_DIGITS)]
