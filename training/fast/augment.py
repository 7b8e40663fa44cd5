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
    """Random variants of pictures (n, S, S) uint8 by draws `u` (n, 15), as float32 (n, S, S, 1) in
    0..255.
    """
    x = warped(pictures, *_geometry(u, choice, pictures.shape[1]))
    blurred = (u[:, 6] < choice.blur)[:, None, None]
    x = jnp.where(blurred, jnp.round(_blurred(x)), x)
    x = _lit(x, u, choice)
    return _cut_out(x, u, choice)[..., None]


def warped(pictures: Any, along: Any, shift: Any) -> Any:
    """Pictures (n, S, S) uint8 with the inverse of `along` (n, 2, 2) around the centre and moved by
    `shift` (n, 2) pixels.

    Rounded to whole greys 0..255, float32; bilinear, the edge goes on outside, as OpenCV's
    warpAffine does it.
    """
    count, side = pictures.shape[0], pictures.shape[1]
    centre = (side - 1) / 2
    across = jnp.arange(side, dtype=jnp.float32) - centre
    dx = across[None, None, :] - shift[:, 0, None, None]
    dy = across[None, :, None] - shift[:, 1, None, None]
    a = along[:, :, :, None, None]
    x = jnp.clip(a[:, 0, 0] * dx + a[:, 0, 1] * dy + centre, 0, side - 1)
    y = jnp.clip(a[:, 1, 0] * dx + a[:, 1, 1] * dy + centre, 0, side - 1)
    left = jnp.clip(jnp.floor(x), 0, side - 2)
    top = jnp.clip(jnp.floor(y), 0, side - 2)
    fx, fy = x - left, y - top
    first = (top * side + left).astype(jnp.int32).reshape(count, -1)
    # Four neighbours in one number, so that a pixel is looked up once and not four times.
    wide = jnp.pad(pictures, ((0, 0), (0, 1), (0, 1))).astype(jnp.uint32)
    upper_two = wide[:, :-1, :-1] | wide[:, :-1, 1:] << 8
    packed = upper_two | wide[:, 1:, :-1] << 16 | wide[:, 1:, 1:] << 24
    found = jnp.take_along_axis(packed.reshape(count, -1), first, axis=1).reshape(x.shape)

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
    if alpha <= 0:
        return np.ones(_TABLE, np.float32)
    quantiles = 0.5 + 0.5 * np.linspace(0, 1, _TABLE)
    return np.asarray(stats.beta.ppf(quantiles, alpha, alpha), np.float32)


def mixed(x: Any, targets: Any, u: Any, table: Any) -> tuple[Any, Any]:
    """Mixup of a batch in random order: each picture (n, S, S, 1) and target (n, k) with that of
    its neighbour.

    `u` (n,) are uniform draws, `table` comes from `share_table`.
    """
    place = u * (len(table) - 1)
    low = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, len(table) - 2)
    share = table[low] + (table[low + 1] - table[low]) * (place - low)
    weight = share[:, None, None, None]
    blend = x * weight + jnp.roll(x, 1, axis=0) * (1 - weight)
    return blend, targets * share[:, None] + jnp.roll(targets, 1, axis=0) * (1 - share[:, None])


def _geometry(u: Any, choice: Augmentation, side: int) -> tuple[Any, Any]:
    """Where each pixel comes from: matrices (n, 2, 2) from destination to source, and shifts (n, 2)
    in pixels.
    """
    normal = jax.scipy.special.ndtri(jnp.clip(u[:, 0], 1e-6, 1 - 1e-6))
    angle = jnp.deg2rad(normal * choice.rotation)
    zoom = 1 + choice.zoom * (2 * u[:, 1] - 1)
    aspect = 1 + choice.zoom * (2 * u[:, 2] - 1) / 3
    mirror = jnp.where(u[:, 3] < choice.flip, -1.0, 1.0)
    shift = choice.shift * side * (2 * u[:, 4:6] - 1)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    first = jnp.stack([cosine, sine], axis=1) / (mirror * aspect * zoom)[:, None]
    second = jnp.stack([-sine, cosine], axis=1) / zoom[:, None]
    return jnp.stack([first, second], axis=1), shift


def _blurred(x: Any) -> Any:
    """(n, S, S) under OpenCV's 3x3 Gaussian, (1, 2, 1) / 4 each way, reflected at the edge."""
    for axis in (1, 2):
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[axis] = (1, 1)
        wide = jnp.pad(x, pad, mode="reflect")
        size = x.shape[axis]
        parts = [jax.lax.slice_in_dim(wide, i, i + size, axis=axis) for i in range(3)]
        x = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return x


def _lit(x: Any, u: Any, choice: Augmentation) -> Any:
    gain = (1 + choice.contrast * (2 * u[:, 7] - 1))[:, None, None]
    lift = (255 * choice.brightness * (2 * u[:, 8] - 1))[:, None, None]
    mean = x.mean(axis=(1, 2), keepdims=True)
    return jnp.clip((x - mean) * gain + mean + lift, 0, 255)


def _cut_out(x: Any, u: Any, choice: Augmentation) -> Any:
    side = x.shape[1]
    size = 4 + jnp.floor(u[:, 10:12] * (choice.cutout_side - 3))
    start = jnp.floor(u[:, 12:14] * (side + 2)) - 2
    end = start + size
    place = jnp.arange(side)
    inside = (place >= start[:, :, None]) & (place < end[:, :, None])
    chosen = (u[:, 9] < choice.cutout)[:, None, None]
    patch = inside[:, 0, :, None] & inside[:, 1, None, :] & chosen
    return jnp.where(patch, (255 * u[:, 14])[:, None, None], x)
