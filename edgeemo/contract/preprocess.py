"""The only crop, grey and resize code: a frame and a box in, the network's pixels out.

All of it is integer arithmetic, defined so that a few lines of C give the same bytes:

* grey: (9798 R + 19235 G + 3735 B + 16384) >> 15, the ITU-R BT.601 luma in 15 bits, as OpenCV
  computes it; a grey frame for an RGB network has three equal channels;
* region: `Crop.region`; where it leaves the frame, the nearest edge pixel stands in;
* resize, each axis by itself, from side m to n: for m >= n the exact mean over each output pixel's
  span (each source pixel counts by its overlap in 1/n pixels, m in all), for m < n linear with
  pixel centres at half (weights in 1/2n pixels, 2n in all); one division by the product of both
  axes' totals, rounded half up.

OpenCV, where it is already loaded, only speeds up steps that give the very same bytes.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import BOX, Crop, Region
from edgeemo.contract.input_spec import InputSpec
from edgeemo.errors import InvalidInput

# A region many times larger than its frame shows hardly any face; the bound also keeps memory
# finite.
MAX_SIDE_OVER_FRAME = 4
# cv2.integral sums in int32: 255 * height * width has to stay below 2^31.
_INTEGRAL_MAX_PIXELS = (2**31 - 1) // 255
_SMALL = 2**14  # pixels made, up to which an integral image is the faster way
_STRIP = 2**14  # numbers at a time
_USED_OF_CV2 = ("COLOR_RGB2GRAY", "cvtColor", "integral")


def face_to_input(
    frame_rgb: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    spec: InputSpec,
    crop: Crop = BOX,
) -> NDArray[np.uint8]:
    """The network's input for one face.

    Args:
        frame_rgb: uint8 (H, W, 3) in RGB order, or (H, W) grey.
        box: (x, y, width, height) in pixels; may reach beyond the frame.
        spec: the input spec of the model.
        crop: of the detector whose box it is; by default the box itself.

    Returns:
        uint8 (spec.height, spec.width, spec.channels): grey 0..255, or RGB.

    Raises:
        InvalidInput: another dtype or shape, an empty box, or a box outside the frame.
    """
    _check_frame(frame_rgb)
    x, y, width, height = (int(v) for v in box)
    if width < 1 or height < 1:
        raise InvalidInput(f"expected a box of at least 1x1 pixel, received {width}x{height}")
    region = crop.region((x, y, width, height), spec.height, spec.width)
    frame_height, frame_width = frame_rgb.shape[:2]
    if not _in_frame(region, frame_height, frame_width):
        raise InvalidInput(
            f"expected a box within the {frame_width}x{frame_height} frame, "
            f"received {(x, y, width, height)}"
        )
    planes = _planes(frame_rgb, region, spec.channels)
    resized = [resize_grey(plane, spec.height, spec.width) for plane in planes]
    if spec.channels > len(resized):
        resized *= spec.channels
    return np.stack(resized, axis=-1)


def is_in_frame(
    frame_rgb: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    spec: InputSpec,
    crop: Crop = BOX,
) -> bool:
    """Whether `face_to_input` takes the box (x, y, width, height) of this frame: the network would
    see a part of the frame, and not mostly what lies beyond it.
    """
    return _in_frame(crop.region(box, spec.height, spec.width), *frame_rgb.shape[:2])


def whole_frame(width: int, height: int, spec: InputSpec) -> tuple[int, int, int, int]:
    """The smallest box (x, y, width, height) of the input's shape that holds a frame, in its
    middle."""
    across = max(width, -(-height * spec.width // spec.height))
    down = max(height, -(-width * spec.height // spec.width))
    return (width - across) >> 1, (height - down) >> 1, across, down


def to_grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma of uint8 (H, W, 3) RGB as uint8 (H, W); see the module's formula."""
    cv2 = _cv2()
    if cv2 is not None:
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    wide = rgb.astype(np.uint32)
    return (
        (9798 * wide[..., 0] + 19235 * wide[..., 1] + 3735 * wide[..., 2] + 16384) >> 15
    ).astype(np.uint8)


def resize_grey(
    plane: NDArray[np.uint8], height: int, width: int | None = None
) -> NDArray[np.uint8]:
    """Resize uint8 (h, w) to (height, width), by default square; see the module's text."""
    width = height if width is None else width
    if plane.shape == (height, width):
        return plane.copy()
    source_height, source_width = plane.shape
    if source_height >= height and source_width >= width and height * width <= _SMALL:
        cv2 = _cv2()
        if cv2 is not None and source_height * source_width <= _INTEGRAL_MAX_PIXELS:
            return _area_by_integral(cv2, plane, height, width)
    if source_height >= height:  # first the axis that leaves less to do
        columns = np.ascontiguousarray(_along(plane, height, _total(source_width, width)).T)
        return np.ascontiguousarray(_along(columns, width, 1, _total(source_height, height)).T)
    rows = _along(np.ascontiguousarray(plane.T), width, _total(source_height, height))
    return _along(np.ascontiguousarray(rows.T), height, 1, _total(source_width, width))


def _in_frame(region: Region, height: int, width: int) -> bool:
    inside = region.left < width and region.top < height
    inside = inside and region.left + region.width > 0 and region.top + region.height > 0
    return inside and max(region.width, region.height) <= MAX_SIDE_OVER_FRAME * max(height, width)


