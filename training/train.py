"""Fit a network: read the data, build, fit epoch by epoch, evaluate, write the run. Resumable after every epoch."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
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
from training.balance import balanced_rows, balanced_weights
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
from training.targets import Targets, ferplus_majority, group_votes, targets


@dataclass(frozen=True)
class _Faces:
    """Pictures uint8 (n, 48, 48, 1) and targets float32 (n, 7); class weights (7,) or None."""

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None


def train(recipe: Recipe, data_path: Path, out: Path, *, resume: bool = False) -> Scorecard:
    """Train by `recipe` on a prepared folder into the run folder `out`; returns the test scorecard.

    Raises:
        RunError: `out` holds a run already (or, with `resume`, none of this recipe and data), or the loss is no number.
        DataError: the recipe's labels or balance ask for votes or classes that the data do not hold.
    """
    data = load_prepared(data_path, DEFAULT_SPEC)
    fitted, held_out = _targets(recipe, data, "train"), _targets(recipe, data, "validation")
    if resume:
        _check_resumable(out, data, recipe)
    elif has_run(out):
        raise RunError(f"{out}: holds a run already; add --resume to continue it or choose another --out")
    keras.utils.set_random_seed(recipe.seed)
    model = ARCHITECTURES[recipe.model](DEFAULT_SPEC)
    weights = balanced_weights(fitted.values) if recipe.class_weight else None
    training = _Faces(data.images[fitted.rows], fitted.values, weights)
    validation = _Faces(data.images[held_out.rows], held_out.values)
    model.compile(optimizer=_optimizer(recipe, steps_per_epoch(recipe, len(fitted.rows))), loss=_loss(recipe))
    history, best = read_checkpoint(out, model) if resume else ([], model.get_weights())
    if not resume:
        write_config(out, _config(recipe, data, model) | _account({"train": fitted, "validation": held_out}, weights))
    click.echo(
        f"{recipe.model}: {model.count_params():,} parameters, {multiply_accumulates(model) / 1e6:.1f} M multiply-accumulates, "
        f"{len(fitted.rows):,} training and {len(held_out.rows):,} validation faces, Keras on {keras.backend.backend()}"
    )
    for line in [*_target_lines("train", fitted), *_target_lines("validation", held_out)]:
        click.echo(line)
    try:
        for epoch in range(len(history), recipe.epochs):
            row = _one_epoch(model, recipe, epoch, training, validation)
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


def ferplus_scorecard(run_path: Path, data_path: Path, split: str) -> Scorecard | None:
    """Scorecard of a run's stored predictions on a split against the FER+ majority.

    Only the pictures count where more than half of the taggers agree on one of the seven; None where there is none.
    """
    data = load_prepared(data_path, DEFAULT_SPEC)
    if data.votes is None:
        return None
    with np.load(run_path / f"predictions_{split}.npz", allow_pickle=False) as stored:
        logits, rows = stored["logits"], stored["rows"]
    labels, known = ferplus_majority(group_votes(data)[rows])
    return score(labels[known], logits.argmax(axis=1)[known]) if known.any() else None


def steps_per_epoch(recipe: Recipe, faces: int) -> int:
    """Gradient steps of an epoch with `faces` training pictures."""
    return -(-(len(LABELS) * recipe.balance or faces) // recipe.batch_size)


def fitted_epochs(recipe: Recipe, data: Prepared, rows: NDArray[np.int64]) -> Iterator[tuple[keras.Model, float]]:
    """Fit a network to some rows (n,) of prepared data as `train` does; yields it and its loss after every epoch.

    Nothing is written and nothing validated, so the result is what the last epoch made.

    Raises:
        RunError: the loss is no number.
        DataError: the recipe's labels or balance ask for votes or classes that these rows do not hold.
    """
    smoothing = recipe.label_smoothing if recipe.labels == "mix" else 0.0
    fitted = targets(data, rows, recipe.labels, recipe.mix, smoothing)
    weights = balanced_weights(fitted.values) if recipe.class_weight else None
    training = _Faces(data.images[fitted.rows], fitted.values, weights)
    keras.utils.set_random_seed(recipe.seed)
    model = ARCHITECTURES[recipe.model](DEFAULT_SPEC)
    model.compile(optimizer=_optimizer(recipe, steps_per_epoch(recipe, len(fitted.rows))), loss=_loss(recipe))
    for epoch in range(recipe.epochs):
        yield model, _fit_epoch(model, recipe, epoch, training, verbose=0)


def predict(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (N, 7) logits of uint8 (N, 48, 48, 1) pictures."""
    logits = [
        keras.ops.convert_to_numpy(model.predict_on_batch(images[i : i + 512].astype(np.float32)))
        for i in range(0, len(images), 512)
    ]
    return np.concatenate(logits).astype(np.float32)


