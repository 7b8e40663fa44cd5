"""The one place that decodes and encodes picture files.

Bytes from outside in, bounded; RGB uint8 out.

Needs OpenCV (extra `opencv`).
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.errors import InvalidInput, MissingFile, PictureError
from edgeemo.optional import need

MAX_BYTES = 64 * 1024 * 1024
MAX_SIDE = 16_384  # pixels
MAX_PIXELS = 50_000_000
MAX_PIXELS_OF_MANY = 25_000_000
"""Where many come, from a folder or an archive: a camera's 24 megapixels, a second at worst."""
PIXELS_ENVIRONMENT = "EDGEEMO_MAX_PIXELS"
# A progressive JPEG has about ten scans, each over the whole picture. What more cost is up to its
# maker: a hundred bytes can be a scan of millions of pixels, and no scan is needed beyond 100
# (https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf).
_MAX_SCANS = 100
_MAX_PIXELS_SCANNED = 16 * MAX_PIXELS
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})


def read_picture(path: str | os.PathLike[str], max_pixels: int | None = None) -> NDArray[np.uint8]:
    """A picture file as uint8 (H, W, 3) RGB; grey, RGBA and 16-bit files are converted, EXIF
    rotation is applied.

    `max_pixels` bounds width times height, by default $EDGEEMO_MAX_PIXELS or MAX_PIXELS.

    Raises:
        InvalidInput: $EDGEEMO_MAX_PIXELS is no number.
        MissingFile: nothing at `path`.
        PictureError: empty, truncated, too large, or no picture.
    """
    file = Path(path)
    try:
        data = read_regular(file, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(f"{file}: no such file; check the path") from None
    except IsADirectoryError:
        raise PictureError(
            f"{file}: expected a picture, received a folder; name the files in it"
        ) from None
    except (OSError, ValueError) as error:
        raise PictureError(
            f"{file}: cannot be read ({getattr(error, 'strerror', None) or error}); check what it"
            " is and its permissions"
        ) from None
    return decode_picture(data, str(file), max_pixels)


def decode_picture(data: bytes, name: str, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """Decode a picture file's bytes to uint8 (H, W, 3) RGB; `name` stands in messages.

    `max_pixels` as in `read_picture`.

    Raises:
        InvalidInput: $EDGEEMO_MAX_PIXELS is no number.
        PictureError: empty, truncated, too large, or no picture.
    """
    if not data:
        raise PictureError(f"{name}: the file is empty; copy it again")
    size = _declared_size(data)
    if size is None:
        raise PictureError(
            f"{name}: not a picture that can be read (expected PNG, JPEG, BMP, WebP, TIFF or PNM);"
            " convert it"
        )
    most = pixel_bound(MAX_PIXELS) if max_pixels is None else max_pixels
    _check_size(size, name, most)
    _check_scans(data, size, name)
    cv2 = _cv2()
    if _is_cut(data):
        raise PictureError(f"{name}: the picture is truncated or damaged; copy it again")
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise PictureError(
            f"{name}: cannot be decoded ({error.err}); copy or convert it again"
        ) from None
    if bgr is None:
        raise PictureError(f"{name}: the picture is damaged or truncated; copy or convert it again")
    _check_size(bgr.shape[1::-1], name, most)
    return np.asarray(cv2.cvtColor(_to_8_bit(bgr), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def write_picture(path: str | os.PathLike[str], rgb: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB as the format that `path`'s ending names.

    Raises PictureError, StorageError.
    """
    cv2 = _cv2()
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise PictureError(
            f"{path}: expected an ending of {', '.join(sorted(SUFFIXES))}; received"
            f" {suffix or 'none'}"
        )
    done, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise PictureError(f"{path}: OpenCV cannot write {suffix}; use .png")
    with written_beside(path) as part:
        part.write_bytes(encoded.tobytes())


def _cv2() -> Any:
    # imread's own limits raise as C++ errors; ours come first, so its limit only has to be no
    # lower.
    return need("cv2", "opencv", "to read pictures")


def pixel_bound(usual: int) -> int:
    """The most pixels of a picture: $EDGEEMO_MAX_PIXELS, by default `usual`.

    Raises:
        InvalidInput: it is no whole number above 0.
    """
    word = os.environ.get(PIXELS_ENVIRONMENT, "")
    if not word:
        return usual
    if not (word.isascii() and word.isdigit() and int(word[:12]) > 0):
        raise InvalidInput(
            f"{PIXELS_ENVIRONMENT}: expected a number of pixels, such as {MAX_PIXELS}, received"
            f" {word[:40]!r}"
        )
    return min(int(word[:12]), MAX_SIDE**2)


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width < 2 or height < 2:
        raise PictureError(
            f"{name}: {width}x{height} pixel, expected at least 2x2; there is no face to see"
        )
    if max(width, height) > MAX_SIDE or width * height > max_pixels:
        raise PictureError(
            f"{name}: {width}x{height} pixels, expected sides of at most {MAX_SIDE:,} and at most"
            f" {max_pixels:,} pixels; scale it down"
            + (f" or set {PIXELS_ENVIRONMENT}" if max(width, height) <= MAX_SIDE else "")
        )


def _check_scans(data: bytes, size: tuple[int, int], name: str) -> None:
    """Raise PictureError for a JPEG whose scans would take minutes."""
    if data[:2] != b"\xff\xd8":
        return
    # Inside a scan these two bytes do not stand beside one another.
    scans = data.count(b"\xff\xda", _jpeg_frame(data) or 0)
    most = min(_MAX_SCANS, max(1, _MAX_PIXELS_SCANNED // (size[0] * size[1])))
    if scans > most:
        raise PictureError(
            f"{name}: a JPEG of {scans:,} scans, expected at most {most} for"
            f" {size[0]}x{size[1]} pixels; convert it again"
        )


def _to_8_bit(picture: NDArray[Any]) -> NDArray[np.uint8]:
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return (picture >> 8).astype(np.uint8)
    low, high = (
        float(np.nanmin(picture)),
        float(np.nanmax(picture)),
    )  # float TIFF: no fixed range, so stretch what is there
    span = high - low if np.isfinite(high - low) and high > low else 1.0
    return (np.nan_to_num((picture - low) / span).clip(0, 1) * 255).astype(np.uint8)


def _declared_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) from the header, without decoding, so that a bomb is refused first; None for
    no known picture.
    """
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", data[16:24])
        elif data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        elif data[:2] == b"BM":
            width, height = struct.unpack("<ii", data[18:26])
            height = abs(height)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        elif data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_size(data)
        elif data[:2] in (b"P2", b"P3", b"P5", b"P6"):
            words = b" ".join(line.split(b"#")[0] for line in data[2:1024].splitlines()).split()
            width, height = int(words[0]), int(words[1])
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None
    return width, height


def _jpeg_frame(data: bytes) -> int | None:
    """Where the frame header (SOF) of a JPEG starts; thumbnails lie in the segments before it."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return at
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = _jpeg_frame(data)
    if at is None:
        return None
    height, width = struct.unpack(">HH", data[at + 5 : at + 9])
    return width, height


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
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    sides = {}
    for i in range(min(count, 512)):
        tag, kind, _ = struct.unpack(order + "HHI", data[at + 2 + 12 * i : at + 10 + 12 * i])
        value = data[at + 10 + 12 * i : at + 14 + 12 * i]
        if tag in (256, 257) and kind in (3, 4):
            sides[tag] = struct.unpack(
                order + ("H" if kind == 3 else "I"), value[: 2 if kind == 3 else 4]
            )[0]
    return (sides[256], sides[257]) if len(sides) == 2 else None


def _is_cut(data: bytes) -> bool:
    """Whether the end of a JPEG or PNG is missing (OpenCV fills it with grey and says nothing) or a
    PNG is damaged.
    """
    if data[:2] == b"\xff\xd8":
        return data.find(b"\xff\xd9", _jpeg_frame(data) or 0) < 0
    return data[:4] == b"\x89PNG" and not _png_is_whole(memoryview(data))


def _png_is_whole(data: memoryview) -> bool:
    """Whether all chunks up to IEND are there, the critical ones (capital first letter) with the
    right checksum.
    """
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        end = at + 8 + length
        kind, checksum = bytes(data[at + 4 : at + 8]), bytes(data[end : end + 4])
        critical = kind[:1].isupper()
        if critical and zlib.crc32(data[at + 4 : end]).to_bytes(4, "big") != checksum:
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False