def _check_frame(frame: NDArray[np.uint8]) -> None:
    shape = getattr(frame, "shape", None)
    dtype = getattr(frame, "dtype", None)
    right_shape = (
        shape is not None
        and min(shape, default=0) > 0
        and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3))
    )
    if dtype != np.uint8 or not right_shape:
        raise InvalidInput(
            f"expected a frame of uint8, (H, W, 3) RGB or (H, W) grey, received {dtype} {shape}"
        )


def _planes(frame: NDArray[np.uint8], region: Region, channels: int) -> list[NDArray[np.uint8]]:
    """The region as uint8 planes: grey, or R, G and B where the network and the frame have them."""
    height, width = frame.shape[:2]
    left, top = region.left, region.top
    right, bottom = left + region.width, top + region.height
    x0, x1, y0, y1 = max(left, 0), min(right, width), max(top, 0), min(bottom, height)
    part = np.ascontiguousarray(frame[y0:y1, x0:x1])
    if part.ndim == 3 and channels == 1:
        part = to_grey(part)
    planes = [part] if part.ndim == 2 else [part[..., i] for i in range(channels)]
    outside = ((y0 - top, bottom - y1), (x0 - left, right - x1))
    if any(map(any, outside)):
        planes = [np.pad(plane, outside, mode="edge") for plane in planes]
    return [np.ascontiguousarray(plane) for plane in planes]


def _total(side: int, size: int) -> int:
    """What the weights of one output pixel sum to."""
    return side if side >= size else 2 * size


def _weights(side: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(taps, size) of the pixels that each output pixel takes, and of their weights."""
    if side >= size:
        start = np.arange(size, dtype=np.int64) * side  # in 1/size pixel
        first = start // size
        most = int(((start + side - 1) // size - first).max()) + 1
        pixels = first + np.arange(most)[:, np.newaxis]
        overlap = np.minimum((pixels + 1) * size, start + side) - np.maximum(pixels * size, start)
        return np.minimum(pixels, side - 1), np.maximum(overlap, 0)
    # Centres of the output pixels, in 1/(2 size), from pixel 0.
    centre = (2 * np.arange(size, dtype=np.int64) + 1) * side - size
    first, part = np.divmod(centre, 2 * size)
    return np.clip([first, first + 1], 0, side - 1), np.stack([2 * size - part, part])


def _along(
    values: NDArray[Any], size: int, later: int, divided_by: int | None = None
) -> NDArray[Any]:
    """(size, w) weighted sums of (side, w) values along the first axis. `later` is what they are
    still to be multiplied by. The last axis gives uint8, and says what the first one's weights sum
    to (`divided_by`)."""
    side = len(values)
    total = _total(side, size) * later * (divided_by or 1)
    kind = np.dtype(np.uint32 if 256 * total < 2**32 else np.uint64)
    pixels, weights = _weights(side, size)
    weights = weights[:, :, np.newaxis].astype(kind)
    out = np.empty((size, values.shape[1]), np.uint8 if divided_by else kind)
    # Few rows at a time: what the cache holds, and no memory that is fetched from the system.
    step = max(1, _STRIP // values.shape[1])
    for start in range(0, size, step):
        rows = slice(start, start + step)
        sums = np.multiply(values.take(pixels[0, rows], axis=0), weights[0, rows], dtype=kind)
        for taken, weight in zip(pixels[1:, rows], weights[1:, rows], strict=True):
            sums += np.multiply(values.take(taken, axis=0), weight, dtype=kind)
        out[rows] = _rounded(sums, total) if divided_by else sums
    return out


def _area_by_integral(
    cv2: Any, plane: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """The same sums from an integral image, linear between pixels: twice as fast for small outputs.

    What overflows 32 bits is the same modulo 2^32 as the difference, which does not.
    """
    source_height, source_width = plane.shape
    integral = cv2.integral(plane).view(np.uint32)
    rows = _between_edges(integral, source_height, height)
    both = _between_edges(np.ascontiguousarray(rows.T), source_width, width)
    return np.ascontiguousarray(_rounded(both, source_height * source_width).T)


def _between_edges(sums: NDArray[np.uint32], side: int, size: int) -> NDArray[np.uint32]:
    """(size, w) of what lies between the output pixels' edges, of (side + 1, w) sums up to each."""
    whole, part = np.divmod(np.arange(size + 1, dtype=np.int64) * side, size)
    at = sums.take(whole, axis=0) * (size - part).astype(np.uint32)[:, np.newaxis]
    after = sums.take(np.minimum(whole + 1, side), axis=0)
    at += after * part.astype(np.uint32)[:, np.newaxis]
    return at[1:] - at[:-1]


def _rounded(sums: NDArray[Any], total: int) -> NDArray[np.uint8]:
    sums += sums.dtype.type(total // 2)
    sums //= sums.dtype.type(total)
    return sums.astype(np.uint8)


def _cv2() -> Any:
    """OpenCV if something has loaded it: whoever decoded the frame usually has, and this module
    alone never should. None while another thread is still loading it.
    """
    cv2 = sys.modules.get("cv2")
    return cv2 if all(hasattr(cv2, name) for name in _USED_OF_CV2) else None
