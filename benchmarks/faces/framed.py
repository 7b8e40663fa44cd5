"""FER-2013's faces as a camera would see them: enlarged, inside a larger frame.

And a bundle's answers to crops.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import open_backend
from edgeemo.contract.crop import Crop
from edgeemo.contract.preprocess import resize_grey
from edgeemo.recognizer import load_bundle
from edgeemo.results import Box

ENLARGED = 192  # pixels; the side of a face in its frame
# The oval of a face that is put into another head, and its soft edge, in pixels of the enlarged
# face.
_CENTRE, _AXES, _SOFT = (96, 96), (80, 88), 8

Answers = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def framed(
    picture: NDArray[np.uint8], left: int, top: int, width: int, height: int
) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): a 48x48 grey face, ENLARGED, at (left, top) of a frame.

    FER-2013 holds nothing around its faces, so the picture's edge pixels are repeated outwards:
    streaks, not background.
    """
    enlarged = resize_grey(np.ascontiguousarray(picture), ENLARGED)
    right, bottom = width - ENLARGED - left, height - ENLARGED - top
    grey = cv2.copyMakeBorder(enlarged, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return np.repeat(np.asarray(grey, np.uint8)[:, :, np.newaxis], 3, axis=2)


def in_head(
    picture: NDArray[np.uint8],
    photo_grey: NDArray[np.uint8],
    face: Box,
    left: int,
    top: int,
    width: int,
    height: int,
) -> NDArray[np.uint8]:
    """Like `framed`, with the head of `face` in another photo, uint8 (H, W), around it.

    That is what a detector expects around a face.
    """
    scale = ENLARGED / face.width
    shift = np.array([[scale, 0, left - face.x * scale], [0, scale, top - face.y * scale]])
    grey = cv2.warpAffine(
        photo_grey, shift, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    oval = cv2.ellipse(np.zeros((ENLARGED, ENLARGED)), _CENTRE, _AXES, 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(oval, (0, 0), _SOFT)
    enlarged = resize_grey(np.ascontiguousarray(picture), ENLARGED)
    part = grey[top : top + ENLARGED, left : left + ENLARGED]
    part[:] = np.round(enlarged * mask + part * (1 - mask))
    return np.repeat(np.asarray(grey, np.uint8)[:, :, np.newaxis], 3, axis=2)


def network(model: str) -> Answers:
    """What a bundle's default artifact answers to uint8 (N, H, W, C).

    Int64 (N,), label positions.
    """
    backend = open_backend(load_bundle(model))

    def answers(faces: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.concatenate(
            [backend.infer(face[np.newaxis]).argmax(axis=1) for face in faces]
        ).astype(np.int64)

    return answers


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    both = max(0, width) * max(0, height)
    return both / (a.width * a.height + b.width * b.height - both)


def as_square(box: Box, crop: Crop) -> Box:
    """What is cut out for a detector's box."""
    region = crop.region(box.as_tuple(), 1, 1)
    return Box(region.left, region.top, region.width, region.height)
