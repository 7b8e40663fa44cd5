"""Train a run: read the data, build the network, fit it epoch by epoch, evaluate, write the folder.

A run can be resumed after every epoch.
"""

import hashlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.run import CHECKPOINT, WEIGHTS, Progress, RunConfig, write_run_config
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import Interrupted, RunError
from edgeemo.proof.evaluation import Scorecard
from edgeemo.version import __version__
from training.fit.epochs import Fitting, kept_row
from training.fit.events import Events
from training.fit.loop import Faces, chosen_targets, new_model, steps_per_epoch, training_faces
from training.fit.recipe import Recipe
from training.fit.start import leaned_on, put_weights, start_line, start_of
from training.fit.targets import Targets
from training.machines.devices import ONE, Devices
from training.machines.seen import announce
from training.networks.cost import multiply_accumulates
from training.networks.layers import without_simulation
from training.networks.qat import network
from training.runs.evaluate import write_split
from training.runs.plots import plot_curves
from training.runs.run import (
    Run,
    check_fits,
    check_free,
    load_run,
    read_checkpoint,
    remove_checkpoint,
    write_model,
    write_weights,
)


def train(
    recipe: Recipe,
    data_path: Path,
    out: Path,
    *,
    resume: bool = False,
    devices: Devices = ONE,
    events: Events | None = None,
    pictures: bool = True,
) -> Scorecard | None:
    """Train by `recipe` on a prepared folder into the run folder `out`; returns the test scorecard.

    Of several workers the chief alone writes into `out`; the others return None, once it has.
    `pictures` draws curves, confusion matrices and reliability diagrams (about two seconds).

    Raises:
        RunError: `out` holds a run already (or, with `resume`, none of this recipe and data), the
            loss is no number, the device's memory is full, a teacher or the run to start from was
            trained on another split or for other labels, the devices cannot share a batch, or
            another worker was lost.
        SpecMismatch: a teacher or the run to start from was trained for another input.
        DataError: labels or balance ask for votes or classes that the data do not hold.
    """
    data = load_prepared(data_path)
    fitting = started(recipe, data, out, resume=resume, devices=devices, events=events)
    _fit(fitting, data_path)
    card = finished(fitting, data, pictures) if devices.chief else None
    if pictures:
        show_confusion(fitting)
    devices.gathered([0.0])  # nobody leaves before the chief is done
    return card


