"""What the network sees: size, crop geometry and the arithmetic of its first layer."""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeemo.contract import strict
from edgeemo.errors import InvalidInput

# Changes whenever the bytes that `face_to_input` makes from the same frame change.
PREPROCESS_VERSION = "luma15-area-bilinear/1"


@dataclass(frozen=True)
class Crop:
    """How a detector's box becomes the square that training saw, in 1/1024 (Q10) so that C repeats it exactly.

    The square's side is the box's longer side times `scale_q10` / 1024; its centre is the box's centre,
    moved right by `shift_x_q10` / 1024 and down by `shift_y_q10` / 1024 of that side.
    """

    scale_q10: int = 1024
    shift_x_q10: int = 0
    shift_y_q10: int = 0

    def __post_init__(self) -> None:
        if (
            not 256 <= self.scale_q10 <= 4096
            or max(abs(self.shift_x_q10), abs(self.shift_y_q10)) > 1024
        ):
            raise InvalidInput(
                f"expected a crop scale of 256 to 4096 and shifts of -1024 to 1024 (Q10), received {self}"
            )

    def square(self, x: int, y: int, width: int, height: int) -> tuple[int, int, int]:
        """The square's (left, top, side) in pixels for a box; integers only, shifts round half up, divisions floor."""
        side = max(1, (max(width, height) * self.scale_q10 + 512) >> 10)
        left = x + ((width - side) >> 1) + ((side * self.shift_x_q10 + 512) >> 10)
        top = y + ((height - side) >> 1) + ((side * self.shift_y_q10 + 512) >> 10)
        return left, top, side


# Medians over 1,500 FER-2013 training faces, so that a detected face fills the square as FER-2013's faces do:
# python -m benchmarks.crop_geometry (docs/preprocessing.md).
_CROPS = {"haar": Crop(scale_q10=1045), "whole": Crop(), "yunet": Crop(shift_y_q10=25)}


@dataclass(frozen=True)
class InputSpec:
    """The network's input: `height` x `width` x `channels` uint8, raw grey pixels 0..255.

    `scale` and `offset` are the first layer's own arithmetic (pixel * scale + offset); no code outside the graph
    applies them. `crops` holds the crop geometry for each detector.
    """

    height: int = 48
    width: int = 48
    channels: int = 1
    scale: float = 1 / 127.5
    offset: float = -1.0
    preprocess: str = PREPROCESS_VERSION
    crops: dict[str, Crop] = field(default_factory=lambda: dict(_CROPS))

    def __post_init__(self) -> None:
        if not (8 <= self.height <= 512 and self.height == self.width and self.channels == 1):
            raise InvalidInput(
                f"expected a square grey input of 8 to 512 pixels, received {self.height}x{self.width}x{self.channels}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one input."""
        return self.height, self.width, self.channels

    def crop_for(self, detector: str) -> Crop:
        """The crop geometry of `detector`'s boxes. Raises InvalidInput for a detector that the spec does not know."""
        try:
            return self.crops[detector]
        except KeyError:
            raise InvalidInput(
                f"expected a detector with a known crop geometry ({', '.join(sorted(self.crops))}), received {detector!r}"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return asdict(self)

    def fingerprint(self) -> str:
        """16 hex digits that differ whenever anything that the network sees differs."""
        return hashlib.sha256(strict.dumps(self.to_dict(), indent=None).encode()).hexdigest()[:16]


DEFAULT_SPEC = InputSpec()
