"""The one place that decodes and encodes picture files.

Bytes from outside in, bounded; RGB uint8 out.

Pillow decodes where it is installed (extra `pictures`), else OpenCV (extra `opencv`); both give the
same pixels (docs/preprocessing.md). GIF, AVIF and HEIC need Pillow. PGM and PPM are read here.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.data import with_opencv, with_pillow
from edgeemo.data.headers import Header, decodable, read_header
from edgeemo.data.pnm import decode_pnm
from edgeemo.errors import (
    BrokenDependency,
    InvalidInput,
    MissingDependency,
    MissingFile,
    PictureError,
)

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
_SHRINKS = (1, 2, 4, 8)  # what libjpeg decodes at
COMMON_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
)
"""Endings of what is written, by its ending, and of the pictures of a data set, so that it is the
same whichever decoder a machine has."""
SUFFIXES = COMMON_SUFFIXES | {".gif", ".avif", ".heic", ".heif"}
"""Endings by which a file is taken for a picture; what it is, its first bytes say."""
VIDEO_SUFFIXES = frozenset(
    {
        ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
        ".mts", ".ogv", ".webm", ".wmv", ".y4m"
    }
)  # fmt: skip
"""Endings of what `watch` and an EmotionSensor read."""


def read_picture(path: str | os.PathLike[str], max_pixels: int | None = None) -> NDArray[np.uint8]:
    """A picture file as uint8 (H, W, 3) RGB; grey, RGBA and 16-bit files are converted, EXIF
    rotation is applied.

    `max_pixels` bounds width times height, by default $EDGEEMO_MAX_PIXELS or MAX_PIXELS.

    Raises:
        InvalidInput: `path` is none, or $EDGEEMO_MAX_PIXELS is no number.
        MissingFile: nothing at `path`.
        PictureError: empty, truncated, too large, or no picture.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidInput(
            "expected a picture's path or a frame (a NumPy array, uint8 of (H, W, 3) RGB or (H, W) "
            f"grey), received {type(path).__name__}; decode pictures in memory first, with "
            "Pillow or OpenCV's imdecode"
        )
    if not os.fspath(path):
        raise InvalidInput("expected a picture's path, received an empty text")
    try:
        return _decoded_file(path, max_pixels)
    except PictureError:
        if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
            raise
        raise PictureError(
            f"{path}: a video, not a picture; an EmotionSensor reads it, and on the command line"
            " edgeemo watch"
        ) from None


def _decoded_file(path: str | os.PathLike[str], max_pixels: int | None) -> NDArray[np.uint8]:
    file = Path(path)
    if "://" in os.fspath(path) and not file.exists():
        raise PictureError(
            f"{path}: nothing is fetched from a network here; download it, or give an EmotionSensor"
            " the address of a camera or stream"
        )
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


def decode_picture(
    data: bytes, name: str, max_pixels: int | None = None, *, may_shrink: bool = False
) -> NDArray[np.uint8]:
    """Decode a picture file's bytes to uint8 (H, W, 3) RGB; `name` stands in messages.

    `max_pixels` as in `read_picture`. With `may_shrink` a JPEG of one scan that has more, as phones
    write with 48, 108 or 200 megapixels, comes at a half, a quarter or an eighth of its sides,
    which costs less than it all: the decoder never makes the rest.

    Raises:
        InvalidInput: $EDGEEMO_MAX_PIXELS is no number.
        PictureError: empty, truncated, too large, or no picture.
    """
    if not data:
        raise PictureError(f"{name}: the file is empty; copy it again")
    most = pixel_bound(MAX_PIXELS) if max_pixels is None else max_pixels
    try:
        shrunk = _shrunk(data, most) if may_shrink else 1
        header, whole = _checked(data, name, most * shrunk**2)
    except PictureError:
        raise
    except ValueError as error:
        raise PictureError(f"{name}: {error}; convert it again") from None
    rgb = _decoded(whole, header, shrunk, name, most)
    if rgb is None:
        raise PictureError(f"{name}: the picture is damaged or truncated; copy or convert it again")
    _check_size(rgb.shape[1::-1], name, most)
    return rgb


def write_picture(path: str | os.PathLike[str], rgb: NDArray[np.uint8]) -> None:
    """Write uint8 (H, W, 3) RGB as the format that `path`'s ending names.

    Raises PictureError, StorageError.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in COMMON_SUFFIXES:
        raise PictureError(
            f"{path}: expected an ending of {', '.join(sorted(COMMON_SUFFIXES))}; received"
            f" {suffix or 'none'}"
        )
    opencv = with_opencv.has_opencv() and not with_pillow.has_pillow()
    encoded = (with_opencv if opencv else with_pillow).encode(rgb, suffix)
    if encoded is None:
        height, width = rgb.shape[:2]
        raise PictureError(f"{path}: {suffix} cannot hold {width}x{height} pixels; use .png")
    with written_beside(path) as part:
        part.write_bytes(encoded)


def _decoded(
    data: bytes, header: Header, shrunk: int, name: str, most: int
) -> NDArray[np.uint8] | None:
    """uint8 (H, W, 3) RGB of the checked bytes of a file; None where they are damaged."""
    if header.kind == "PNM":
        return decode_pnm(data)
    opencv = header.kind in with_opencv.KINDS and with_opencv.has_opencv()
    if opencv and not with_pillow.has_pillow():
        return with_opencv.decode(data, shrunk)
    try:
        return with_pillow.decode(
            data, header.kind, shrunk, lambda size: _check_size(size, name, most * shrunk**2)
        )
    except (MissingDependency, BrokenDependency) as error:
        if header.kind in with_opencv.KINDS:
            raise
        raise PictureError(f"{name}: {error}") from None  # of this file; others can be read
    except with_pillow.UnknownPixels as error:
        if opencv:
            return with_opencv.decode(data, shrunk)
        raise PictureError(
            f"{name}: cannot be decoded ({error}); convert it to 8 or 16 bits"
        ) from None


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


def _shrunk(data: bytes, most: int) -> int:
    """By how much a JPEG's sides are divided so that it has at most `most` pixels: 1, 2, 4 or 8.

    1 too for what cannot be decoded so, or would have too many even then. Raises ValueError.
    """
    header = read_header(data)
    if header is None or header.scans != 1 or max(header.size) > MAX_SIDE:
        return 1  # several scans are kept whole in memory
    width, height = header.size
    return next((n for n in _SHRINKS if -(-width // n) * -(-height // n) <= most), 1)


def _checked(data: bytes, name: str, most: int) -> tuple[Header, bytes]:
    """What a file declares and the part of it that is decoded.

    Raises PictureError, or ValueError without the name.
    """
    header = read_header(data)
    if header is None:
        raise PictureError(
            f"{name}: not a picture that can be read (expected PNG, JPEG, BMP, WebP, TIFF, PNM,"
            " GIF, AVIF or HEIC); convert it"
        )
    _check_size(header.size, name, most)
    _check_scans(header, name)
    whole = decodable(data, header)
    if whole is None:
        raise PictureError(f"{name}: the picture is truncated or damaged; copy it again")
    return header, whole


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


def _check_scans(header: Header, name: str) -> None:
    """Raise PictureError for a JPEG whose scans would take minutes."""
    width, height = header.size
    most = min(_MAX_SCANS, max(1, _MAX_PIXELS_SCANNED // (width * height)))
    if header.scans > most:
        raise PictureError(
            f"{name}: a JPEG of {header.scans:,} scans, expected at most {most} for"
            f" {width}x{height} pixels; convert it again"
        )
