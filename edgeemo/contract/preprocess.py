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

import itertools
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
# 255 times the weights of both axes, 4 for each pixel that is made, stays below 2^31.
_INT32_PIXELS = (2**31 - 1) // (4 * 255)
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
    down, across = source_height >= height, source_width >= width
    if down and across:
        cv2 = _cv2()
        if cv2 is not None and source_height * source_width <= _INTEGRAL_MAX_PIXELS:
            return _area_by_integral(cv2, plane, height, width)
        return _area_by_bands(plane, height, width)
    if height * width > _INT32_PIXELS:
        plane = plane.astype(np.int64)
    rows, row_total = _along(plane, height)
    both, column_total = _along(np.ascontiguousarray(rows.T), width)
    return _rounded(both.T, row_total * column_total)


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


def _along(values: NDArray[Any], size: int) -> tuple[NDArray[Any], int]:
    """(size, w) weighted sums of (side, w) values along the first axis, and what their weights sum
    to: overlaps in 1/size pixels, or linear in 1/(2 size)."""
    side = len(values)
    if side >= size:
        edges = np.arange(size + 1, dtype=np.int64) * side
        return _band_sums(values, edges, size), side
    # Centres of the output pixels, in 1/(2 size), from pixel 0.
    centre = (2 * np.arange(size, dtype=np.int32) + 1) * side - size
    first, part = centre // (2 * size), (centre % (2 * size))[:, np.newaxis]
    wide = values.astype(np.promote_types(values.dtype, np.int32), copy=False)
    before, after = (wide[np.clip(i, 0, side - 1)] for i in (first, first + 1))
    return before * (2 * size - part) + after * part, 2 * size


def _area_by_bands(plane: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    source_height, source_width = plane.shape
    # Edges of the output pixels, in 1/height and 1/width source pixels.
    rows = np.arange(height + 1, dtype=np.int64) * source_height
    columns = np.arange(width + 1, dtype=np.int64) * source_width
    sums = _band_sums(_band_sums(plane, rows, height).T, columns, width).T
    return _rounded(sums, source_height * source_width)


def _band_sums(values: NDArray[Any], edges: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Sums over each output pixel's rows, a row counting by its overlap in 1/size rows."""
    sums = np.empty((size, values.shape[1]), np.int64)
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        first, last = int(start) // size, (int(stop) - 1) // size
        rows = np.arange(first, last + 1, dtype=np.int64) * size
        overlap = np.minimum(rows + size, stop) - np.maximum(rows, start)
        sums[i] = overlap @ values[first : last + 1].astype(np.int64)
    return sums


def _area_by_integral(
    cv2: Any, plane: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.uint8]:
    """The same sums from an integral image, linear between pixels: about ten times faster."""
    source_height, source_width = plane.shape
    integral = cv2.integral(plane)
    row, row_part, next_row = _edges(source_height, height)
    column, column_part, next_column = _edges(source_width, width)
    above, below = (height - row_part)[:, np.newaxis], row_part[:, np.newaxis]
    rows = integral[row] * above + integral[next_row] * below
    both = rows[:, column] * (width - column_part) + rows[:, next_column] * column_part
    return _rounded(np.diff(np.diff(both, axis=0), axis=1), source_height * source_width)


def _edges(side: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of the output pixels' edges: the source pixel, its part in 1/size, the pixel after it."""
    whole, part = np.divmod(np.arange(size + 1, dtype=np.int64) * side, size)
    return whole, part, np.minimum(whole + 1, side)


def _rounded(sums: NDArray[Any], total: int) -> NDArray[np.uint8]:
    return ((sums + total // 2) // total).astype(np.uint8)


def _cv2() -> Any:
    """OpenCV if something has loaded it: whoever decoded the frame usually has, and this module
    alone never should. None while another thread is still loading it.
    """
    cv2 = sys.modules.get("cv2")
    return cv2 if all(hasattr(cv2, name) for name in _USED_OF_CV2) else None
