"""The augmentation of `training.fit.augment` inside the compiled step: the same distributions,
other draws.

Every picture has its own random numbers, which depend on the view and on the picture's place in
the list alone. So any batch of a view can be made again, by whoever has to score it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.fast.xla import jax, jnp
from training.fit.recipe import Augmentation

DRAWS = 15  # uniform numbers a picture
_TABLE = 1025


def draws(key: Any, view: Any, slots: Any) -> Any:
    """float32 (n, 15) in 0..1: the random numbers of the pictures at places `slots` (n,) in view
    `view`.
    """
    of_view = jax.random.fold_in(key, view)
    keys = jax.vmap(lambda slot: jax.random.fold_in(of_view, slot))(slots)
    return jax.vmap(lambda one: jax.random.uniform(one, (DRAWS,)))(keys)


def augment(pictures: Any, u: Any, choice: Augmentation) -> Any:
    """Random variants of pictures (n, H, W, C) uint8 by draws `u` (n, 15), as float32 of that shape
    in 0..255.
    """
    height, width = pictures.shape[1:3]
    x = warped(pictures, *_geometry(u, choice, (width, height)))
    blurred = (u[:, 6] < choice.blur)[:, None, None, None]
    x = jnp.where(blurred, jnp.round(_blurred(x)), x)
    return _cut_out(_lit(x, u, choice), u, choice)


def warped(pictures: Any, along: Any, shift: Any) -> Any:
    """Pictures (n, H, W, C) uint8 with the inverse of `along` (n, 2, 2) around the centre and moved
    by `shift` (n, 2) pixels, x before y.

    Rounded to whole greys 0..255, float32; bilinear, the edge goes on outside, as OpenCV's
    warpAffine does it.
    """
    count, height, width, channels = pictures.shape
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    across = jnp.arange(width, dtype=jnp.float32) - middle_x
    down = jnp.arange(height, dtype=jnp.float32) - middle_y
    dx = across[None, None, :] - shift[:, 0, None, None]
    dy = down[None, :, None] - shift[:, 1, None, None]
    a = along[:, :, :, None, None]
    x = jnp.clip(a[:, 0, 0] * dx + a[:, 0, 1] * dy + middle_x, 0, width - 1)
    y = jnp.clip(a[:, 1, 0] * dx + a[:, 1, 1] * dy + middle_y, 0, height - 1)
    left = jnp.clip(jnp.floor(x), 0, width - 2)
    top = jnp.clip(jnp.floor(y), 0, height - 2)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    first = (top * width + left).astype(jnp.int32).reshape(count, -1, 1)
    # Four neighbours in one number, so that a pixel is looked up once and not four times.
    wide = jnp.pad(pictures, ((0, 0), (0, 1), (0, 1), (0, 0))).astype(jnp.uint32)
    upper_two = wide[:, :-1, :-1] | wide[:, :-1, 1:] << 8
    packed = upper_two | wide[:, 1:, :-1] << 16 | wide[:, 1:, 1:] << 24
    found = jnp.take_along_axis(packed.reshape(count, -1, channels), first, axis=1)
    found = found.reshape(pictures.shape)

    def neighbour(number: int) -> Any:
        return (found >> 8 * number & 255).astype(jnp.float32)

    upper = neighbour(0) * (1 - fx) + neighbour(1) * fx
    lower = neighbour(2) * (1 - fx) + neighbour(3) * fx
    return jnp.round(upper * (1 - fy) + lower * fy)


def share_table(alpha: float) -> NDArray[np.float32]:
    """float32 (1025,): quantiles of the larger share of two pictures under Beta(alpha, alpha); all
    1 for alpha 0.

    `mixed` draws from it. Sampling a Beta distribution takes a loop of its own on a GPU.
    """
    return _quantiles(alpha, 0.5)


def box_table(alpha: float) -> NDArray[np.float32]:
    """float32 (1025,): quantiles of the share of a picture that CutMix leaves under Beta(alpha,
    alpha); all 1 for alpha 0. `cut_mixed` draws from it.
    """
    return _quantiles(alpha, 0.0)


def mixed(x: Any, targets: Any, u: Any, table: Any) -> tuple[Any, Any]:
    """Mixup of a batch in random order: each picture (n, H, W, C) and target (n, k) with that of
    its neighbour.

    `u` (n,) are uniform draws, `table` comes from `share_table`.
    """
    share = _drawn(u, table)
    weight = share[:, None, None, None]
    blend = x * weight + jnp.roll(x, 1, axis=0) * (1 - weight)
    return blend, _shared(targets, share)


def cut_mixed(x: Any, targets: Any, u: Any, table: Any) -> tuple[Any, Any]:
    """CutMix of a batch in random order: a box of its neighbour in each picture (n, H, W, C), and
    targets (n, k) by the area that is left, as `training.fit.augment.cut_mixed` has it.

    `u` (n, 3) are uniform draws, `table` comes from `box_table`.
    """
    sides = jnp.asarray(x.shape[1:3], jnp.float32)
    lengths = jnp.round(sides * jnp.sqrt(1 - _drawn(u[:, 0], table))[:, None])
    start = jnp.floor(u[:, 1:3] * (sides - lengths + 1))
    inside = _box(start, start + lengths, x.shape[1:3])
    blend = jnp.where(inside[..., None], jnp.roll(x, 1, axis=0), x)
    return blend, _shared(targets, 1 - (lengths / sides).prod(axis=1))


def _quantiles(alpha: float, start: float) -> NDArray[np.float32]:
    if alpha <= 0:
        return np.ones(_TABLE, np.float32)
    quantiles = start + (1 - start) * np.linspace(0, 1, _TABLE)
    return np.asarray(stats.beta.ppf(quantiles, alpha, alpha), np.float32)


def _drawn(u: Any, table: Any) -> Any:
    place = u * (len(table) - 1)
    low = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, len(table) - 2)
    return table[low] + (table[low + 1] - table[low]) * (place - low)


def _shared(targets: Any, share: Any) -> Any:
    return targets * share[:, None] + jnp.roll(targets, 1, axis=0) * (1 - share[:, None])


def _box(start: Any, end: Any, sides: tuple[int, ...]) -> Any:
    """bool (n, H, W): from `start` to before `end`, (n, 2) each, rows first."""
    rows, columns = (
        (jnp.arange(side) >= start[:, i : i + 1]) & (jnp.arange(side) < end[:, i : i + 1])
        for i, side in enumerate(sides)
    )
    return rows[:, :, None] & columns[:, None, :]


def _geometry(u: Any, choice: Augmentation, size: tuple[int, int]) -> tuple[Any, Any]:
    """Where each pixel of pictures of `size` (width, height) comes from: matrices (n, 2, 2) from
    destination to source, and shifts (n, 2) in pixels.
    """
    normal = jax.scipy.special.ndtri(jnp.clip(u[:, 0], 1e-6, 1 - 1e-6))
    angle = jnp.deg2rad(normal * choice.rotation)
    zoom = 1 + choice.zoom * (2 * u[:, 1] - 1)
    aspect = 1 + choice.zoom * (2 * u[:, 2] - 1) / 3
    mirror = jnp.where(u[:, 3] < choice.flip, -1.0, 1.0)
    shift = choice.shift * jnp.asarray(size, jnp.float32) * (2 * u[:, 4:6] - 1)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    first = jnp.stack([cosine, sine], axis=1) / (mirror * aspect * zoom)[:, None]
    second = jnp.stack([-sine, cosine], axis=1) / zoom[:, None]
    return jnp.stack([first, second], axis=1), shift


def _blurred(x: Any) -> Any:
    """(n, H, W, C) under OpenCV's 3x3 Gaussian, (1, 2, 1) / 4 each way, reflected at the edge."""
    for axis in (1, 2):
        pad = [(0, 0)] * 4
        pad[axis] = (1, 1)
        wide = jnp.pad(x, pad, mode="reflect")
        size = x.shape[axis]
        parts = [jax.lax.slice_in_dim(wide, i, i + size, axis=axis) for i in range(3)]
        x = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return x


def _lit(x: Any, u: Any, choice: Augmentation) -> Any:
    gain = (1 + choice.contrast * (2 * u[:, 7] - 1))[:, None, None, None]
    lift = (255 * choice.brightness * (2 * u[:, 8] - 1))[:, None, None, None]
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return jnp.clip((x - mean) * gain + mean + lift, 0, 255)


def _cut_out(x: Any, u: Any, choice: Augmentation) -> Any:
    sides = x.shape[1:3]
    size = 4 + jnp.floor(u[:, 10:12] * (choice.largest_cutout(sides) - 3))
    start = jnp.floor(u[:, 12:14] * (jnp.asarray(sides, jnp.float32) + 2)) - 2
    chosen = (u[:, 9] < choice.cutout)[:, None, None]
    patch = (_box(start, start + size, sides) & chosen)[..., None]
    return jnp.where(patch, (255 * u[:, 14])[:, None, None, None], x)
