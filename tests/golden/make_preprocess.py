"""Writes preprocess.npz: drawn frames, boxes and what the contract makes of them. python -m tests.golden.make_preprocess

Run it again only when the definition changes, and change PREPROCESS_VERSION with it.
"""

from pathlib import Path

import numpy as np

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.preprocess import face_to_input

FILE = Path(__file__).with_name("preprocess.npz")
# (frame, box, detector): inside, identity, enlarged, odd sides, beyond each edge, larger than the frame.
CASES = [
    (0, (10, 5, 48, 48), "whole"), (0, (0, 0, 120, 90), "whole"), (0, (20, 11, 31, 27), "haar"),
    (0, (60, 30, 50, 55), "yunet"), (0, (-20, -10, 70, 70), "haar"), (0, (80, 50, 60, 60), "yunet"),
    (0, (-30, -30, 180, 180), "whole"), (0, (7, 9, 2, 3), "whole"), (1, (3, 4, 97, 101), "haar"),
    (1, (1, 1, 130, 129), "yunet"), (1, (100, 100, 60, 60), "whole"), (1, (0, 0, 49, 47), "haar"),
]  # fmt: skip


def frames() -> list[np.ndarray]:
    """A colour frame (90, 120, 3) and a grey one (140, 150): ramps with noise, no faces."""
    rng = np.random.default_rng(2013)
    y, x = np.mgrid[0:90, 0:120]
    colour = np.stack([2 * x, 2 * y + 40, 255 - x - y], axis=-1) + rng.integers(-30, 30, (90, 120, 3))
    y, x = np.mgrid[0:140, 0:150]
    grey = 128 + 90 * np.sin(x / 9) * np.cos(y / 7) + rng.integers(-20, 20, (140, 150))
    return [colour.clip(0, 255).astype(np.uint8), grey.clip(0, 255).astype(np.uint8)]


def main() -> None:
    """Write the file."""
    drawn = frames()
    expected = [face_to_input(drawn[i], box, DEFAULT_SPEC, detector=detector) for i, box, detector in CASES]
    np.savez_compressed(FILE, colour=drawn[0], grey=drawn[1], expected=np.stack(expected))


if __name__ == "__main__":
    main()
