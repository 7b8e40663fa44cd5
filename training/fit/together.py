"""Passes of networks over their training faces at once, under Keras on JAX: the pictures are made
on the host for each step, or on the device inside of it.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from training.fit.balance import balanced_rows
from training.fit.diverged import Diverged
from training.fit.loop import (
    Faces,
    diverged,
    enough_memory,
    epoch_of,
    restart_average,
    steps_per_epoch,
)
from training.fit.recipe import Recipe
from workstation.progress import counted

_Epoch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]
_STEPS = 64  # of one call on an accelerator, after which the losses of the call before are seen
_OF_ORDER = 2  # apart from the streams of epochs and views on the host


@dataclass(frozen=True, eq=False)  # one is the same as itself alone: arrays have no one answer
class Learner:
    """A network that is fitted beside others."""

    model: keras.Model
    """The compiled network."""
    recipe: Recipe
    """How it is fitted; those of one group differ in their seeds alone."""
    faces: Faces
    """What it is fitted to."""
    title: str = ""
    """Before each of its lines, where several are fitted at once."""


class Together(Protocol):
    """Learners of one group, and where their pictures are made."""

    learners: Sequence[Learner]
    """The learners."""
    size: int
    """Gradient steps of one call."""

    def ready(self, epoch: int) -> None:
        """Take the networks' variables as they are, and what an epoch goes through."""

    def begin(self, part: slice) -> list[Any]:
        """Losses (steps,) of each, not yet waited for, of these steps of the epoch."""

    def scatter(self) -> None:
        """Give the networks' variables what the steps made of them."""


def together_of(learners: Sequence[Learner]) -> Together:
    """The learners with their pictures made where their recipe says."""
    kind = _Device if learners[0].recipe.pipeline == "device" else _Host
    return kind(learners)


def fit_together(
    together: Together, epoch: int, note: str = "", title: str = "epoch"
) -> list[float]:
    """One pass of each over its training faces; their mean losses.

    Under a `title` it says how far it is, with `note` at the end of that line.

    Raises:
        Diverged: the loss of one is no number.
        RunError: the device's memory is full.
    """
    learners = together.learners
    recipe, faces = learners[0].recipe, learners[0].faces
    steps = steps_per_epoch(recipe, len(faces.images), len(faces.class_names))
    several = f" of {len(learners)} seeds" if len(learners) > 1 else ""
    whole = f"{title} {epoch + 1}/{recipe.epochs}{several}"
    losses: list[list[NDArray[np.float32]]] = []

    def see(begun: tuple[int, list[Any]]) -> None:
        losses.append(_checked(begun[1], learners, epoch, begun[0], steps))

    begun: tuple[int, list[Any]] | None = None
    with enough_memory(recipe, "--one-by-one, or " if several else ""):
        together.ready(epoch)
        for step in counted(range(steps), whole, "steps", note=note, shown=bool(title)):
            if step % together.size:
                continue  # begun with the step before
            # The steps before are looked at while these are computed.
            before = begun
            begun = step, together.begin(slice(step, min(step + together.size, steps)))
            if before:
                see(before)
        if begun:
            see(begun)
        together.scatter()
    if epoch < recipe.warmup_epochs:
        for learner in learners:
            restart_average(learner.model)
    return [float(np.concatenate(of_one).mean()) for of_one in zip(*losses, strict=True)]


@contextmanager
def named(learner: Learner) -> Iterator[None]:
    """Inside, a training that comes to nothing is said by its title."""
    try:
        yield
    except Diverged as error:
        raise Diverged(f"{learner.title}{error}") from None


