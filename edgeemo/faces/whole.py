"""No detection: the whole picture is one face, as in data sets of cropped faces."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import BOX
from edgeemo.faces import DetectorOptions
from edgeemo.results import Box


class Whole:
    """Gives one box, the frame itself."""

    name = "whole"
    crop = BOX

    def __init__(self, options: DetectorOptions = DetectorOptions()) -> None:  # noqa: B008  frozen
        pass

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        """One box of the size of uint8 (H, W, 3) RGB."""
        return [Box(0, 0, frame_rgb.shape[1], frame_rgb.shape[0])]
