"""From a detector's box to the part of the frame that the network sees."""

from dataclasses import dataclass

from edgeemo.errors import InvalidInput


@dataclass(frozen=True)
class Region:
    """A rectangle in pixels of the frame; may reach beyond it."""

    left: int
    """Left edge."""
    top: int
    """Top edge."""
    width: int
    """Width, at least 1."""
    height: int
    """Height, at least 1."""


@dataclass(frozen=True)
class Crop:
    """How a detector's box becomes what training saw, in 1/1024 (Q10) so that C repeats it exactly.

    A detector owns its crop (`edgeemo.faces.Detector.crop`); a bundle may override it by the
    detector's name. The default takes the box as it is.
    """

    scale_q10: int = 1024
    """Longer side of the region over the box's longer side, 256 to 4096."""
    shift_x_q10: int = 0
    """The region's centre right of the box's, in its longer side, -1024 to 1024."""
    shift_y_q10: int = 0
    """The region's centre below the box's, in its longer side, -1024 to 1024."""

    def __post_init__(self) -> None:
        shift = max(abs(self.shift_x_q10), abs(self.shift_y_q10))
        if not 256 <= self.scale_q10 <= 4096 or shift > 1024:
            raise InvalidInput(
                "expected a crop scale of 256 to 4096 and shifts of -1024 to 1024 (Q10), "
                f"received {self}"
            )

    def region(self, box: tuple[int, int, int, int], height: int, width: int) -> Region:
        """The region for a box (x, y, width, height) and an input of `height` x `width` pixels.

        Its longer side is the box's longer side times `scale_q10` / 1024, its other side follows
        the
        input's aspect. Integers only: shifts round half up, divisions floor.
        """
        x, y, box_width, box_height = box
        side = max(1, (max(box_width, box_height) * self.scale_q10 + 512) >> 10)
        longer = max(height, width)
        across = max(1, (2 * side * width + longer) // (2 * longer))
        down = max(1, (2 * side * height + longer) // (2 * longer))
        left = x + ((box_width - across) >> 1) + ((side * self.shift_x_q10 + 512) >> 10)
        top = y + ((box_height - down) >> 1) + ((side * self.shift_y_q10 + 512) >> 10)
        return Region(left, top, across, down)


BOX = Crop()
"""The box as it is."""
