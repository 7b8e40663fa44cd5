"""Writes the golden vectors of `face_to_input`: python -m tests.golden.make_preprocess

preprocess.npz holds those of the shipped models' 48x48 grey, preprocess_shapes.npz those of other
inputs. The frames are drawn or random, never faces. The files pin the bytes: write them again only
when the definition itself changes, together with PREPROCESS_VERSION. They were written on x86-64
without OpenCV loaded.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.crop import Crop
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.preprocess import face_to_input

PATH = Path(__file__).with_name("preprocess.npz")
SHAPES_PATH = Path(__file__).with_name("preprocess_shapes.npz")

Box = tuple[int, int, int, int]

# As the detectors had them when the vectors were written.
CROPS = {
    "whole": Crop(),
    "haar": Crop(scale_q10=1045),
    "yunet": Crop(shift_y_q10=25),
}

# (frame, (x, y, width, height), crop)
CASES: list[tuple[str, Box, str]] = [
    # A little larger than the input: fractional areas; higher than the frame.
    ("noise", (0, 0, 53, 37), "whole"),
    ("noise", (12, 3, 20, 20), "whole"),  # enlarged
    ("noise", (-9, -7, 31, 30), "yunet"),  # beyond the upper left corner
    ("noise", (40, 20, 30, 45), "haar"),  # beyond the lower right corner
    ("noise", (52, 36, 1, 1), "whole"),  # one pixel
    ("drawn", (0, 0, 160, 120), "whole"),
    ("drawn", (20, 10, 96, 96), "whole"),  # exactly 2:1
    ("drawn", (33, 21, 71, 83), "haar"),
    ("drawn", (33, 21, 71, 83), "yunet"),
    ("drawn", (-300, -200, 600, 500), "yunet"),  # nearly four times the frame
    ("grey", (0, 0, 48, 48), "whole"),  # as it is
    ("grey", (5, 9, 33, 21), "haar"),
    ("grey", (-20, 30, 49, 49), "whole"),
]

# (height, width, channels), and a case as above
SHAPES: list[tuple[tuple[int, int, int], str, Box, str]] = [
    ((64, 40, 1), "drawn", (20, 10, 96, 96), "whole"),  # shrunk on both axes
    ((64, 40, 1), "noise", (4, 2, 30, 40), "haar"),  # enlarged on both axes
    ((40, 64, 1), "drawn", (-10, 50, 90, 80), "yunet"),
    ((96, 9, 1), "noise", (-3, -2, 90, 60), "whole"),  # 90x8: enlarged
    ((9, 96, 1), "grey", (0, 0, 48, 48), "haar"),
    ((96, 96, 3), "drawn", (20, 10, 96, 96), "whole"),  # as it is
    ((96, 96, 3), "drawn", (33, 21, 71, 83), "haar"),
    ((112, 96, 3), "drawn", (0, 0, 160, 120), "yunet"),
    ((16, 12, 3), "noise", (0, 0, 53, 37), "whole"),  # every pixel of its own colour
    ((16, 12, 3), "noise", (12, 3, 9, 7), "yunet"),
    ((16, 12, 3), "grey", (5, 9, 33, 21), "haar"),  # three equal channels
    # The sides follow the input's aspect, so that at most one axis is enlarged while the other is
    # taken as it is, by rounding.
    ((8, 512, 1), "drawn", (0, 0, 511, 3), "whole"),
    ((17, 8, 1), "noise", (7, 5, 16, 3), "whole"),
    ((11, 8, 3), "noise", (7, 5, 10, 10), "whole"),
]


@dataclass(frozen=True)
class GoldenCase:
    """A frame, a face's box, and the bytes that they must become."""

    frame: NDArray[np.uint8]
    """(H, W, 3) RGB or (H, W) grey."""
    box: Box
    """(x, y, width, height)."""
    crop: Crop
    """How the box becomes a region."""
    spec: InputSpec
    """What the network takes."""
    output: NDArray[np.uint8]
    """(height, width, channels) of the spec."""


def frames() -> dict[str, NDArray[np.uint8]]:
    """uint8 frames by name: random colour (37, 53, 3), rings and bars (120, 160, 3), random grey
    (48, 48)."""
    rng = np.random.default_rng(20240229)
    y, x = np.indices((120, 160))
    drawn = np.empty((120, 160, 3), np.uint8)
    drawn[..., 0] = (x * 255) // 159
    drawn[..., 1] = ((x - 80) ** 2 + (y - 60) ** 2) // 48
    drawn[..., 2] = 255 * ((x // 10 + y // 7) % 2)
    return {
        "noise": rng.integers(0, 256, (37, 53, 3), dtype=np.uint8),
        "drawn": drawn,
        "grey": rng.integers(0, 256, (48, 48), dtype=np.uint8),
    }


def golden_cases() -> list[GoldenCase]:
    """What both files hold."""
    with np.load(PATH, allow_pickle=False) as stored:
        arrays: dict[str, NDArray[Any]] = dict(stored)
    with np.load(SHAPES_PATH, allow_pickle=False) as stored:
        more: dict[str, NDArray[Any]] = dict(stored)
    rows = [*zip(*(arrays[key] for key in ("names", "boxes", "detectors", "outputs")), strict=True)]
    ends = np.cumsum(np.prod(more["shapes"], axis=1))
    parts = np.split(more["outputs"], ends[:-1])
    outputs = [part.reshape(shape) for part, shape in zip(parts, more["shapes"], strict=True)]
    rows += zip(more["names"], more["boxes"], more["crops"], outputs, strict=True)
    return [
        GoldenCase(
            frame=arrays[f"frame_{name}"],
            box=tuple(map(int, box)),
            crop=CROPS[str(crop)],
            spec=InputSpec(*output.shape),
            output=output,
        )
        for name, box, crop, output in rows
    ]


def main() -> None:
    assert "cv2" not in sys.modules
    made = frames()
    outputs = [
        face_to_input(made[name], box, DEFAULT_SPEC, CROPS[crop]) for name, box, crop in CASES
    ]
    np.savez_compressed(
        PATH,
        names=np.array([name for name, _, _ in CASES]),
        boxes=np.array([box for _, box, _ in CASES], np.int64),
        detectors=np.array([crop for _, _, crop in CASES]),
        outputs=np.stack(outputs),
        allow_pickle=False,
        **{f"frame_{name}": frame for name, frame in made.items()},
    )
    shaped = [
        face_to_input(made[name], box, InputSpec(*shape), CROPS[crop])
        for shape, name, box, crop in SHAPES
    ]
    np.savez_compressed(
        SHAPES_PATH,
        shapes=np.array([shape for shape, _, _, _ in SHAPES], np.int64),
        names=np.array([name for _, name, _, _ in SHAPES]),
        boxes=np.array([box for _, _, box, _ in SHAPES], np.int64),
        crops=np.array([crop for _, _, _, crop in SHAPES]),
        outputs=np.concatenate([output.ravel() for output in shaped]),
        allow_pickle=False,
    )


if __name__ == "__main__":
    main()
