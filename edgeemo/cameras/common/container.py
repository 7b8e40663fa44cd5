"""What a video file's container says of its length: whether it is cut, what an edit list shows.

ISO 14496-12 (MP4, QuickTime), RFC 8794 and 9559 (EBML, Matroska), RIFF (AVI). Of boxes and chunks
only heads are read.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MOST = 10_000  # boxes that are looked at in one place; a fragmented hour has a few thousand
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"


@dataclass(frozen=True)
class Container:
    """What is known of a file before a frame is decoded."""

    missing: int = 0
    """Bytes that its parts claim behind the end of the file."""
    counts: bool = False
    """Whether it counts its frames, so that the number is no estimate from its duration."""
    shown: float = 1.0
    """Share of the counted frames that an edit list shows: a video that was trimmed without coding
    it anew has frames that nobody sees."""


@dataclass(frozen=True)
class _Box:
    kind: bytes
    """Its four letters."""
    begin: int
    """Where its content begins, in bytes from the beginning of the file."""
    end: int
    """Where it claims to end."""


def container_of(path: str | os.PathLike[str]) -> Container:
    """What the container at `path` says; nothing, where it is of another kind or damaged."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(12)
            if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
                return _mp4(file, size)
            if head[:4] == b"RIFF":
                claimed = 8 + int.from_bytes(head[4:8], "little")
                return Container(max(0, claimed - size), counts=True)
            if head[:4] == _EBML:
                return Container(max(0, _matroska_end(file) - size))
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        pass
    return Container()


def _mp4(file: BinaryIO, size: int) -> Container:
    boxes = list(_boxes(file, 0, size))
    missing = max((box.end for box in boxes), default=size) - size
    movie = next((box for box in boxes if box.kind == b"moov"), None)
    shown = _shown(file, movie) if movie and movie.end <= size else 1.0
    return Container(max(0, missing), counts=True, shown=shown)


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[_Box]:
    for _ in range(_MOST):
        if at + 8 > end:
            return
        file.seek(at)
        head = file.read(16)
        length, begin = int.from_bytes(head[:4], "big"), at + 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16], "big"), at + 16
        length = length or end - at  # 0: up to the end
        if length < begin - at or not head[4:8].strip(b" ").isalnum():
            return  # damaged from here on
        yield _Box(head[4:8], begin, at + length)
        at += length


def _inside(file: BinaryIO, box: _Box | None, *kinds: bytes) -> _Box | None:
    """The first box down a path of kinds."""
    for kind in kinds:
        if box is None:
            return None
        inner = _boxes(file, box.begin, box.end)
        box = next((one for one in inner if one.kind == kind), None)
    return box


def _shown(file: BinaryIO, movie: _Box) -> float:
    for track in _boxes(file, movie.begin, movie.end):
        handler = _inside(file, track, b"mdia", b"hdlr")
        if track.kind != b"trak" or _content(file, handler)[8:12] != b"vide":
            continue
        edits = _content(file, _inside(file, track, b"edts", b"elst"))
        media = _duration(_content(file, _inside(file, track, b"mdia", b"mdhd")))
        scale = _timescale(_content(file, _inside(file, movie, b"mvhd")))
        shown = _edited(edits) / scale
        return min(1.0, shown / media) if shown > 0 else 1.0
    return 1.0


def _content(file: BinaryIO, box: _Box | None) -> bytes:
    if box is None:
        return b""
    file.seek(box.begin)
    return file.read(min(box.end - box.begin, 65_536))


def _timescale(header: bytes) -> int:
    """Units a second, of the content of mvhd or mdhd."""
    at = 20 if header[0] else 12
    return int.from_bytes(header[at : at + 4], "big")


def _duration(header: bytes) -> float:
    """Seconds, of the content of mvhd or mdhd."""
    units = header[24:32] if header[0] else header[16:20]
    return int.from_bytes(units, "big") / _timescale(header)


def _edited(edits: bytes) -> int:
    """Sum of the durations of an elst's entries, empty ones aside, in units of the movie."""
    if not edits:
        return 0
    wide = 8 if edits[0] else 4
    entries = (edits[at : at + 2 * wide] for at in range(8, len(edits), 2 * wide + 4))
    return sum(
        int.from_bytes(entry[:wide], "big")
        for entry in entries
        if int.from_bytes(entry[wide:], "big", signed=True) >= 0
    )


def _matroska_end(file: BinaryIO) -> int:
    """Where the segment claims to end; 0 where it does not say, as in a live recording."""
    file.seek(4)
    length, width = _variable(file.read(8))
    at = 4 + width + length
    file.seek(at)
    if file.read(4) != _SEGMENT:
        return 0
    length, width = _variable(file.read(8))
    unknown = (1 << 7 * width) - 1
    return 0 if length == unknown else at + 4 + width + length


def _variable(head: bytes) -> tuple[int, int]:
    """An EBML number of variable width, and that width in bytes. Raises ValueError."""
    width = 9 - head[0].bit_length()
    if width > 8:
        raise ValueError("no number of EBML")
    return int.from_bytes(head[:width], "big") & ((1 << 7 * width) - 1), width
