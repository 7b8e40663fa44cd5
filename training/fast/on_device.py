"""Epochs whose pictures are augmented and mixed inside the compiled step, from uint8 pictures that
were sent to the device once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.fast.augment import augment, box_table, cut_mixed, draws, mixed, share_table
from training.fast.side_by_side import SideBySide
from training.fast.xla import jax, jnp
from training.fit.recipe import Recipe

DRAWS_OF_MIXING = 3  # uniform numbers a picture
_SCORED = 512


@dataclass(frozen=True)
class Order:
    """What an epoch of one network goes through."""

    seed: int
    """Of the augmentation's draws, 0 to 2**32 - 1."""
    view: int
    """The view of the pictures that is seen."""
    places: NDArray[np.int32]
    """int32 (steps, batch), rows of the pictures."""
    slots: NDArray[np.int32]
    """int32 (steps, batch), what the draws of each go by: equal ones are changed alike."""
    mixing: NDArray[np.float32]
    """float32 (steps, batch, 3), uniform draws of mixup and CutMix."""


class OnDevice:
    """Epochs of networks of one recipe but for its seed, on one device under JAX.

    Args:
        models: compiled networks of one build.
        recipe: how pictures are augmented and mixed.
        images: uint8 (n, H, W, C).
        weights: float32 (classes,), how much each class's loss weighs, or None.
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        recipe: Recipe,
        images: NDArray[np.uint8],
        weights: NDArray[np.float32] | None,
    ) -> None:
        self.networks = SideBySide(models)
        self._recipe = recipe
        self._weights = None if weights is None else jnp.asarray(weights)
        self._images = jnp.asarray(images)
        tables = share_table(recipe.mixup), box_table(recipe.cutmix)
        self._tables = [jnp.asarray(table) for table in tables]
        self._program = jax.jit(self._steps, donate_argnums=0)

    def begin(self, orders: Sequence[Order], targets: Sequence[Any], part: slice) -> list[Any]:
        """Losses (steps,) of each network, still on the device, of the steps `part` of its order;
        targets float32 (n, k) of its pictures.
        """
        given = [
            (
                (self._images, of_network),
                (np.uint32(order.seed), np.int32(order.view)),
                (order.places[part], order.slots[part], order.mixing[part]),
            )
            for order, of_network in zip(orders, targets, strict=True)
        ]
        return self.networks.advance(self._program, given)

    def view(self, seed: int, view: int) -> NDArray[np.float32]:
        """float32 (n, H, W, C): all pictures as a view shows them whose slots are their rows."""
        return np.concatenate(list(self._batches_of_view(seed, view)))

    def _batches_of_view(self, seed: int, view: int) -> Iterator[NDArray[np.float32]]:
        count = len(self._images)
        size = min(_SCORED, count)
        seen = jax.jit(lambda rows: self._seen(self._images, (np.uint32(seed), view), rows, rows))
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1).astype(np.int32)
            yield np.asarray(seen(rows))[: count - start]

    def _steps(self, state: Any, pictures: Any, stream: Any, order: Any) -> tuple[Any, Any]:
        def step(carry: Any, batch: Any) -> tuple[Any, Any]:
            loss, carry = self.networks.step_of_one(carry, self._batch(pictures, stream, batch))
            return carry, loss

        if len(order[0]) == 1:  # no loop: on a CPU XLA computes convolutions slowly inside of one
            state, loss = step(state, [part[0] for part in order])
            return loss[None], state
        state, losses = jax.lax.scan(step, state, order)
        return losses, state

    def _seen(self, images: Any, stream: Any, rows: Any, slots: Any) -> Any:
        seed, view = stream
        u = draws(jax.random.key(seed), view, slots)
        return augment(images[rows], u, self._recipe.augmentation)

    def _batch(self, pictures: Any, stream: Any, batch: Any) -> tuple[Any, Any, Any]:
        (images, targets), (rows, slots, u) = pictures, batch
        x, y = self._mixed(self._seen(images, stream, rows, slots), targets[rows], u)
        if self._weights is None:
            return x, y, None
        return x, y, y[:, : len(self._weights)] @ self._weights

    def _mixed(self, x: Any, y: Any, u: Any) -> tuple[Any, Any]:
        """Mixup, CutMix, or one for each half of the batch, which is in random order."""
        of_mixup, of_cutmix = self._tables
        if not self._recipe.cutmix:
            return mixed(x, y, u[:, 0], of_mixup)
        if not self._recipe.mixup:
            return cut_mixed(x, y, u, of_cutmix)
        half = len(x) // 2
        first = mixed(x[:half], y[:half], u[:half, 0], of_mixup)
        second = cut_mixed(x[half:], y[half:], u[half:], of_cutmix)
        return jnp.concatenate([first[0], second[0]]), jnp.concatenate([first[1], second[1]])
