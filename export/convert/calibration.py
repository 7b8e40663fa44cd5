"""The representative data set: real training faces, drawn by class, plus the two ends of the pixel range."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError

PER_CLASS = 72  # 504 faces: ranges of `small` move by less than 1 % when they are doubled (docs/quantization.md)
SPLIT = "train"


def calibration_set(data: Prepared, seed: int) -> NDArray[np.uint8]:
    """uint8 (N, 48, 48, 1): `PER_CLASS` training faces of each class, and an all-0 and an all-255 picture.

    The two ends make the int8 input scale exactly 1 and its zero point -128.

    Raises:
        DataError: the train split lacks a class.
    """
    rows = data.indices(SPLIT)
    rng = np.random.default_rng(seed)
    chosen: list[NDArray[np.int64]] = []
    for number, label in enumerate(LABELS):
        of_class = rows[data.labels[rows] == number]
        if not len(of_class):
            raise DataError(
                f"{data.path}: no {label} picture in the train split to calibrate with; prepare data with all seven classes"
            )
        chosen.append(rng.choice(of_class, min(PER_CLASS, len(of_class)), replace=False))
    faces = data.images[np.sort(np.concatenate(chosen))]
    ends = np.stack([np.zeros_like(faces[0]), np.full_like(faces[0], 255)])
    return np.concatenate([faces, ends])


def thinned(calibration: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """At least `count` pictures of a calibration set, or all where it holds fewer, evenly over it and so over the rows."""
    return calibration[:: max(1, len(calibration) // count)]


def pixels_sha256(pictures: NDArray[np.uint8]) -> str:
    """sha256 of the pictures' pixels."""
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()
