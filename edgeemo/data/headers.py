"""What picture files say of themselves before anything is decoded: size, frame, whether they end.

The decoders of others take a file's word; what could make them work for seconds or print a
stranger's bytes is refused or left out here.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeemo.data import gif, tiff
from edgeemo.data.pnm import pnm_size

# Honest files have some tens: a profile or thumbnail of 64 MB takes a thousand segments of a JPEG,
# and 64 MB of a PNG take 8,000 chunks in the size that libpng writes. Each is a step in Python.
MAX_SEGMENTS = 10_000
MAX_CHUNKS = 65_536
_FILL = re.compile(b"\xff+")
# What can follow in a frame: neither a stuffed zero nor a restart inside a scan, nor fill bytes.
_MARKER = re.compile(b"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA
# Segments of a length of their own: tables, restart intervals, applications' and comments. At any
# other marker libjpeg ends or goes on behind it.
_SEGMENTS = frozenset((0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0), _SCAN))
# libpng prints bytes of other chunks, such as a colour profile's name, to the terminal as they are.
_CHUNKS_TO_DECODE = frozenset({b"tRNS", b"eXIf"})


KINDS = ("PNG", "JPEG", "BMP", "WebP", "TIFF", "PNM", "GIF", "AVIF", "HEIC")
_RUN_LENGTH = (1, 2)  # compressions of a BMP
# Bytes of a run-length BMP. Pillow takes it run by run in Python: this many in two seconds.
_MAX_RUN_LENGTH = 4 * 1024 * 1024
# Where the size of an AVIF or HEIC stands: a property of 20 bytes (ISO/IEC 23008-12, 6.5.3).
_ISPE = re.compile(rb"\0\0\0\x14ispe\0\0\0\0(....)(....)", re.DOTALL)
_PROPERTIES = 1 << 20  # bytes from the beginning in which properties stand
_AVIF, _HEIC = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}


@dataclass(frozen=True)
class Header:
    """What a picture file declares."""

    kind: str
    """One of KINDS."""
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
    kind = _kind(data)
    try:
        if kind == "JPEG":
            return _jpeg_header(data)
        size = _SIZES[kind](data) if kind else None
    except (struct.error, IndexError):
        return None
    return None if size is None else Header(kind, size)


def decodable(data: bytes, header: Header) -> bytes | None:
    """What of the file is to be decoded; None where the end of a JPEG, PNG or GIF is missing
    (OpenCV fills it with grey and says nothing) or a PNG is damaged.

    Of a PNG it is the chunks that make the picture, its transparency and its rotation; of a TIFF
    and a GIF the first picture.

    Raises:
        ValueError: a PNG of too many chunks, a GIF of too many blocks.
    """
    if header.kind == "JPEG":
        return data if header.ends else None
    if header.kind == "PNG":
        return _png_picture(data)
    if header.kind == "TIFF":
        return tiff.first_picture(data)
    return gif.first_picture(data) if header.kind == "GIF" else data


def _kind(data: bytes) -> str:
    """One of KINDS, as its first bytes tell; "" for another."""
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[at : at + 4] for at in (8, *range(16, end, 4))}
        return "AVIF" if brands & _AVIF else "HEIC" if brands & _HEIC else ""
    return next((kind for kind, known in _MAGIC if known.match(data)), "")


_MAGIC = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("JPEG", rb"\xff\xd8"),
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("BMP", rb"BM"),
        ("WebP", rb"RIFF....WEBP"),
        ("TIFF", rb"II\*\0|MM\0\*"),
        ("PNM", rb"P[2356]"),
        ("GIF", rb"GIF8[79]a"),
    )
)


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _bmp_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack("<ii", data[18:26])
    if int.from_bytes(data[30:34], "little") in _RUN_LENGTH and len(data) > _MAX_RUN_LENGTH:
        raise ValueError(f"a run-length BMP of {len(data):,} bytes")
    return width, abs(height)


def _largest_item(data: bytes) -> tuple[int, int] | None:
    """Of an AVIF or HEIC: the largest width and height of what it holds; others are thumbnails,
    and the tiles that the picture is put together from."""
    sizes = [struct.unpack(">II", b"".join(one)) for one in _ISPE.findall(data[:_PROPERTIES])]
    return (max(w for w, _ in sizes), max(h for _, h in sizes)) if sizes else None


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
            return Header("JPEG", (width, height), at - 1, *_scans(data, at - 1))
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


_SIZES: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    "PNG": _png_size,
    "BMP": _bmp_size,
    "WebP": _webp_size,
    "TIFF": tiff.tiff_size,
    "PNM": pnm_size,
    "GIF": gif.gif_size,
    "AVIF": _largest_item,
    "HEIC": _largest_item,
}
