"""A run folder as training has it: the contract's config with its recipe, the network, the
checkpoint.
"""

import csv
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import check_same_labels
from edgeemo.contract.run import (
    CHECKPOINT,
    CONFIG,
    HISTORY,
    MODEL,
    WEIGHTS,
    RunConfig,
    read_run_config,
    run_files,
)
from edgeemo.data.prepared import Prepared
from edgeemo.errors import MissingFile, RunError, SpecMismatch
from training.fit.recipe import Recipe
from training.networks import NETWORKS
from training.networks.layers import without_simulation
from training.networks.qat import network


@dataclass(frozen=True)
class Run:
    """A run folder and its checked config."""

    path: Path
    """The folder."""
    config: RunConfig
    """What its config.json says."""
    recipe: Recipe
    """The config's recipe, checked."""

    @property
    def spec(self) -> InputSpec:
        """What its network sees."""
        return self.config.input_spec

    @property
    def class_names(self) -> tuple[str, ...]:
        """What its logits mean, in their order."""
        return self.config.labels

    def build(self) -> keras.Model:
        """The run's float network with its trained weights.

        Of a run in simulated int8, it is the network that is simulated.

        Raises:
            RunError: the weights are missing or do not fit.
        """
        weights = self.path / WEIGHTS
        if not weights.is_file():
            raise RunError(
                f"{self.path}: the run has no {WEIGHTS}; finish it with: "
                f"python -m training train --resume --data DATA --out {shlex.quote(str(self.path))}"
            )
        model = network(self.recipe, self.spec, len(self.class_names))
        try:
            model.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            raise RunError(
                f"{weights}: does not fit the network {self.recipe.model} ({str(error)[:200]}); "
                "train it again"
            ) from None
        return without_simulation(model) if self.recipe.qat else model


def load_run(path: str | Path) -> Run:
    """Read and check a run folder's config.

    Raises:
        MissingFile: no run there.
        RunError: a damaged config, or a recipe or network that this version does not know.
    """
    folder = Path(path)
    config = read_run_config(folder)
    file = folder / CONFIG
    try:
        recipe = Recipe.from_dict(config.recipe)
    except ValueError as error:
        raise RunError(f"{file}: not the config of a run ({error}); train it again") from None
    if recipe.model not in NETWORKS:
        raise RunError(
            f"{file}: unknown network {recipe.model!r}, expected one of {', '.join(NETWORKS)}"
        )
    return Run(folder, config, recipe)


def check_fits(run: Run, data: Prepared, *, any_labels: bool = False) -> None:
    """Check that a run was trained for the input and the labels that `data` was prepared for, or,
    with `any_labels`, for the input alone.

    Raises:
        SpecMismatch: it was trained for another input spec.
        RunError: it was trained for other labels.
    """
    if run.spec != data.spec:
        raise SpecMismatch(
            f"{run.path} was trained for {run.spec.size} (input spec {run.spec.fingerprint()}), "
            f"{data.path} was prepared for {data.spec.size} ({data.fingerprint}); prepare the data "
            "or train the run again"
        )
    if not any_labels:
        check_same_labels(run.class_names, data.class_names, str(run.path), RunError)


def write_weights(path: Path, model: keras.Model) -> None:
    """Write `model`'s weights in one step, in the format that every backend reads."""
    with written_beside(path / WEIGHTS) as part:
        model.save_weights(part, overwrite=True)


def write_model(path: Path, model: keras.Model) -> None:
    """Write the uncompiled `model` in one step (compiled by torch, it would not load elsewhere)."""
    with written_beside(path / MODEL) as part:
        model.save(part, overwrite=True)


def write_history(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write history.csv in one step, a row an epoch."""
    with (
        written_beside(path / HISTORY) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        # The last row's order: those of a checkpoint come back with their columns sorted.
        writer = csv.DictWriter(file, rows[-1].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_checkpoint(
    path: Path, model: keras.Model, history: list[dict[str, Any]], best: list[NDArray[Any]]
) -> None:
    """Write everything that continuing needs.

    That is weights, random states, the optimizer's state, the history, and the best weights so far.
    """
    arrays = {f"model_{i}": np.asarray(_value(v)) for i, v in enumerate(model.variables)}
    arrays |= {
        f"optimizer_{i}": np.asarray(_value(v)) for i, v in enumerate(model.optimizer.variables)
    }
    arrays |= {f"best_{i}": value for i, value in enumerate(best)}
    with written_beside(path / CHECKPOINT) as part, part.open("wb") as file:
        np.savez(
            file,
            history=np.array(strict.dumps(history, indent=None)),
            **cast(dict[str, Any], arrays),
        )


def read_checkpoint(
    path: Path, model: keras.Model
) -> tuple[list[dict[str, Any]], list[NDArray[Any]]]:
    """Put a checkpoint back into the compiled `model`; returns its history and best weights so far.

    Raises:
        RunError: no checkpoint, or one that does not fit the network.
    """
    file = path / CHECKPOINT
    if not file.is_file():
        raise RunError(
            f"{path}: no {CHECKPOINT} to resume from; train without --resume into another --out"
        )
    model.optimizer.build(model.trainable_variables)
    try:
        with np.load(file, allow_pickle=False) as stored:
            for prefix, variables in (
                ("model", model.variables),
                ("optimizer", model.optimizer.variables),
            ):
                for i, variable in enumerate(variables):
                    variable.assign(stored[f"{prefix}_{i}"])
            history = list(strict.loads(str(stored["history"])))
            best = [stored[f"best_{i}"] for i in range(len(model.get_weights()))]
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise RunError(
            f"{file}: does not fit the network ({str(error)[:200]}); train again into another --out"
        ) from None
    return history, best


def remove_checkpoint(path: Path) -> None:
    """Remove a finished run's checkpoint."""
    (path / CHECKPOINT).unlink(missing_ok=True)


def has_run(path: Path) -> bool:
    """Whether `path` holds a run with something to lose: a finished epoch or finished weights."""
    return (path / CHECKPOINT).is_file() or (path / WEIGHTS).is_file()


def check_free(path: Path, way_out: str = "choose another --out") -> None:
    """Raise RunError where a new run in the folder `path` would replace another one, or files of
    somebody else.
    """
    if has_run(path):
        raise RunError(f"{path}: holds a run already; {way_out}")
    there = [file.name for file in run_files(path) if os.path.lexists(file)]
    if not there:
        return
    try:
        read_run_config(path)
    except (RunError, MissingFile):
        raise RunError(
            f"{path}: expected a new folder or one of a run that was begun, received one with "
            f"{', '.join(there)} of somebody else; choose another --out"
        ) from None


def _value(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable.value)
