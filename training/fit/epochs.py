"""The epochs of a run: fitted, validated, and kept so that each can be resumed from."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.run import SourceRun
from edgeemo.proof.evaluation import score
from training.fit.diverged import Diverged
from training.fit.events import Events
from training.fit.loop import Faces, averaged_weights, fit_epoch
from training.fit.recipe import Recipe
from training.fit.together import Learner, Together, fit_together, named, together_of
from training.machines.devices import Devices
from training.runs.predict import predict
from training.runs.run import write_checkpoint, write_history
from workstation.progress import time_left
from workstation.text import percent


@dataclass
class Fitting:
    """A network that is being fitted, and all that its epochs need."""

    model: keras.Model
    """The compiled network."""
    answering: keras.Model
    """The network that predicts with its weights: the same one on one device."""
    recipe: Recipe
    """How it is fitted."""
    spec: InputSpec
    """What it sees."""
    training: Faces
    """What it is fitted to."""
    validation: Faces
    """What judges each epoch."""
    devices: Devices
    """What it is fitted on."""
    out: Path
    """The run folder."""
    history: list[dict[str, Any]]
    """A row of history.csv for each finished epoch."""
    best: list[NDArray[Any]]
    """The weights that are kept so far."""
    events: Events | None = None
    """TensorBoard's event files, where they are asked for."""
    learned_from: tuple[SourceRun, ...] = ()
    """Runs and bundles that the recipe starts from and learns from."""
    title: str = ""
    """Before each of its lines, where several are fitted at once."""

    def run(self) -> None:
        """Fit the epochs that are left.

        Raises:
            RunError: the loss is no number, the memory is full, or another worker was lost.
        """
        if self.recipe.pipeline == "device":
            run_together([self])
            return
        while self.is_ahead():
            start = time.perf_counter()
            with self.devices.scope():
                loss = fit_epoch(
                    self.model,
                    self.recipe,
                    len(self.history),
                    self.training,
                    note=self.note(),
                    devices=self.devices,
                )
            self.keep(loss, time.perf_counter() - start)

    @cached_property
    def learner(self) -> Learner:
        """What is fitted, as `run_together` takes it."""
        return Learner(self.model, self.recipe, self.training, self.title)

    def is_ahead(self) -> bool:
        """Whether an epoch is left; says so where there is none because nothing gets better."""
        recipe = self.recipe
        if len(self.history) >= recipe.epochs:
            return False
        if is_tired(self.history, recipe.patience):
            epochs = count_of(recipe.patience, "epoch")
            say(f"{self.title}stopped early: no better validation top-1 in {epochs}")
            return False
        return True

    def note(self) -> str:
        """For the end of a line that says how far an epoch is."""
        left = self._time_left()
        return f"run: {left}" if left else ""

    def keep(self, loss: float, seconds: float) -> None:
        """Validate the network after an epoch of this `loss` and so many `seconds`, and keep what
        resuming needs.
        """
        recipe = self.recipe
        row, weights = self._validated(loss, seconds)
        if kept_row(recipe, [*self.history, row]) is row:
            self.best = weights
        self._keep(row)
        left = self._time_left()
        say(
            f"{self.title}epoch {row['epoch']}/{recipe.epochs}  loss {row['loss']:.4f}  "
            f"validation: loss {row['validation_loss']:.4f} top-1 "
            f"{percent(row['validation_top1'], 2)} macro-F1 "
            f"{percent(row['validation_macro_f1'], 2)}  {row['seconds']:.0f} s"
            f"{left and f', {left}'}"
        )

    def _validated(self, loss: float, seconds: float) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """The epoch's row of history.csv, and the weights that it speaks of."""
        start = time.perf_counter()
        with averaged_weights(self.model):
            if self.answering is not self.model:
                self.answering.set_weights(self.model.get_weights())
            logits = predict(self.answering, self.validation.images)
            weights = self.answering.get_weights()
        faces = self.validation
        card = score(faces.labels, logits.argmax(axis=1), faces.class_names)
        losses = keras.losses.categorical_crossentropy(faces.targets, logits, from_logits=True)
        # Every worker validates, and the chief's figures count: all stop after the same epoch,
        # however each one rounds.
        measured = [float(keras.ops.convert_to_numpy(losses).mean()), card.top1, card.macro_f1]
        validation_loss, top1, macro_f1 = self.devices.gathered(measured)[0].tolist()
        if not math.isfinite(validation_loss):
            raise Diverged(
                f"the loss of validation became {validation_loss} after epoch "
                f"{len(self.history) + 1}{self._best_kept()}: train again with a lower "
                "--learning-rate"
            )
        row = {
            "epoch": len(self.history) + 1,
            "loss": loss,
            "validation_loss": validation_loss,
            "validation_top1": top1,
            "validation_macro_f1": macro_f1,
            "seconds": round(seconds + time.perf_counter() - start, 1),
        }
        return row, weights

    def _best_kept(self) -> str:
        return "; the best weights so far are kept in model.weights.h5" if self.history else ""

    def _time_left(self) -> str:
        seconds = [row["seconds"] for row in self.history]
        return time_left(seconds, self.recipe.epochs - len(seconds))

    def _keep(self, row: dict[str, Any]) -> None:
        """Add the row to the history, and write what resuming needs."""
        if self.events is not None:
            self.events.epoch(row | {"learning_rate": _rate(self.model)})
        if self.devices.chief:
            write_checkpoint(self.out, self.model, [*self.history, row], self.best)
        self.history.append(row)
        if self.devices.chief:
            write_history(self.out, self.history)


def run_together(fittings: Sequence[Fitting]) -> None:
    """Fit the epochs that are left of fittings whose recipes differ in their seeds alone, on one
    device under JAX.

    Each sees the pictures, in the order, that it sees alone, and comes to the same but for
    rounding. Those with fewer epochs behind them come first.

    Raises:
        Diverged: the loss of one is no number.
        RunError: the device's memory is full.
    """
    together: Together | None = None
    ahead = list(fittings)
    while ahead := [fitting for fitting in ahead if fitting.is_ahead()]:
        done = min(len(fitting.history) for fitting in ahead)
        group = [fitting for fitting in ahead if len(fitting.history) == done]
        learners = [fitting.learner for fitting in group]
        if together is None or list(together.learners) != learners:
            together = together_of(learners)  # compiled when it takes its first step
        start = time.perf_counter()
        losses = fit_together(together, done, group[0].note())
        seconds = (time.perf_counter() - start) / len(group)
        for fitting, loss in zip(group, losses, strict=True):
            with named(fitting.learner):
                fitting.keep(loss, seconds)


def kept_row(recipe: Recipe, history: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the epoch whose weights are kept: the first of the best validation top-1.

    Where validation was fitted to, it is the last.
    """
    if recipe.with_validation:
        return history[-1]
    return max(history, key=lambda row: row["validation_top1"])


def is_tired(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better than what was before them."""
    scores = [row["validation_top1"] for row in history]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])


def _rate(model: keras.Model) -> float:
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
