"""Fit a network: read the data, build, fit epoch by epoch, evaluate, write the run. Resumable after every epoch."""

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from numpy.typing import NDArray

import edgeemo
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from edgeemo.evaluation import Scorecard, score
from training.architectures import ARCHITECTURES, multiply_accumulates
from training.augment import augmented_epoch, mixed
from training.plots import plot_confusion, plot_curves
from training.recipe import Recipe
from training.run import (
    CHECKPOINT,
    WEIGHTS,
    check_fits,
    has_run,
    load_run,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
    write_config,
    write_history,
    write_model,
    write_predictions,
    write_weights,
)


def train(recipe: Recipe, data_path: Path, out: Path, *, resume: bool = False) -> Scorecard:
    """Train by `recipe` on a prepared folder into the run folder `out`; returns the test scorecard.

    Raises:
        RunError: `out` holds a run already (or, with `resume`, none of this recipe and data), or the loss is no number.
    """
    data = load_prepared(data_path, DEFAULT_SPEC)
    train_rows, validation_rows = data.indices("train"), data.indices("validation")
    if resume:
        _check_resumable(out, data, recipe)
    elif has_run(out):
        raise RunError(f"{out}: holds a run already; add --resume to continue it or choose another --out")
    keras.utils.set_random_seed(recipe.seed)
    model = ARCHITECTURES[recipe.model](DEFAULT_SPEC)
    steps = -(-len(train_rows) // recipe.batch_size)
    model.compile(
        optimizer=_optimizer(recipe, steps),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
    )
    history, best = read_checkpoint(out, model) if resume else ([], model.get_weights())
    if not resume:
        write_config(out, _config(recipe, data, model))
    click.echo(
        f"{recipe.model}: {model.count_params():,} parameters, {multiply_accumulates(model) / 1e6:.1f} M multiply-accumulates, "
        f"{len(train_rows):,} training and {len(validation_rows):,} validation faces, Keras on {keras.backend.backend()}"
    )
    images, labels = data.images[train_rows], data.labels[train_rows]
    try:
        for epoch in range(len(history), recipe.epochs):
            row = _one_epoch(model, recipe, epoch, images, labels, data, validation_rows)
            if row["validation_top1"] > max((past["validation_top1"] for past in history), default=-1.0):
                best = model.get_weights()
            write_checkpoint(out, model, [*history, row], best)
            history.append(row)
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
    model.set_weights(best)
    return _finish(model, recipe, data, history, out)


def evaluate_run(run_path: Path, data_path: Path, split: str) -> Scorecard:
    """Evaluate a run's float model on a split, writing its predictions and confusion matrix into the run."""
    run = load_run(run_path)
    data = load_prepared(data_path, run.spec)
    check_fits(run, data)
    return _write_split(run.build(), data, split, run.path)


def predict(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (N, 7) logits of uint8 (N, 48, 48, 1) pictures."""
    logits = [
        keras.ops.convert_to_numpy(model.predict_on_batch(images[i : i + 512].astype(np.float32)))
        for i in range(0, len(images), 512)
    ]
    return np.concatenate(logits).astype(np.float32)


def _one_epoch(
    model: keras.Model,
    recipe: Recipe,
    epoch: int,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    data: Prepared,
    validation_rows: NDArray[np.int64],
) -> dict[str, Any]:
    start = time.perf_counter()
    # Each epoch draws from its own stream, so a resumed run sees what an uninterrupted one would have.
    rng = np.random.default_rng([recipe.seed, epoch])
    order = rng.permutation(len(images))
    x = augmented_epoch(images[order], recipe.augmentation, rng)
    x, y = mixed(x, _one_hot(labels[order]), recipe.mixup, rng)
    fitted = model.fit(
        x,
        y,
        batch_size=recipe.batch_size,
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=1 if sys.stdout.isatty() else 0,
        callbacks=[_StopAtNan()],
    )
    logits = predict(model, data.images[validation_rows])
    truth = data.labels[validation_rows]
    card = score(truth, logits.argmax(axis=1))
    loss = keras.losses.categorical_crossentropy(_one_hot(truth), logits, from_logits=True)
    return {
        "epoch": epoch + 1,
        "loss": float(fitted.history["loss"][0]),
        "validation_loss": float(keras.ops.convert_to_numpy(loss).mean()),
        "validation_top1": card.top1,
        "validation_macro_f1": card.macro_f1,
        "seconds": round(time.perf_counter() - start, 1),
    }


class _StopAtNan(keras.callbacks.Callback):  # type: ignore[misc]
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if logs and not np.isfinite(logs["loss"]):
            raise RunError(
                f"the loss became {logs['loss']} at step {batch + 1} of this epoch; the last epoch's checkpoint is kept: "
                "train again with a lower learning rate"
            )


def _finish(model: keras.Model, recipe: Recipe, data: Prepared, history: list[dict[str, Any]], out: Path) -> Scorecard:
    plain = ARCHITECTURES[recipe.model](DEFAULT_SPEC)
    plain.set_weights(model.get_weights())
    write_weights(out, plain)
    write_model(out, plain)
    plot_curves(out, history)
    _write_split(plain, data, "validation", out)
    card = _write_split(plain, data, "test", out)
    config = load_run(out).config
    config["history"] = {
        "epochs": len(history),
        "best_epoch": max(history, key=lambda row: row["validation_top1"])["epoch"],
        "seconds": round(sum(row["seconds"] for row in history), 1),
    }
    write_config(out, config)
    remove_checkpoint(out)
    return card


def _write_split(model: keras.Model, data: Prepared, split: str, out: Path) -> Scorecard:
    rows = data.indices(split)
    logits = predict(model, data.images[rows])
    card = score(data.labels[rows], logits.argmax(axis=1))
    write_predictions(out, split, logits, data.labels[rows], rows)
    plot_confusion(
        out / f"confusion_{split}.png", card.confusion, f"{out.name}, {split}: top-1 {card.top1:.1%}, n = {card.n:,}"
    )
    return card


def _check_resumable(out: Path, data: Prepared, recipe: Recipe) -> None:
    run = load_run(out)
    check_fits(run, data)
    if not (out / CHECKPOINT).is_file():
        if (out / WEIGHTS).is_file():
            raise RunError(f"{out}: nothing to resume, the run is finished; train into another --out")
        raise RunError(f"{out}: nothing to resume, no epoch was finished; run the same command without --resume")
    if run.config["split_hash"] != data.split_hash:
        raise RunError(
            f"{out}: was begun on other data (split hash differs); resume it with the data that it was begun on"
        )
    then, now = run.recipe.to_dict(), recipe.to_dict()
    changed = ", ".join(f"{key} {then[key]} there and {now[key]} here" for key in then if then[key] != now[key])
    if changed:
        raise RunError(f"{out}: was begun with another recipe ({changed}); resume it with the same choices")


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    warmup = recipe.warmup_epochs * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 20,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _config(recipe: Recipe, data: Prepared, model: keras.Model) -> dict[str, Any]:
    return {
        "edgeemo": edgeemo.__version__,
        "recipe": recipe.to_dict(),
        "labels": list(LABELS),
        "input_spec": DEFAULT_SPEC.to_dict(),
        "input_fingerprint": DEFAULT_SPEC.fingerprint(),
        "data_sets": [source["name"] for source in data.dataset["sources"]],
        "data_seed": data.dataset["seed"],
        "split_hash": data.split_hash,
        "parameters": model.count_params(),
        "multiply_accumulates": multiply_accumulates(model),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "threads": os.cpu_count(),
    }


def _one_hot(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.eye(len(LABELS), dtype=np.float32)[labels]


def scorecard_json(card: Scorecard) -> dict[str, Any]:
    """A scorecard as plain JSON values."""
    return asdict(card)
