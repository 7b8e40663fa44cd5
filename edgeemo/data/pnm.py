"""PGM and PPM pictures, read without a decoder of others: plain ones, and any largest value.

Pillow reads plain ones, and those of another largest value than 255, number by number in Python;
OpenCV leaves the values of binary ones as they are, so that a 10-bit picture comes out black.
Format: https://netpbm.sourceforge.net/doc/pgm.html and ppm.html.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 4_096
# Blanks and comments, then a number; three times behind the magic.
_HEADER = re.compile(rb"P([2356])" + 3 * rb"(?:\s|#[^\r\n]*[\r\n])+([0-9]{1,9})")
_COMMENT = re.compile(rb"#[^\r\n]*")
_OF_TEXT = bytes(range(ord("0"), ord("9") + 1)) + b" \t\r\n\v\f"


@dataclass(frozen=True)
class _Start:
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    largest: int
    """The value of white, 1 to 65535."""
    channels: int
    """1 or 3."""
    plain: bool
    """Whether the values are written as text."""
    end: int
    """Bytes of the header."""


def pnm_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that a PGM or PPM file declares; None where it is none."""
    start = _start(data)
    return None if start is None else (start.width, start.height)


def decode_pnm(data: bytes) -> NDArray[np.uint8] | None:
    """A PGM or PPM file as uint8 (H, W, 3) RGB; None where it is damaged or truncated."""
    start = _start(data)
    if start is None:
        return None
    count = start.width * start.height * start.channels
    values = _from_text(data[start.end :], count) if start.plain else _from_bytes(data, start)
    if values is None or len(values) < count:
        return None
    if start.largest == 65_535:
        eight = (values[:count] >> 8).astype(np.uint8)
    elif start.largest == 255:
        eight = np.minimum(values[:count], 255).astype(np.uint8)
    else:
        eight = (np.minimum(values[:count], start.largest) * 255 // start.largest).astype(np.uint8)
    picture = eight.reshape(start.height, start.width, start.channels)
    return np.repeat(picture, 3, axis=2) if start.channels == 1 else picture


def _start(data: bytes) -> _Start | None:
    found = _HEADER.match(data[:_HEADER_BYTES])
    if found is None:
        return None
    kind, width, height, largest = (int(word) for word in found.groups())
    if not 0 < largest <= 65_535 or not (width and height):
        return None
    channels = 3 if kind in (3, 6) else 1
    return _Start(width, height, largest, channels, kind in (2, 3), found.end())


def _from_bytes(data: bytes, start: _Start) -> NDArray[np.uint32]:
    # One blank stands between the header and the values.
    size = start.width * start.height * start.channels
    wide = np.dtype(">u2") if start.largest > 255 else np.dtype(np.uint8)
    there = min(size, max(0, len(data) - start.end - 1) // wide.itemsize)
    return np.frombuffer(data, wide, there, start.end + 1).astype(np.uint32)


def _from_text(text: bytes, count: int) -> NDArray[np.uint32] | None:
    text = _COMMENT.sub(b"", text) if b"#" in text else text
    if text.translate(None, _OF_TEXT):
        return None
    # As floats, since a number of any length is one.
    numbers = np.fromstring(text, np.float64, count=-1, sep=" ")[:count]
    return np.minimum(numbers, 65_535).astype(np.uint32)
