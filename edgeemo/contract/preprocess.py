"""The only crop, grey and resize code: a frame and a box in, the network's pixels out.

All of it is integer arithmetic, defined so that a few lines of C give the same bytes:

* grey: (9798 R + 19235 G + 3735 B + 16384) >> 15, the ITU-R BT.601 luma in 15 bits, as OpenCV computes it;
* square: `Crop.square`; where it leaves the frame, the nearest edge pixel stands in;
* resize from side m to n: for m >= n the exact mean over each output pixel's area (each source pixel counts by its
  overlap in 1/n pixels), for m < n bilinear with pixel centres at half (weights in 1/2n pixels); one division,
  rounded half up.

OpenCV, where it is already loaded, only speeds up steps that give the very same bytes.
"""

import itertools
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.errors import InvalidInput

# A square many times larger than its frame shows hardly any face; the bound also keeps memory finite.
MAX_SIDE_OVER_FRAME = 4
# cv2.integral sums in int32: 255 * side^2 has to stay below 2^31.
_INTEGRAL_MAX_SIDE = 2896


def face_to_input(
    frame_rgb: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    spec: InputSpec = DEFAULT_SPEC,
    *,
    detector: str = "whole",
) -> NDArray[np.uint8]:
    """The network's input for one face.

    Args:
        frame_rgb: uint8 (H, W, 3) in RGB order, or (H, W) grey.
        box: (x, y, width, height) in pixels; may reach beyond the frame.
        spec: the input spec of the model.
        detector: whose box it is; chooses the crop geometry ("whole": the box itself).

    Returns:
        uint8 (spec.height, spec.width, 1), grey 0..255.

    Raises:
        InvalidInput: another dtype or shape, an empty box, or a box outside the frame.
    """
    _check_frame(frame_rgb)
    x, y, width, height = (int(v) for v in box)
    if width < 1 or height < 1:
        raise InvalidInput(f"expected a box of at least 1x1 pixel, received {width}x{height}")
    left, top, side = spec.crop_for(detector).square(x, y, width, height)
    frame_height, frame_width = frame_rgb.shape[:2]
    inside = left < frame_width and top < frame_height and left + side > 0 and top + side > 0
    if not inside or side > MAX_SIDE_OVER_FRAME * max(frame_height, frame_width):
        raise InvalidInput(
            f"expected a box within the {frame_width}x{frame_height} frame, received {(x, y, width, height)}"
        )
    return resize_grey(_square_grey(frame_rgb, left, top, side), spec.height)[:, :, np.newaxis]


def to_grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma of uint8 (H, W, 3) RGB as uint8 (H, W); see the module's formula."""
    cv2 = _cv2()
    if cv2 is not None:
        return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    wide = rgb.astype(np.uint32)
    return (
        (9798 * wide[..., 0] + 19235 * wide[..., 1] + 3735 * wide[..., 2] + 16384) >> 15
    ).astype(np.uint8)


def resize_grey(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize uint8 (m, m) to (size, size): exact area mean downwards, bilinear upwards; see the module's text."""
    side = square.shape[0]
    if side == size:
        return square.copy()
    if side < size:
        return _weighted(square, _bilinear_weights(side, size), 2 * size)
    cv2 = _cv2()
    if cv2 is not None and side <= _INTEGRAL_MAX_SIDE:
        return _area_by_integral(cv2, square, size)
    return _area_by_bands(square, size)


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


def _square_grey(frame: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    x0, x1, y0, y1 = max(left, 0), min(left + side, width), max(top, 0), min(top + side, height)
    part = np.ascontiguousarray(frame[y0:y1, x0:x1])
    grey = to_grey(part) if part.ndim == 3 else part
    outside = ((y0 - top, top + side - y1), (x0 - left, left + side - x1))
    return np.pad(grey, outside, mode="edge") if any(map(any, outside)) else grey


def _bilinear_weights(side: int, size: int) -> NDArray[np.int64]:
    """(size, side) weights in 1/(2 size); each row sums to 2 size."""
    centre = (
        2 * np.arange(size, dtype=np.int64) + 1
    ) * side - size  # of the output pixel, in 1/(2 size), from pixel 0
    first, fraction = centre // (2 * size), centre % (2 * size)
    weights = np.zeros((size, side), np.int64)
    rows = np.arange(size)
    np.add.at(weights, (rows, np.clip(first, 0, side - 1)), 2 * size - fraction)
    np.add.at(weights, (rows, np.clip(first + 1, 0, side - 1)), fraction)
    return weights


def _weighted(
    square: NDArray[np.uint8], weights: NDArray[np.int64], total: int
) -> NDArray[np.uint8]:
    return _rounded(weights @ square.astype(np.int64) @ weights.T, total * total)


def _area_by_bands(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    side = square.shape[0]
    edges = (
        np.arange(size + 1, dtype=np.int64) * side
    )  # of the output pixels, in 1/size source pixels
    return _rounded(_band_sums(_band_sums(square, edges, size).T, edges, size).T, side * side)


def _band_sums(values: NDArray[Any], edges: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Sums over each output pixel's rows, a row counting by its overlap in 1/size rows."""
    sums = np.empty((size, values.shape[1]), np.int64)
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        first, last = int(start) // size, (int(stop) - 1) // size
        rows = np.arange(first, last + 1, dtype=np.int64) * size
        overlap = np.minimum(rows + size, stop) - np.maximum(rows, start)
        sums[i] = overlap @ values[first : last + 1].astype(np.int64)
    return sums


def _area_by_integral(cv2: Any, square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The same sums from an integral image, whose values between pixels are linear: about ten times faster."""
    side = square.shape[0]
    whole, fraction = np.divmod(np.arange(size + 1, dtype=np.int64) * side, size)
    after = np.minimum(whole + 1, side)
    integral = cv2.integral(square)
    rows = (
        integral[whole] * (size - fraction)[:, np.newaxis]
        + integral[after] * fraction[:, np.newaxis]
    )
    both = rows[:, whole] * (size - fraction) + rows[:, after] * fraction
    return _rounded(np.diff(np.diff(both, axis=0), axis=1), side * side)


def _rounded(sums: NDArray[np.int64], total: int) -> NDArray[np.uint8]:
    return ((sums + total // 2) // total).astype(np.uint8)


def _cv2() -> Any:
    """OpenCV if something has loaded it: whoever decoded the frame usually has, and this module alone never should."""
    return sys.modules.get("cv2")
