"""Fit a network: read the data, build, fit epoch by epoch, evaluate, write the run. Resumable after every epoch."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from numpy.typing import NDArray

import edgeemo
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from edgeemo.proof.evaluation import Scorecard, score
from training.fit.devices import ONE, Devices
from training.fit.distill import leaned_on, trusted_run
from training.fit.events import Events
from training.fit.loop import (
    Faces,
    averaged_weights,
    chosen_targets,
    fit_epoch,
    new_model,
    steps_per_epoch,
    training_faces,
)
from training.fit.recipe import Recipe
from training.fit.targets import Targets
from training.networks import multiply_accumulates
from training.networks.layers import without_simulation
from training.networks.qat import network, simulated
from training.runs.evaluate import write_split
from training.runs.plots import plot_curves
from training.runs.predict import predict
from training.runs.run import (
    CHECKPOINT,
    WEIGHTS,
    Run,
    check_fits,
    has_run,
    load_run,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
    write_config,
    write_history,
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
) -> Scorecard | None:
    """Train by `recipe` on a prepared folder into the run folder `out`; returns the test scorecard.

    Of several workers the chief alone writes into `out`; the others return None, once it has.

    Raises:
        RunError: `out` holds a run already (or, with `resume`, none of this recipe and data), the loss is no number, the device's
            memory is full, a teacher or the run to start from was trained on another split, the devices cannot share a batch, or
            another worker was lost.
        DataError: the recipe's labels or balance ask for votes or classes that the data do not hold.
    """
    data = load_prepared(data_path, DEFAULT_SPEC)
    splits = ("train", "validation") if recipe.with_validation else ("train",)
    fitted = chosen_targets(
        recipe, data, np.concatenate([data.indices(split) for split in splits]), fitted=True
    )
    held_out = chosen_targets(recipe, data, data.indices("validation"), fitted=False)
    if resume:
        _check_resumable(out, data, recipe)
    elif has_run(out):
        raise RunError(
            f"{out}: holds a run already; add --resume to continue it or choose another --out"
        )
    devices.check(recipe, len(LABELS) * recipe.balance or len(fitted.rows))
    devices.check_agreement({"arguments": [recipe.to_dict(), resume], "data": data.split_hash})
    others = leaned_on(recipe, data)
    with devices.scope():
        model = new_model(recipe, steps_per_epoch(recipe, len(fitted.rows)))
        if recipe.init:
            _start_from(model, recipe, data)
        history, best = read_checkpoint(out, model) if resume else ([], model.get_weights())
    devices.check_agreement({"checkpoints": [len(history), _digest(model)]})
    training = training_faces(recipe, data, fitted)
    validation = Faces(data.images[held_out.rows], held_out.values)
    if devices.chief:
        account = _account({"train": fitted, "validation": held_out}, training.weights)
        config = (
            load_run(out).config
            if resume
            else run_config(recipe, data, model) | account | {"leaned_on": others}
        )
        write_config(out, config | {"devices": devices.count, "workers": devices.workers})
    if events is not None:
        events.begin(history)
    click.echo(
        f"{recipe.model}: {model.count_params():,} parameters, {multiply_accumulates(model) / 1e6:.1f} M multiply-accumulates, "
        f"{len(fitted.rows):,} training and {len(held_out.rows):,} validation faces{', fitted to as well' * recipe.with_validation}, Keras on {keras.backend.backend()}"
        f"{f', {devices.count} devices of {devices.workers} machines' * (devices.count > 1)}"
    )
    for line in [*_target_lines("train", fitted), *_target_lines("validation", held_out)]:
        click.echo(line)
    # A network that lives on several devices would be asked by all of them, each with a part of the pictures.
    asked = model if devices.count == 1 else network(recipe, DEFAULT_SPEC)
    try:
        for epoch in range(len(history), recipe.epochs):
            if _is_tired(history, recipe.patience):
                click.echo(f"stopped early: no better validation top-1 in {recipe.patience} epochs")
                break
            row, weights = _one_epoch(model, asked, recipe, epoch, training, validation, devices)
            if _best(recipe, [*history, row]) is row:
                best = weights
            if events is not None:
                events.epoch(row | {"learning_rate": _rate(model)})
            if devices.chief:
                write_checkpoint(out, model, [*history, row], best)
            history.append(row)
            if devices.chief:
                write_history(out, history)
            click.echo(
                f"epoch {epoch + 1}/{recipe.epochs}  loss {row['loss']:.4f}  validation: loss {row['validation_loss']:.4f} "
                f"top-1 {row['validation_top1']:.2%} macro-F1 {row['validation_macro_f1']:.2%}  {row['seconds']:.0f} s"
            )
    except KeyboardInterrupt:
        raise RunError(
            f"stopped after {len(history)} of {recipe.epochs} epochs; "
            f"go on with: python -m training train --resume --data {data_path} --out {out}"
        ) from None
    except (
        RunError
    ):  # the loss is no number or the memory is full: the best weights so far can still be used
        if history and devices.chief:
            write_weights(out, _plain(recipe, best))
        raise
    card = _finish(best, recipe, data, history, out) if devices.chief else None
    if events is not None:
        events.picture("validation/confusion", out / "confusion_validation.png", len(history))
    devices.gathered([0.0])  # nobody leaves before the chief is done
    return card


def _start_from(model: keras.Model, recipe: Recipe, data: Prepared) -> None:
    run = trusted_run(recipe.init, data, recipe)
    if run.recipe.model != recipe.model:
        raise RunError(
            f"{recipe.init}: is a {run.recipe.model}, a {recipe.model} cannot start from it; add --model {run.recipe.model}"
        )
    if run.recipe.qat:
        raise RunError(
            f"{recipe.init}: was trained in simulated int8, its normalization is gone; start from the float run {run.recipe.init}"
        )
    trained = run.build()
    model.set_weights((simulated(trained) if recipe.qat else trained).get_weights())


def _best(recipe: Recipe, history: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the epoch whose weights are kept: the first of the best validation top-1, or the last where that was fitted to."""
    return (
        history[-1]
        if recipe.with_validation
        else max(history, key=lambda row: row["validation_top1"])
    )