def _one_epoch(model: keras.Model, recipe: Recipe, epoch: int, training: _Faces, validation: _Faces) -> dict[str, Any]:
    start = time.perf_counter()
    loss = _fit_epoch(model, recipe, epoch, training, verbose=1 if sys.stdout.isatty() else 0)
    logits = predict(model, validation.images)
    card = score(validation.targets.argmax(axis=1), logits.argmax(axis=1))
    validation_loss = keras.losses.categorical_crossentropy(validation.targets, logits, from_logits=True)
    return {
        "epoch": epoch + 1,
        "loss": loss,
        "validation_loss": float(keras.ops.convert_to_numpy(validation_loss).mean()),
        "validation_top1": card.top1,
        "validation_macro_f1": card.macro_f1,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _fit_epoch(model: keras.Model, recipe: Recipe, epoch: int, training: _Faces, *, verbose: int) -> float:
    """One pass over the training faces; returns its mean loss."""
    # Each epoch draws from its own stream, so a resumed run sees what an uninterrupted one would have.
    rng = np.random.default_rng([recipe.seed, epoch])
    order = rng.permutation(_drawn_rows(recipe, training, rng))
    x = augmented_epoch(training.images[order], recipe.augmentation, rng)
    x, y = mixed(x, training.targets[order], recipe.mixup, rng)
    fitted = model.fit(
        x,
        y,
        sample_weight=None if training.weights is None else y @ training.weights,
        batch_size=recipe.batch_size,
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,
        verbose=verbose,
        callbacks=[_StopAtNan()],
    )
    return float(fitted.history["loss"][0])


def _drawn_rows(recipe: Recipe, training: _Faces, rng: np.random.Generator) -> NDArray[np.int64]:
    if recipe.balance:
        return balanced_rows(training.targets.argmax(axis=1), recipe.balance, rng)
    return np.arange(len(training.images))


def _targets(recipe: Recipe, data: Prepared, split: str) -> Targets:
    # Hard labels are smoothed by the loss; validation measures against labels as they are.
    smoothing = recipe.label_smoothing if recipe.labels == "mix" and split == "train" else 0.0
    return targets(data, data.indices(split), recipe.labels, recipe.mix, smoothing)


def _loss(recipe: Recipe) -> keras.losses.Loss:
    smoothing = recipe.label_smoothing if recipe.labels == "fer2013" else 0.0
    if recipe.focal:
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=recipe.focal, from_logits=True, label_smoothing=smoothing
        )
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)


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


def _account(chosen: dict[str, Targets], weights: NDArray[np.float32] | None) -> dict[str, Any]:
    """What the labels made of the pictures, for config.json."""
    return {
        "faces": {split: len(part.rows) for split, part in chosen.items()},
        "left_out": {split: part.left_out for split, part in chosen.items()},
        "kept_hard": {split: part.kept_hard for split, part in chosen.items()},
        "votes_dropped": {split: part.votes_dropped for split, part in chosen.items()},
        "class_weights": None if weights is None else dict(zip(LABELS, weights.tolist(), strict=True)),
    }


def _target_lines(split: str, part: Targets) -> Iterator[str]:
    counted = ((part.left_out, "pictures left out"), (part.kept_hard, "with their hard label alone"))
    for counts, what in (*counted, (part.votes_dropped, "votes dropped")):
        if sum(counts.values()):
            yield f"{split}: {sum(counts.values()):,} {what} ({', '.join(f'{n:,} {why}' for why, n in counts.items())})"


def scorecard_json(card: Scorecard) -> dict[str, Any]:
    """A scorecard as plain JSON values."""
    return asdict(card)
