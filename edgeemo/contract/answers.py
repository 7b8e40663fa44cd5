"""Which pictures a report speaks of and what a model answered to each, as text: nothing of a picture can be seen in it."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.errors import BundleError

ID_DIGITS = 12  # hex digits of a picture's sha256: among 10,000 pictures two agree by chance once in five million times


def picture_ids(images: NDArray[np.uint8]) -> list[str]:
    """The first `ID_DIGITS` hex digits of the sha256 of each of uint8 (N, 48, 48, 1) pictures' pixels."""
    return [
        hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:ID_DIGITS]
        for image in images
    ]


def encode_labels(labels: Iterable[int]) -> str:
    """Label numbers as a digit each."""
    return "".join(str(int(label)) for label in labels)


def decode_labels(text: object, count: int, where: str) -> NDArray[np.int64]:
    """int64 (count,) label numbers of `encode_labels`' text; raises BundleError, naming `where`, for anything else."""
    digits = "0123456789"[: len(LABELS)]
    if not isinstance(text, str) or len(text) != count or not set(text) <= set(digits):
        raise BundleError(
            f"{where}: expected {count:,} digits of 0 to {len(LABELS) - 1}; build or copy the bundle again"
        )
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64) - ord("0")


def decode_ids(text: object, count: int, where: str) -> list[str]:
    """The `count` ids of one text of them all; raises BundleError, naming `where`, for anything else."""
    if (
        not isinstance(text, str)
        or len(text) != count * ID_DIGITS
        or not set(text) <= set("0123456789abcdef")
    ):
        raise BundleError(
            f"{where}: expected {count:,} ids of {ID_DIGITS} hex digits; build or copy the bundle again"
        )
    return [text[i : i + ID_DIGITS] for i in range(0, len(text), ID_DIGITS)]