def _is_tired(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether the last `patience` epochs brought nothing better than what was before them."""
    scores = [row["validation_top1"] for row in history]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])


def _one_epoch(
    model: keras.Model,
    asked: keras.Model,
    recipe: Recipe,
    epoch: int,
    training: Faces,
    validation: Faces,
    devices: Devices,
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """The epoch's row of history.csv, and the weights that it speaks of; `asked` is what predicts with them."""
    start = time.perf_counter()
    with devices.scope():
        loss = fit_epoch(model, recipe, epoch, training, devices=devices)
    with averaged_weights(model):
        if asked is not model:
            asked.set_weights(model.get_weights())
        logits, weights = predict(asked, validation.images), asked.get_weights()
    card = score(validation.labels, logits.argmax(axis=1))
    losses = keras.losses.categorical_crossentropy(validation.targets, logits, from_logits=True)
    # Every worker validates, and the chief's figures count: all stop after the same epoch, however each one rounds.
    measured = [float(keras.ops.convert_to_numpy(losses).mean()), card.top1, card.macro_f1]
    validation_loss, top1, macro_f1 = devices.gathered(measured)[0].tolist()
    row = {
        "epoch": epoch + 1,
        "loss": loss,
        "validation_loss": validation_loss,
        "validation_top1": top1,
        "validation_macro_f1": macro_f1,
        "seconds": round(time.perf_counter() - start, 1),
    }
    return row, weights


def _finish(
    best: list[NDArray[Any]],
    recipe: Recipe,
    data: Prepared,
    history: list[dict[str, Any]],
    out: Path,
) -> Scorecard:
    plain = _plain(recipe, best)
    write_weights(out, plain)
    write_model(out, plain)
    plot_curves(out, history)
    measured = without_simulation(plain) if recipe.qat else plain
    write_split(measured, data, "validation", out)
    card = write_split(measured, data, "test", out)
    config = load_run(out).config
    config["history"] = {
        "epochs": len(history),
        "best_epoch": _best(recipe, history)["epoch"],
        "seconds": round(sum(row["seconds"] for row in history), 1),
    }
    write_config(out, config)
    remove_checkpoint(out)
    return card


def _rate(model: keras.Model) -> float:
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def _digest(model: keras.Model) -> str:
    return hashlib.sha256(
        b"".join(weights.tobytes() for weights in model.get_weights())
    ).hexdigest()


def _plain(recipe: Recipe, weights: list[NDArray[Any]]) -> keras.Model:
    """The recipe's network with these weights, uncompiled and in float32 whatever it was fitted in."""
    plain = network(recipe, DEFAULT_SPEC)
    plain.set_weights(weights)
    return plain


def begun(out: Path, devices: Devices) -> Run:
    """The run to resume.

    Raises:
        RunError: this worker does not see what the chief wrote.
    """
    if not devices.chief and not (out / CHECKPOINT).is_file():
        raise RunError(
            f"{out}: expected the chief's {CHECKPOINT} to resume from, found none on this worker; put --out on a folder that all "
            "workers share or copy the chief's there, and start all of them again"
        )
    return load_run(out)


def _check_resumable(out: Path, data: Prepared, recipe: Recipe) -> None:
    run = load_run(out)
    check_fits(run, data)
    if not (out / CHECKPOINT).is_file():
        if (out / WEIGHTS).is_file():
            raise RunError(
                f"{out}: nothing to resume, the run is finished; train into another --out"
            )
        raise RunError(
            f"{out}: nothing to resume, no epoch was finished; run the same command without --resume"
        )
    if run.config["split_hash"] != data.split_hash:
        raise RunError(
            f"{out}: was begun on other data (split hash differs); resume it with the data that it was begun on"
        )
    then, now = run.recipe.to_dict(), recipe.to_dict()
    changed = ", ".join(
        f"{key} {then[key]} there and {now[key]} here" for key in then if then[key] != now[key]
    )
    if changed:
        raise RunError(
            f"{out}: was begun with another recipe ({changed}); resume it with the same choices"
        )


def run_config(recipe: Recipe, data: Prepared, model: keras.Model) -> dict[str, Any]:
    """What config.json says of a run of `model` by `recipe` on `data`, before anything was trained."""
    return {
        "edgeemo": edgeemo.__version__,
        "recipe": recipe.to_dict(),
        "labels": list(LABELS),
        "input_spec": DEFAULT_SPEC.to_dict(),
        "input_fingerprint": DEFAULT_SPEC.fingerprint(),
        "data_sets": [source["name"] for source in data.dataset["sources"]],
        "data": str(data.path),
        "data_seed": data.dataset["seed"],
        "split_hash": data.split_hash,
        "parameters": model.count_params(),
        "multiply_accumulates": multiply_accumulates(model),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "threads": os.cpu_count(),
    }


def _account(chosen: dict[str, Targets], weights: NDArray[np.float32] | None) -> dict[str, Any]:
    """What the labels made of the pictures, for config.json."""
    return {
        "faces": {split: len(part.rows) for split, part in chosen.items()},
        "left_out": {split: part.left_out for split, part in chosen.items()},
        "kept_hard": {split: part.kept_hard for split, part in chosen.items()},
        "votes_dropped": {split: part.votes_dropped for split, part in chosen.items()},
        "class_weights": None
        if weights is None
        else dict(zip(LABELS, weights.tolist(), strict=True)),
    }


def _target_lines(split: str, part: Targets) -> Iterator[str]:
    counted = (
        (part.left_out, "pictures left out"),
        (part.kept_hard, "with their hard label alone"),
    )
    for counts, what in (*counted, (part.votes_dropped, "votes dropped")):
        if sum(counts.values()):
            yield f"{split}: {sum(counts.values()):,} {what} ({', '.join(f'{n:,} {why}' for why, n in counts.items())})"
