"""How a camera or picture stands, and where in it faces are looked for."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import InvalidInput

TURNS = (0, 90, 180, 270)  # degrees, clockwise


@dataclass(frozen=True)
class View:
    """What is done to each frame before anything else sees it, and where faces are looked for.

    Frames are first rotated, then flipped, then mirrored; all boxes are in the frame that comes
    out.

    Raises:
        InvalidInput: another angle, a flip or mirror that is no bool, or a region that is not
            within the frame.
    """

    rotate: int = 0
    """Degrees by which frames are turned clockwise: 0, 90, 180 or 270."""
    flip: bool = False
    """Whether top and bottom change places."""
    mirror: bool = False
    """Whether left and right change places."""
    region: tuple[float, float, float, float] | None = None
    """Left edge, top edge, width and height of the part in which faces are looked for, in shares of
    the frame (0..1), as any sequence or array of four numbers, kept as a tuple; None: all of it.
    The detector sees that part alone."""

    def __post_init__(self) -> None:
        if not isinstance(self.rotate, numbers.Real) or self.rotate not in TURNS:
            raise InvalidInput(
                f"expected a rotation of 0, 90, 180 or 270 degrees; received {self.rotate!r}"
            )
        for name, value in (("flip", self.flip), ("mirror", self.mirror)):
            if not isinstance(value, bool | np.bool_):
                raise InvalidInput(f"expected {name} True or False; received {value!r}")
        object.__setattr__(self, "rotate", int(self.rotate))
        if self.region is not None:
            object.__setattr__(self, "region", _checked_region(self.region))

    @property
    def turns(self) -> bool:
        """Whether `turned` changes anything."""
        return bool(self.rotate or self.flip or self.mirror)

    def turned(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (H, W, 3), or (H, W), as it should stand; the array itself if nothing is to do."""
        if not self.turns:
            return pixels
        stood = np.rot90(pixels, -self.rotate // 90)  # counts against the clock
        stood = stood[::-1] if self.flip else stood
        return np.ascontiguousarray(stood[:, ::-1] if self.mirror else stood)

    def inside(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The region in pixels of a frame: left, top, width and height, at least one each."""
        x, y, w, h = self.region or (0.0, 0.0, 1.0, 1.0)
        left = min(math.floor(x * width + 1e-6), width - 1)
        top = min(math.floor(y * height + 1e-6), height - 1)
        right = min(width, max(left + 1, math.ceil((x + w) * width - 1e-6)))
        bottom = min(height, max(top + 1, math.ceil((y + h) * height - 1e-6)))
        return left, top, right - left, bottom - top


def _checked_region(
    region: Sequence[float] | NDArray[np.floating],
) -> tuple[float, float, float, float]:
    try:
        # Numbers alone, in an order that is meant: no text's digits, no set's or mapping's keys.
        if isinstance(region, Sequence | np.ndarray) and not isinstance(region, str | bytes):
            x, y, width, height = (float(share) for share in region if not isinstance(share, str))
            # A share that was rounded up, such as .3333 + .6667, is not beyond the edge.
            fits = x >= 0 and y >= 0 and x + width <= 1.0001 and y + height <= 1.0001
            if fits and width > 0 and height > 0:
                return x, y, width, height
    except (ArithmeticError, TypeError, ValueError):
        pass
    raise InvalidInput(
        "expected a region x, y, width, height in shares of the frame, within 0 to 1, such as "
        f"0.25,0,0.5,1; received {region!r}"
    )


AS_IT_IS = View()
"""Nothing is turned, and faces are looked for everywhere."""
