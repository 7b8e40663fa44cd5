"""Pictures decoded and encoded by Pillow.

Each kind goes to its own decoder: Pillow's search for one would ask all of them, those that start
other programs too. Rotation is read here, since Pillow warns of odd EXIF data on stderr.
"""

import importlib.util
import io
import logging
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.preprocess import to_grey
from edgeemo.errors import EdgeemoError, MissingDependency
from edgeemo.optional import install_line, is_installed, need

_DECODERS = {
    "PNG": "PngImagePlugin:PngImageFile",
    "JPEG": "JpegImagePlugin:JpegImageFile",
    "BMP": "BmpImagePlugin:BmpImageFile",
    "WebP": "WebPImagePlugin:WebPImageFile",
    "TIFF": "TiffImagePlugin:TiffImageFile",
    "GIF": "GifImagePlugin:GifImageFile",
    "AVIF": "AvifImagePlugin:AvifImageFile",
}
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".bmp": ("BMP", {}),
    ".webp": ("WEBP", {"quality": 100}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".pgm": ("PPM", {}),
    ".ppm": ("PPM", {}),
}
_ORIENTATION = 0x0112  # EXIF's tag
_MAX_ENTRIES = 1_000  # of EXIF's first directory

log = logging.getLogger("edgeemo.pictures")


class UnknownPixels(Exception):
    """A kind of pixels that Pillow has no decoder for, as its message says."""


def has_pillow() -> bool:
    """Whether Pillow is installed."""
    return is_installed("PIL")


def decode(
    data: bytes, kind: str, shrunk: int, check: Callable[[tuple[int, int]], None]
) -> NDArray[np.uint8] | None:
    """A picture file's bytes as uint8 (H, W, 3) RGB, upright; None where they are damaged.

    Args:
        data: the bytes.
        kind: one of edgeemo.data.headers.KINDS but PNM.
        shrunk: by how much a JPEG's sides are divided: 1, 2, 4 or 8.
        check: called with the width and height that the decoder takes it for, before it decodes;
            what it raises is raised.

    Raises:
        MissingDependency: what this kind needs is not installed.
        UnknownPixels: such as colours in floating point.
    """
    make = _heic if kind == "HEIC" else _decoder(kind)
    try:
        picture = make(io.BytesIO(data))
        check(picture.size)
        if shrunk > 1:
            picture.draft("RGB", tuple(max(1, side // shrunk) for side in picture.size))
        picture.load()
        pixels = _rgb(picture)
        turn = 1 if kind == "TIFF" else _orientation(picture.info.get("exif") or b"")
    except (EdgeemoError, UnknownPixels):
        raise
    except Exception as error:  # of many kinds, and of strangers' bytes
        if "unknown pixel mode" in str(error) or "unknown data organization" in str(error):
            raise UnknownPixels("Pillow knows no such pixels") from None
        log.debug("Pillow: %s: %s", type(error).__name__, error)
        return None
    return upright(pixels, turn)


def encode(rgb: NDArray[np.uint8], suffix: str) -> bytes | None:
    """uint8 (H, W, 3) RGB as the file that an ending names; None where it cannot hold it."""
    kind, options = _ENCODERS[suffix]
    pixels = to_grey(rgb) if suffix == ".pgm" else rgb
    buffer = io.BytesIO()
    picture = _pillow("Image").fromarray(pixels)
    try:
        picture.save(buffer, kind, **options)
    except (OSError, ValueError):
        return None
    return buffer.getvalue()


def jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """uint8 (H, W, 3) RGB as a JPEG for looking at, of a quality of 1 to 95.

    Raises:
        MissingDependency: Pillow is not installed.
    """
    buffer = io.BytesIO()
    _pillow("Image").fromarray(rgb).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) as it stands after EXIF's orientation, 1 to 8; as it is for another."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _pillow(module: str) -> Any:
    return need(f"PIL.{module}", "pictures", "to read pictures", called="Pillow")


def _decoder(kind: str) -> Callable[[io.BytesIO], Any]:
    module, name = _DECODERS[kind].split(":")
    if kind == "AVIF" and not _has_avif():
        raise MissingDependency(
            "Pillow 11.3 or newer, built with AVIF, is needed to read AVIF pictures; run:"
            f" {install_line('pictures')}"
        )
    return getattr(_pillow(module), name)  # type: ignore[no-any-return]


def _has_avif() -> bool:
    _pillow("Image")
    there = importlib.util.find_spec("PIL.AvifImagePlugin") is not None
    return there and bool(_pillow("AvifImagePlugin").SUPPORTED)


def _heic(data: io.BytesIO) -> Any:
    plugin = need("pillow_heif", "heic", "to read HEIC pictures", called="pillow-heif")
    return plugin.HeifImageFile(data)


def _rgb(picture: Any) -> NDArray[np.uint8]:
    """uint8 (H, W, 3) RGB of an image that is loaded."""
    if picture.mode.startswith("I;16"):
        grey = to_8_bits(np.asarray(picture).astype(np.uint16))
    elif picture.mode == "F":
        grey = stretched(np.asarray(picture))
    elif picture.mode == "I" and picture.format == "PNG":  # of 16 bits, before Pillow 10.3
        grey = to_8_bits(np.asarray(picture).astype(np.uint16))
    elif picture.mode in ("I", "LAB", "HSV") or picture.mode.startswith("I;"):
        raise UnknownPixels(f"its pixels are of Pillow's kind {picture.mode}")
    else:
        picture.info.pop("transparency", None)  # Pillow warns of one that it drops
        if picture.mode in ("La", "RGBa"):
            picture = picture.convert({"La": "LA", "RGBa": "RGBA"}[picture.mode])
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def to_8_bits(grey: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Grey of up to 16 bits as its upper 8: of 16, or of the 10 or 12 that cameras of so many put
    into a file of 16 without a word. As 16 bits such a picture would be black, 15 at the most.
    """
    brightest = int(grey.max(initial=0))
    shift = 2 if 0xFF < brightest <= 0x3FF else 4 if 0xFF < brightest <= 0xFFF else 8
    return (grey >> shift).astype(np.uint8)


def stretched(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers without a fixed range as uint8, from the lowest, 0, to the highest, 255; 0 where none
    is finite."""
    finite = picture[np.isfinite(picture)]
    if not finite.size:
        return np.zeros(picture.shape, np.uint8)
    low, high = float(finite.min()), float(finite.max())
    span = high - low if np.isfinite(high - low) and high > low else 1.0
    shares = np.nan_to_num((picture.astype(np.float64) - low) / span, posinf=1.0, neginf=0.0)
    return (shares.clip(0, 1) * 255).astype(np.uint8)


def _orientation(exif: bytes) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none that can be understood."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for start in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, start)
            if (tag, kind, values) == (_ORIENTATION, 3, 1):
                return int(value)
    except struct.error:
        pass
    return 1
