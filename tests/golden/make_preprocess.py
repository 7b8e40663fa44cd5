"""Writes preprocess.npz, the golden vectors of `face_to_input`: python -m tests.golden.make_preprocess

The frames are drawn or random, never faces. The file pins the bytes: write it again only when the definition itself
changes, together with PREPROCESS_VERSION. It was written on x86-64 without OpenCV loaded.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.preprocess import face_to_input

PATH = Path(__file__).with_name("preprocess.npz")

# (frame, (x, y, width, height), detector)
CASES: list[tuple[str, tuple[int, int, int, int], str]] = [
    (
        "noise",
        (0, 0, 53, 37),
        "whole",
    ),  # a little larger than the input: fractional areas; higher than the frame
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


def frames() -> dict[str, NDArray[np.uint8]]:
    """uint8 frames by name: random colour (37, 53, 3), rings and bars (120, 160, 3), random grey (48, 48)."""
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


def main() -> None:
    assert "cv2" not in sys.modules
    made = frames()
    outputs = np.stack(
        [face_to_input(made[name], box, detector=detector) for name, box, detector in CASES]
    )
    np.savez_compressed(
        PATH,
        names=np.array([name for name, _, _ in CASES]),
        boxes=np.array([box for _, box, _ in CASES], np.int64),
        detectors=np.array([detector for _, _, detector in CASES]),
        outputs=outputs,
        allow_pickle=False,
        **{f"frame_{name}": frame for name, frame in made.items()},
    )


if __name__ == "__main__":
    main()