def started(
    recipe: Recipe,
    data: Prepared,
    out: Path,
    *,
    resume: bool,
    devices: Devices,
    events: Events | None,
) -> Fitting:
    """A run at its first epoch, or with `resume` at the one that follows, and its config.json.

    Raises:
        RunError, SpecMismatch, DataError: see `train`.
    """
    chosen = _targets_by_split(recipe, data)
    _check_out(out, data, recipe, resume)
    _check_devices(devices, recipe, data, len(chosen["train"].rows), resume)
    announce(keras.backend.backend(), devices.count // devices.workers)

    fitting = _begun_fitting(recipe, data, chosen, out, resume, devices)
    fitting.events = events
    if devices.chief:
        _write_begun(fitting, data, chosen, resume)
    _show_start(fitting, chosen)
    if events is not None:
        events.begin(fitting.history)
    return fitting


def begun(out: Path, devices: Devices) -> Run:
    """The run to resume.

    Raises:
        RunError: this worker does not see what the chief wrote.
    """
    if not devices.chief and not (out / CHECKPOINT).is_file():
        raise RunError(
            f"{out}: expected the chief's {CHECKPOINT} to resume from, found none on this worker; "
            "put --out on a folder that all workers share or copy the chief's there, and start all "
            "of them again"
        )
    return load_run(out)


def run_config(recipe: Recipe, data: Prepared, model: keras.Model) -> RunConfig:
    """The config of a run of `model` by `recipe` on `data`, before anything was trained."""
    return RunConfig(
        recipe=recipe.to_dict(),
        labels=data.class_names,
        input_spec=data.spec,
        split_hash=data.split_hash,
        data_sets=tuple(source["name"] for source in data.dataset["sources"]),
        data=str(data.path),
        data_seed=data.dataset["seed"],
        edgeemo=__version__,
        keras=keras.__version__,
        backend=keras.backend.backend(),
        threads=os.cpu_count(),
        parameters=model.count_params(),
        multiply_accumulates=multiply_accumulates(model),
    )


def _targets_by_split(recipe: Recipe, data: Prepared) -> dict[str, Targets]:
    """What the network is fitted to, as "train", and what judges it, as "validation"."""
    splits = ("train", "validation") if recipe.with_validation else ("train",)
    rows = np.concatenate([data.indices(split) for split in splits])
    return {
        "train": chosen_targets(recipe, data, rows, fitted=True),
        "validation": chosen_targets(recipe, data, data.indices("validation"), fitted=False),
    }


def _check_out(out: Path, data: Prepared, recipe: Recipe, resume: bool) -> None:
    if resume:
        _check_resumable(out, data, recipe)
    else:
        check_free(out, "add --resume to continue it or choose another --out")


def _check_resumable(out: Path, data: Prepared, recipe: Recipe) -> None:
    run = load_run(out)
    check_fits(run, data)
    if not (out / CHECKPOINT).is_file():
        if (out / WEIGHTS).is_file():
            raise RunError(
                f"{out}: nothing to resume, the run is finished; train into another --out"
            )
        raise RunError(
            f"{out}: nothing to resume, no epoch was finished; run the same command without "
            "--resume"
        )
    if run.config.split_hash != data.split_hash:
        raise RunError(
            f"{out}: was begun on other data (split hash differs); resume it with the data that it "
            "was begun on"
        )
    then, now = run.recipe.to_dict(), recipe.to_dict()
    changed = ", ".join(
        f"{key} {then[key]} there and {now[key]} here" for key in then if then[key] != now[key]
    )
    if changed:
        raise RunError(
            f"{out}: was begun with another recipe ({changed}); resume it with the same choices"
        )


def _check_devices(
    devices: Devices, recipe: Recipe, data: Prepared, faces: int, resume: bool
) -> None:
    _check_pipeline(recipe, devices)
    devices.check(recipe, len(data.class_names) * recipe.balance or faces)
    devices.check_agreement({"arguments": [recipe.to_dict(), resume], "data": data.split_hash})


def _check_pipeline(recipe: Recipe, devices: Devices) -> None:
    backend = keras.backend.backend()
    if recipe.pipeline == "device" and (backend != "jax" or devices.count > 1):
        raise RunError(
            f"a pipeline on the device needs Keras on JAX and one device, received {backend} and "
            f"{count_of(devices.count, 'device')}; set KERAS_BACKEND=jax and --devices 1, or begin "
            "anew with --pipeline host"
        )


def _begun_fitting(
    recipe: Recipe,
    data: Prepared,
    chosen: dict[str, Targets],
    out: Path,
    resume: bool,
    devices: Devices,
) -> Fitting:
    """The network with its pictures, at its first epoch or at the one after the checkpoint."""
    classes = len(data.class_names)
    # Refuses runs that do not fit before anything is built.
    start = start_of(recipe, data) if recipe.init else None
    learned = leaned_on(recipe, data, start)
    steps = steps_per_epoch(recipe, len(chosen["train"].rows), classes)
    with devices.scope():
        model = new_model(recipe, steps, data.spec, classes)
        if start is not None and not resume:
            put_weights(model, start, recipe, data.class_names)
        history, best = read_checkpoint(out, model) if resume else ([], model.get_weights())
    if start is not None and devices.chief and not resume:
        say(start_line(start, data.class_names))
    devices.check_agreement({"checkpoints": [len(history), _digest(model)]})
    judged = chosen["validation"]
    return Fitting(
        model=model,
        # A network on several devices would be asked by all of them, each with a part of the
        # pictures; so another one answers.
        answering=model if devices.count == 1 else network(recipe, data.spec, classes),
        recipe=recipe,
        spec=data.spec,
        training=training_faces(recipe, data, chosen["train"]),
        validation=Faces(data.images[judged.rows], judged.values, data.class_names),
        devices=devices,
        out=out,
        history=history,
        best=best,
        learned_from=learned,
    )


def _write_begun(
    fitting: Fitting, data: Prepared, chosen: dict[str, Targets], resume: bool
) -> None:
    """config.json as it is before the run is finished."""
    recipe, weights = fitting.recipe, fitting.training.weights
    config = (
        load_run(fitting.out).config
        if resume
        else replace(
            run_config(recipe, data, fitting.model),
            leaned_on=fitting.learned_from,
            faces={split: len(part.rows) for split, part in chosen.items()},
            left_out={split: part.left_out for split, part in chosen.items()},
            kept_hard={split: part.kept_hard for split, part in chosen.items()},
            votes_dropped={split: part.votes_dropped for split, part in chosen.items()},
            class_weights=(
                None
                if weights is None
                else dict(zip(data.class_names, weights.tolist(), strict=True))
            ),
        )
    )
    devices = fitting.devices
    write_run_config(fitting.out, replace(config, devices=devices.count, workers=devices.workers))


def _show_start(fitting: Fitting, chosen: dict[str, Targets]) -> None:
    recipe, devices = fitting.recipe, fitting.devices
    fitted, judged = (len(chosen[split].rows) for split in ("train", "validation"))
    as_well = ", fitted to as well" if recipe.with_validation else ""
    several = f", {devices.count} devices of {count_of(devices.workers, 'machine')}"
    say(
        f"{recipe.model}: {fitting.model.count_params():,} parameters, "
        f"{multiply_accumulates(fitting.model) / 1e6:.1f} M multiply-accumulates, {fitted:,} "
        f"training and {judged:,} validation faces{as_well}, Keras on {keras.backend.backend()}"
        f"{several if devices.count > 1 else ''}"
    )
    for split, part in chosen.items():
        for line in _target_lines(split, part):
            say(line)


def _target_lines(split: str, part: Targets) -> Iterator[str]:
    counted = (
        (part.left_out, "picture", "left out"),
        (part.kept_hard, "picture", "with the hard label alone"),
        (part.votes_dropped, "vote", "dropped"),
    )
    for counts, noun, what in counted:
        if sum(counts.values()):
            reasons = ", ".join(f"{n:,} {why}" for why, n in counts.items())
            yield f"{split}: {count_of(sum(counts.values()), noun)} {what} ({reasons})"


def _fit(fitting: Fitting, data_path: Path) -> None:
    """All epochs that are left; what interrupts them leaves a run that can be used or resumed."""
    try:
        fitting.run()
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {len(fitting.history)} of {count_of(fitting.recipe.epochs, 'epoch')}; "
            "go on with: python -m training train --resume "
            + shlex.join(["--data", str(data_path), "--out", str(fitting.out)])
        ) from None
    except RunError:
        # The loss is no number or the memory is full: the best weights so far can still be used.
        keep_best(fitting)
        raise