class _Host:
    """Each step's pictures come from the host, where an epoch of them is made before."""

    size = 1

    def __init__(self, learners: Sequence[Learner]) -> None:
        from training.fast.side_by_side import SideBySide  # JAX, which other backends lack

        self.learners = learners
        self._networks = SideBySide([learner.model for learner in learners])
        self._epochs: list[_Epoch] = []

    def ready(self, epoch: int) -> None:
        """See Together."""
        with ThreadPoolExecutor(len(self.learners)) as pool:  # OpenCV and NumPy let others compute
            self._epochs = list(
                pool.map(lambda one: epoch_of(one.recipe, epoch, one.faces), self.learners)
            )
        self._networks.gather()

    def begin(self, part: slice) -> list[Any]:
        """See Together."""
        batch = self.learners[0].recipe.batch_size
        rows = slice(part.start * batch, part.stop * batch)
        return [
            loss[None]
            for loss in self._networks.step(
                [(x[rows], y[rows], None if w is None else w[rows]) for x, y, w in self._epochs]
            )
        ]

    def scatter(self) -> None:
        """See Together."""
        self._networks.scatter()
        self._epochs = []


class _Device:
    """The pictures lie on the device and are augmented inside of each step."""

    def __init__(self, learners: Sequence[Learner]) -> None:
        from training.fast.on_device import OnDevice
        from training.fast.xla import jax

        self.learners = learners
        first = learners[0]
        models = [learner.model for learner in learners]
        self._pictures = OnDevice(models, first.recipe, first.faces.images, first.faces.weights)
        self._targets: dict[tuple[int, int], Any] = {}
        self._orders: list[Any] = []
        self._seen: list[Any] = []
        self.size = 1 if jax.default_backend() == "cpu" else _STEPS

    def ready(self, epoch: int) -> None:
        """See Together."""
        self._orders = [order_of(one.recipe, epoch, one.faces) for one in self.learners]
        self._seen = [self._targets_of(i, order.view) for i, order in enumerate(self._orders)]
        self._pictures.networks.gather()

    def begin(self, part: slice) -> list[Any]:
        """See Together."""
        return self._pictures.begin(self._orders, self._seen, part)

    def scatter(self) -> None:
        """See Together."""
        self._pictures.networks.scatter()

    def _targets_of(self, number: int, view: int) -> Any:
        """The targets of a learner, on the device; with the teachers' scores of the view behind
        them, where teachers are still to be asked.
        """
        from training.fast.xla import jnp

        one = self.learners[number]
        key = number, view if one.faces.teachers else 0
        if key not in self._targets:
            values = one.faces.targets
            if one.faces.teachers:
                seen = self._pictures.view(one.recipe.seed, view)
                values = np.concatenate(
                    [values, one.faces.teachers.view_scores(view, seen)], axis=1
                )
            self._targets[key] = jnp.asarray(values)
        return self._targets[key]


def order_of(recipe: Recipe, epoch: int, faces: Faces) -> Any:
    """What an epoch on the device goes through: drawn on the host, the same on every machine."""
    from training.fast.on_device import DRAWS_OF_MIXING, Order

    rng = np.random.default_rng([recipe.seed, epoch, _OF_ORDER])
    rows = np.arange(len(faces.images))
    if recipe.balance:
        rows = balanced_rows(faces.labels, recipe.balance, faces.class_names, rng)
    order = rng.permutation(rows)
    steps = steps_per_epoch(recipe, len(faces.images), len(faces.class_names))
    shape = steps, min(recipe.batch_size, len(order))
    places = order[: shape[0] * shape[1]].reshape(shape).astype(np.int32)
    # With views a picture is changed as the teachers saw it, else each time anew.
    slots = places if recipe.views else np.arange(places.size, dtype=np.int32).reshape(shape)
    mixing = rng.random((*shape, DRAWS_OF_MIXING), dtype=np.float32)
    return Order(
        recipe.seed, epoch % recipe.views if recipe.views else epoch, places, slots, mixing
    )


def _checked(
    losses: Sequence[Any], learners: Sequence[Learner], epoch: int, first: int, steps: int
) -> list[NDArray[np.float32]]:
    values = [np.asarray(loss) for loss in losses]
    for learner, of_one in zip(learners, values, strict=True):
        for step, loss in enumerate(of_one.tolist(), start=first):
            if not math.isfinite(loss):
                with named(learner):
                    raise diverged(loss, epoch, step, steps)
    return values
