"""The representative data set: training faces, drawn by class, plus the ends of the pixel range."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.quantize import scaled_pixels
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError

# 72 of each of seven classes: when they are doubled, ranges of `small` move by less than 1 %
# (docs/quantization.md).
FACES = 504
SPLIT = "train"
# (1, 256): a model that scales its pixels itself takes them as they are, in every channel.
RAW_PIXELS = scaled_pixels(DEFAULT_SPEC)


def faces_per_class(classes: int) -> int:
    """How many training faces of each of `classes` classes are drawn: FACES in equal parts."""
    return -(-FACES // classes)


def calibration_set(data: Prepared, seed: int) -> NDArray[np.uint8]:
    """uint8 (N, H, W, C): about FACES training faces, as many of each class, and two flat pictures.

    Those of 0 and of 255 make the int8 input scale exactly 1 and its zero point -128.

    Raises:
        DataError: the train split lacks a class.
    """
    rows = data.indices(SPLIT)
    rng = np.random.default_rng(seed)
    wanted = faces_per_class(len(data.class_names))
    chosen: list[NDArray[np.int64]] = []
    for number, label in enumerate(data.class_names):
        of_class = rows[data.labels[rows] == number]
        if not len(of_class):
            raise DataError(
                f"{data.path}: no {label} picture in the train split to calibrate with; "
                f"prepare data with all {len(data.class_names)} classes"
            )
        chosen.append(rng.choice(of_class, min(wanted, len(of_class)), replace=False))
    return with_ends(data.images[np.sort(np.concatenate(chosen))])


def with_ends(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (N + FLAT_PICTURES, H, W, C): the pictures, and a flat one of 0 and of 255, which make
    all pixels fit the input's range.
    """
    ends = np.stack([np.zeros_like(pictures[0]), np.full_like(pictures[0], 255)])
    return np.concatenate([pictures, ends])


def thinned(calibration: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """At least `count` pictures of a calibration set, or all, evenly over it and so its rows."""
    return calibration[:: max(1, len(calibration) // count)]


def pixels_sha256(pictures: NDArray[np.uint8]) -> str:
    """sha256 of the pictures' pixels."""
    return hashlib.sha256(np.ascontiguousarray(pictures).tobytes()).hexdigest()
