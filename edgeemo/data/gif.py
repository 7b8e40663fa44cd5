"""The first picture of a GIF file, without what else the file holds.

Pillow steps through extensions and comments one by one, of which 64 MB hold millions.
Format: https://www.w3.org/Graphics/GIF/spec-gif89a.txt.
"""

import struct

_MAX_BLOCKS = 10_000  # before the first picture: programs write a comment and a profile
_PICTURE, _EXTENSION, _TRAILER = 0x2C, 0x21, b"\x3b"


def gif_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the screen that a GIF declares. Raises struct.error."""
    width, height = struct.unpack("<HH", data[6:10])
    return width, height


def first_picture(data: bytes) -> bytes | None:
    """A GIF of the first picture alone; None where it is truncated, or reaches beyond the screen.

    Raises:
        ValueError: too many blocks before it.
    """
    try:
        at = 13 + _table_bytes(data[10])
        head = data[:at]
        for _ in range(_MAX_BLOCKS):
            if data[at] == _PICTURE:
                return _with_picture(data, head, at)
            if data[at] != _EXTENSION:
                return None
            at = _end_of_blocks(data, at + 2)
    except (IndexError, struct.error):
        return None
    raise ValueError(f"a GIF with more than {_MAX_BLOCKS:,} blocks before its picture")


def _with_picture(data: bytes, head: bytes, at: int) -> bytes | None:
    left, top, width, height, packed = struct.unpack("<HHHHB", data[at + 1 : at + 10])
    across, down = gif_size(head)
    if left + width > across or top + height > down:
        return None
    # Behind the descriptor, its colours and the size of the first code.
    end = _end_of_blocks(data, at + 10 + _table_bytes(packed) + 1)
    return head + data[at:end] + _TRAILER


def _table_bytes(packed: int) -> int:
    return 3 * 2 ** (1 + (packed & 7)) if packed & 0x80 else 0


def _end_of_blocks(data: bytes, at: int) -> int:
    """Behind a row of blocks, each with its length before it, whose last is empty.

    Raises IndexError where that is missing.
    """
    while data[at]:
        at += 1 + data[at]
    return at + 1
