"""How much a zip archive's directory makes a program build, looked at before it is opened.

`zipfile` builds an object for every entry before it says how many there are, and reads a directory
of the size that the archive claims.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from edgeemo.contract.checked.reading import open_regular

MAX_DIRECTORY_BYTES = 256 * 1024 * 1024
_PIECE = 1024 * 1024  # bytes; longer than an entry of the longest name, extra field and comment
_ENTRY = b"PK\x01\x02"
_END, _END_BYTES, _LONGEST_COMMENT = b"PK\x05\x06", 22, 65_535
_ZIP64_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_ZIP64_END, _ZIP64_END_BYTES = b"PK\x06\x06", 56


def check_directory(path: str | os.PathLike[str], most: int) -> None:
    """Check an archive's directory without parsing it.

    Raises:
        OSError: `path` cannot be read.
        ValueError: more than `most` entries, or a directory of more than MAX_DIRECTORY_BYTES.
    """
    with open_regular(Path(path)) as file:
        size = file.seek(0, os.SEEK_END)
        claimed = _claimed_bytes(file, size)
        if claimed > MAX_DIRECTORY_BYTES:
            raise ValueError(
                f"a directory of {claimed:,} bytes, expected at most {MAX_DIRECTORY_BYTES:,}"
            )
        if _counted_entries(file, size, most) > most:
            raise ValueError(f"more than {most:,} entries")


def _counted_entries(file: BinaryIO, size: int, most: int) -> int:
    """Signatures of entries, counted from the end on, since the directory lies there and its own
    count may lie; they end where a piece has none.
    """
    count, end = 0, size
    while end > 0 and count <= most:
        start = max(0, end - _PIECE)
        file.seek(start)
        # A signature may lie across two pieces.
        found = file.read(end - start + len(_ENTRY) - 1).count(_ENTRY)
        if not found:
            break
        count, end = count + found, start
    return count


def _claimed_bytes(file: BinaryIO, size: int) -> int:
    """The size of the directory as the archive's end says, 0 where it has no end."""
    before = _LOCATOR_BYTES + _ZIP64_END_BYTES
    start = max(0, size - before - _END_BYTES - _LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(size - start)
    at = len(tail) - _END_BYTES
    if not (tail[at : at + 4] == _END and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    if at < 0 or at + _END_BYTES > len(tail):
        return 0
    (claimed,) = struct.unpack("<I", tail[at + 12 : at + 16])
    end64 = at - before
    located = tail[at - _LOCATOR_BYTES :][:4] == _ZIP64_LOCATOR
    if end64 >= 0 and located and tail[end64 : end64 + 4] == _ZIP64_END:
        (claimed,) = struct.unpack("<Q", tail[end64 + 40 : end64 + 48])
    return min(int(claimed), size)  # a larger one is refused as damaged
