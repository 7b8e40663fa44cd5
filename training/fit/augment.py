"""Augmentation of a whole epoch at once, seeded: an affine warp a picture in OpenCV, the rest in
NumPy.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from training.fit.recipe import Augmentation


def augmented_epoch(
    images: NDArray[np.uint8], choice: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random variants of uint8 (N, H, W, C) pictures as float32 (N, H, W, C), still 0..255."""
    count, height, width, _ = images.shape
    warps = _warps(count, (height, width), choice, rng)
    blurred = np.less(rng.random(count), choice.blur)
    out = np.empty(images.shape, np.float32)
    for i in range(count):
        picture = cv2.warpAffine(
            images[i],
            warps[i],
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        picture = cv2.GaussianBlur(picture, (3, 3), 0) if blurred[i] else picture
        out[i] = picture.reshape(out[i].shape)  # OpenCV drops a single channel
    _change_light(out, choice, rng)
    _cut_out(out, choice, rng)
    return out


def mixed(
    images: NDArray[np.float32],
    targets: NDArray[np.float32],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup (Zhang et al. 2018): pictures and targets blended with others by a Beta(alpha, alpha)
    share.
    """
    if alpha <= 0:
        return images, targets
    share = rng.beta(alpha, alpha, len(images)).astype(np.float32)
    share = np.maximum(share, 1 - share)
    other = rng.permutation(len(images))
    # In place and in chunks: an epoch of float pictures is a quarter of a gigabyte.
    result = np.empty_like(images)
    for start in range(0, len(images), 4096):
        part = slice(start, start + 4096)
        weight = share[part, np.newaxis, np.newaxis, np.newaxis]
        result[part] = images[part] * weight + images[other[part]] * (1 - weight)
    return result, targets * share[:, np.newaxis] + targets[other] * (1 - share[:, np.newaxis])


def cut_mixed(
    images: NDArray[np.float32],
    targets: NDArray[np.float32],
    alpha: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """CutMix (Yun et al. 2019): a box of another picture pasted in, of a Beta(alpha, alpha) share.

    Targets are mixed by the area that is left.
    """
    if alpha <= 0:
        return images, targets
    count, *sides = images.shape[:3]
    share = np.sqrt(1 - rng.beta(alpha, alpha, count))
    lengths = [np.round(side * share).astype(int) for side in sides]
    top, left = (
        rng.integers(0, side - length + 1) for side, length in zip(sides, lengths, strict=True)
    )
    other = rng.permutation(count)
    result = images.copy()
    for i, (height, width, y, x) in enumerate(zip(*lengths, top, left, strict=True)):
        result[i, y : y + height, x : x + width] = images[other[i], y : y + height, x : x + width]
    covered = (lengths[0] / sides[0]) * (lengths[1] / sides[1])
    kept = (1 - covered).astype(np.float32)[:, np.newaxis]
    return result, targets * kept + targets[other] * (1 - kept)


def _warps(
    count: int, size: tuple[int, int], choice: Augmentation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(count, 2, 3) affine warps of pictures of `size` (height, width)."""
    across = np.array(size[::-1], np.float64)  # x before y, as OpenCV has it
    angle = np.deg2rad(rng.normal(0, choice.rotation, count))
    zoom = 1 + rng.uniform(-choice.zoom, choice.zoom, count)
    aspect = 1 + rng.uniform(-choice.zoom, choice.zoom, count) / 3
    mirror = np.where(rng.random(count) < choice.flip, -1.0, 1.0)
    shift = rng.uniform(-choice.shift, choice.shift, (count, 2)) * across
    cosine, sine = np.cos(angle), np.sin(angle)
    warps = np.empty((count, 2, 3))
    warps[:, 0, 0], warps[:, 0, 1] = mirror * cosine * zoom * aspect, -sine * zoom
    warps[:, 1, 0], warps[:, 1, 1] = mirror * sine * zoom * aspect, cosine * zoom
    centre = (across - 1) / 2
    warps[:, :, 2] = centre + shift - warps[:, :, :2] @ centre
    return warps


def _change_light(
    images: NDArray[np.float32], choice: Augmentation, rng: np.random.Generator
) -> None:
    count = len(images)
    gain = (1 + rng.uniform(-choice.contrast, choice.contrast, count)).astype(np.float32)[
        :, None, None, None
    ]
    lift = (255 * rng.uniform(-choice.brightness, choice.brightness, count)).astype(np.float32)[
        :, None, None, None
    ]
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    images -= mean
    images *= gain
    images += mean + lift
    np.clip(images, 0, 255, out=images)


def _cut_out(images: NDArray[np.float32], choice: Augmentation, rng: np.random.Generator) -> None:
    count, *sides = images.shape[:3]
    chosen = np.flatnonzero(rng.random(count) < choice.cutout)
    largest = choice.largest_cutout(sides)
    sizes = rng.integers(4, largest + 1, (len(chosen), 2))
    corners = rng.integers(-2, sides, (len(chosen), 2))
    greys = rng.uniform(0, 255, len(chosen))
    for i, (height, width), (top, left), grey in zip(chosen, sizes, corners, greys, strict=True):
        images[i, max(top, 0) : top + height, max(left, 0) : left + width] = grey
