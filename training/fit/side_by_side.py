"""Runs of one recipe that differ in their seeds, an epoch of each at once (Keras on JAX)."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.run import CHECKPOINT
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import RunError
from training.fit.diverged import Diverged
from training.fit.epochs import Fitting
from training.fit.events import Events
from training.fit.loop import (
    diverged,
    enough_memory,
    epoch_of,
    restart_average,
    steps_per_epoch,
)
from training.fit.recipe import Recipe
from training.fit.train import finished, keep_best, show_confusion, started
from training.machines.devices import ONE
from workstation.progress import counted

_Epoch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]


AT_ONCE = 4
"""Runs that fit into a workstation's memory: each keeps an augmented epoch of 260 MB in it."""


def train_side_by_side(
    recipes: Sequence[Recipe],
    data_path: Path,
    outs: Sequence[Path],
    *,
    events: Callable[[Path], Events] | None = None,
    pictures: bool = True,
) -> None:
    """Train a run by each of `recipes`, which differ in their seeds alone, into its folder of
    `outs`; goes on from the checkpoints that are there.

    Raises:
        RunError, SpecMismatch, DataError: see `train`.
    """
    data = load_prepared(data_path)
    fittings = []
    for recipe, out in zip(recipes, outs, strict=True):
        fitting = started(
            recipe,
            data,
            out,
            resume=(out / CHECKPOINT).is_file(),
            devices=ONE,
            events=None if events is None else events(out),
        )
        fitting.title = f"seed {recipe.seed}: "
        fittings.append(fitting)
    try:
        run_side_by_side(fittings)
    except RunError:
        for fitting in fittings:
            keep_best(fitting)
        raise
    for fitting in fittings:
        finished(fitting, data, pictures)
        if pictures:
            show_confusion(fitting)


def run_side_by_side(fittings: Sequence[Fitting]) -> None:
    """Fit the epochs that are left of fittings whose recipes differ in their seeds alone.

    Each sees the pictures, in the order, that it sees alone, and comes to the same but for
    rounding. Those with fewer epochs behind them come first.

    Raises:
        Diverged: the loss of one is no number.
        RunError: the device's memory is full.
    """
    from training.fast.side_by_side import SideBySide  # JAX, which other backends lack

    together: Any = None
    ahead = list(fittings)
    while ahead := [fitting for fitting in ahead if fitting.is_ahead()]:
        done = min(len(fitting.history) for fitting in ahead)
        group = [fitting for fitting in ahead if len(fitting.history) == done]
        models = [fitting.model for fitting in group]
        if together is None or together.models != models:
            together = SideBySide(models)  # compiled when it takes its first step
        start = time.perf_counter()
        losses = _epoch(together, group)
        seconds = (time.perf_counter() - start) / len(group)
        for fitting, loss in zip(group, losses, strict=True):
            with _named(fitting):
                fitting.keep(loss, seconds)


def _epoch(together: Any, group: Sequence[Fitting]) -> list[float]:
    """One pass of each over its training faces; their mean losses."""
    recipe, epoch, faces = group[0].recipe, len(group[0].history), group[0].training
    steps = steps_per_epoch(recipe, len(faces.images), len(faces.class_names))
    with ThreadPoolExecutor(len(group)) as pool:  # OpenCV and NumPy let others compute
        epochs: list[_Epoch] = list(
            pool.map(lambda one: epoch_of(one.recipe, epoch, one.training), group)
        )
    title, note = f"epoch {epoch + 1}/{recipe.epochs} of {len(group)} seeds", group[0].note()
    losses: list[list[float]] = []
    waiting: Any = None
    together.gather()
    with enough_memory(recipe, "--one-by-one, or "):
        for step in counted(range(steps), title, "steps", note=note):
            part = slice(step * recipe.batch_size, (step + 1) * recipe.batch_size)
            begun = together.step(
                [(x[part], y[part], None if w is None else w[part]) for x, y, w in epochs]
            )
            # The step before is looked at while this one computes.
            if waiting is not None:
                losses.append(_checked(waiting, group, epoch, step - 1, steps))
            waiting = begun
        losses.append(_checked(waiting, group, epoch, steps - 1, steps))
    together.scatter()
    if epoch < recipe.warmup_epochs:
        for model in together.models:
            restart_average(model)
    return [float(mean) for mean in np.mean(losses, axis=0)]


def _checked(
    losses: Sequence[Any], group: Sequence[Fitting], epoch: int, step: int, steps: int
) -> list[float]:
    values = [float(loss) for loss in losses]
    for fitting, loss in zip(group, values, strict=True):
        if not math.isfinite(loss):
            with _named(fitting):
                raise diverged(loss, epoch, step, steps)
    return values


@contextmanager
def _named(fitting: Fitting) -> Iterator[None]:
    """Inside, a training that comes to nothing is said by its seed."""
    try:
        yield
    except Diverged as error:
        raise Diverged(f"{fitting.title}{error}") from None
