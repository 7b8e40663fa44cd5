"""Runs of one recipe that differ in their seeds, an epoch of each at once (Keras on JAX)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edgeemo.contract.run import CHECKPOINT
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import RunError
from training.fit.epochs import run_together
from training.fit.events import Events
from training.fit.recipe import Recipe
from training.fit.train import finished, keep_best, show_confusion, started
from training.machines.devices import ONE

AT_ONCE = 4
"""Runs that fit into a workstation's memory: on the host each keeps an augmented epoch of 260 MB in
it."""


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
        run_together(fittings)
    except RunError:
        for fitting in fittings:
            keep_best(fitting)
        raise
    for fitting in fittings:
        finished(fitting, data, pictures)
        if pictures:
            show_confusion(fitting)
