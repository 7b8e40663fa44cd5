"""What picture files say of themselves before anything is decoded: size, frame, whether they end.

The decoders of others take a file's word; what could make them work for seconds or print a
stranger's bytes is refused or left out here.
"""

import re
import struct
import zlib
from dataclasses import dataclass

# Honest files have some tens: a profile or thumbnail of 64 MB takes a thousand segments of a JPEG,
# and 64 MB of a PNG take 8,000 chunks in the size that libpng writes. Each is a step in Python.
MAX_SEGMENTS = 10_000
MAX_CHUNKS = 65_536
_MAX_TAGS = 4_096
_FILL = re.compile(b"\xff+")
# What can follow in a frame: neither a stuffed zero nor a restart inside a scan, nor fill bytes.
_MARKER = re.compile(b"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA
# Segments of a length of their own: tables, restart intervals, applications' and comments. At any
# other marker libjpeg ends or goes on behind it.
_SEGMENTS = frozenset((0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0), _SCAN))
# libpng prints bytes of other chunks, such as a colour profile's name, to the terminal as they are.
_CHUNKS_TO_DECODE = frozenset({b"tRNS", b"eXIf"})


@dataclass(frozen=True)
class Header:
    """What a picture file declares."""

    size: tuple[int, int]
    """Width and height in pixels."""
    frame: int | None = None
    """Where the frame header (SOF) of a JPEG starts, in bytes; None for other formats."""
    scans: int = 0
    """Of a JPEG's picture. Phones write more pictures behind it (a preview, a map of brightness),
    which nobody decodes here."""
    ends: bool = False
    """Whether that picture of a JPEG has an end."""


def read_header(data: bytes) -> Header | None:
    """What a file declares, without decoding, so that a bomb is refused first; None for no known
    picture.

    Raises:
        ValueError: a header that decoders could read in another way, or without end.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg_header(data)
        size = _declared_size(data)
    except (struct.error, IndexError):
        return None
    return None if size is None else Header(size)


def decodable(data: bytes, header: Header) -> bytes | None:
    """What of the file is to be decoded; None where the end of a JPEG or PNG is missing (OpenCV
    fills it with grey and says nothing) or a PNG is damaged.

    Of a PNG it is the chunks that make the picture, its transparency and its rotation.

    Raises:
        ValueError: a PNG of too many chunks.
    """
    if header.frame is not None:
        return data if header.ends else None
    return _png_picture(data) if data[:4] == b"\x89PNG" else data


def _declared_size(data: bytes) -> tuple[int, int] | None:
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        width, height = struct.unpack(">II", data[16:24])
    elif data[:2] == b"BM":
        width, height = struct.unpack("<ii", data[18:26])
        height = abs(height)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        return _tiff_size(data)
    elif data[:2] in (b"P2", b"P3", b"P5", b"P6"):
        words = b" ".join(line.split(b"#")[0] for line in data[2:1024].splitlines()).split()
        if not (words[0].isdigit() and words[1].isdigit() and len(words[0] + words[1]) < 20):
            return None
        width, height = int(words[0]), int(words[1])
    else:
        return None
    return width, height


def _jpeg_header(data: bytes) -> Header | None:
    """Thumbnails lie in the segments before the frame header."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        fill = _FILL.match(data, at)
        if fill is None or fill.end() + 8 > len(data):
            return None
        at = fill.end()
        marker = data[at]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 4 : at + 8])
            return Header((width, height), at - 1, *_scans(data, at - 1))
        if marker in (_END, _SCAN):  # the end or a scan, of which there is none without a frame
            return None
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        at += 1 if alone else 1 + struct.unpack(">H", data[at + 1 : at + 3])[0]
    raise ValueError(f"a JPEG with more than {MAX_SEGMENTS:,} segments before its frame")


def _scans(data: bytes, frame: int) -> tuple[int, bool]:
    """How many scans a JPEG's picture has, and whether it has an end; its frame header starts at
    `frame`.
    """
    scans, at = 0, frame + 2 + struct.unpack(">H", data[frame + 2 : frame + 4])[0]
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            return scans, False
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            return scans, True
        scans += marker == _SCAN
        if marker in _SEGMENTS and at + 2 <= len(data):
            at += struct.unpack(">H", data[at : at + 2])[0]
    raise ValueError(f"a JPEG with more than {MAX_SEGMENTS:,} segments behind its frame")


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """The size in the first directory, the one that is decoded."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    if count > _MAX_TAGS:
        raise ValueError(f"a TIFF with {count:,} tags, expected at most {_MAX_TAGS:,}")
    sides: dict[int, int] = {}
    for start in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack(order + "HHI", data[start : start + 8])
        if tag not in (256, 257):
            continue
        # Of two, libtiff takes the first; other programs the last.
        if tag in sides:
            raise ValueError(f"a TIFF with two {'widths' if tag == 256 else 'heights'}")
        if kind not in (3, 4) or values != 1:
            return None
        value = data[start + 8 : start + (10 if kind == 3 else 12)]
        (sides[tag],) = struct.unpack(order + ("H" if kind == 3 else "I"), value)
    return (sides[256], sides[257]) if len(sides) == 2 else None


def _png_picture(data: bytes) -> bytes | None:
    """The chunks that are decoded, where all up to IEND are there, the critical ones (capital first
    letter) with the right checksum.
    """
    view, at = memoryview(data), 8
    parts: list[bytes | memoryview] = [data[:8]]
    for _ in range(MAX_CHUNKS):
        if at + 12 > len(data):
            return None
        (length,) = struct.unpack(">I", view[at : at + 4])
        end = at + 12 + length
        kind, checksum = data[at + 4 : at + 8], data[end - 4 : end]
        critical = kind[:1].isupper()
        if critical and zlib.crc32(view[at + 4 : end - 4]).to_bytes(4, "big") != checksum:
            return None
        if critical or kind in _CHUNKS_TO_DECODE:
            parts.append(view[at:end])
        if kind == b"IEND":
            return b"".join(parts)
        at = end
    raise ValueError(f"a PNG of more than {MAX_CHUNKS:,} chunks")