def keep_best(fitting: Fitting) -> None:
    """Write the best weights so far, of a run that ends before its last epoch."""
    if fitting.history and fitting.devices.chief:
        write_weights(fitting.out, _plain(fitting))


def show_confusion(fitting: Fitting) -> None:
    """Add validation's confusion matrix to the event files, where there are any."""
    if fitting.events is not None:
        picture = fitting.out / "confusion_validation.png"
        fitting.events.picture("validation/confusion", picture, len(fitting.history))


def finished(fitting: Fitting, data: Prepared, pictures: bool) -> Scorecard:
    """Write the finished run; the scorecard of the test split."""
    out, recipe, history = fitting.out, fitting.recipe, fitting.history
    plain = _plain(fitting)
    write_weights(out, plain)
    write_model(out, plain)
    if pictures:
        plot_curves(out, history)
    measured = without_simulation(plain) if recipe.qat else plain
    write_split(measured, data, "validation", out, pictures)
    card = write_split(measured, data, "test", out, pictures)
    progress = Progress(
        epochs=len(history),
        best_epoch=kept_row(recipe, history)["epoch"],
        seconds=round(sum(row["seconds"] for row in history), 1),
    )
    write_run_config(out, replace(load_run(out).config, history=progress))
    remove_checkpoint(out)
    return card


def _plain(fitting: Fitting) -> keras.Model:
    """The network with its best weights, uncompiled, in float32 whatever it was fitted in."""
    plain = network(fitting.recipe, fitting.spec, len(fitting.training.class_names))
    plain.set_weights(fitting.best)
    return plain


def _digest(model: keras.Model) -> str:
    weights: list[NDArray[Any]] = model.get_weights()
    return hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest()
