"""A network by the documented recipe on both paths, the one of `train` and the fast one: what each
reaches on validation, by several seeds.

Both run on Keras' JAX, so that they differ in the pictures (OpenCV on the host, or made inside of
the compiled step), in the optimizer's code and in the order of the faces.

KERAS_BACKEND=jax python -m benchmarks.training.both_paths --data prepared/ --out both.json

Each training is written to --out as it ends. The same command goes on after the last one there.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from training.fast.choices import Choice
from training.fast.engine import Programs, on_device
from training.fast.job import Job, Lesson, drawn, fitted
from training.fast.optimizer import new_state
from training.fast.xla import check_backend, jax, jnp
from training.fit.anew import fitted_epochs
from training.fit.recipe import Recipe
from training.runs.predict import predict


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A prepared folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .json to write.")
@click.option("--model", default="nano", show_default=True)
@click.option("--epochs", default=6, show_default=True)
@click.option("--part", default=1, show_default=True, help="Every how manieth training face.")
@click.option("--seeds", default="1,2,3", show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--warmup-epochs", default=3, show_default=True)
@click.option(
    "--ema",
    default=0.98,
    show_default=True,
    help="Momentum of the weights' average: the recipe's 0.998 is for longer training.",
)
def main(data: Path, out: Path, part: int, seeds: str, **choices: Any) -> None:
    """Train MODEL in turns on both paths, and show the top-1 on validation of the last epoch."""
    where = check_backend()
    prepared = load_prepared(data)
    rows = prepared.indices("train")[::part]
    recipe = Recipe(**choices)
    say(
        f"{recipe.model}, {recipe.epochs} epochs of {len(rows):,} faces, batch "
        f"{recipe.batch_size}, JAX {jax.__version__} on {where}"
    )
    made_of = {**choices, "part": part, "split_hash": prepared.split_hash}
    trainings = _begun(out, made_of)
    for seed in map(int, seeds.split(",")):
        for name, of in (("train", _by_train), ("fast", _by_fast_path)):
            if any((row["path"], row["seed"]) == (name, seed) for row in trainings):
                continue
            start = time.monotonic()
            top1 = _top1(of(replace(recipe, seed=seed), prepared, rows), prepared)
            seconds = round(time.monotonic() - start, 1)
            trainings.append({"path": name, "seed": seed, "top1": top1, "seconds": seconds})
            _write(out, {"made_of": made_of, "trainings": trainings})
            say(f"seed {seed}, {name}: top-1 {top1:.2%}, {seconds:.0f} s")
    for name in ("train", "fast"):
        values = [row["top1"] for row in trainings if row["path"] == name]
        deviation = np.std(values, ddof=1) if len(values) > 1 else float("nan")
        say(f"{name}: mean {np.mean(values):.2%}, standard deviation {deviation:.2%}")


def _begun(out: Path, made_of: dict[str, Any]) -> list[dict[str, Any]]:
    """The trainings that `out` holds.

    Raises:
        RunError: they are of other choices.
    """
    if not out.is_file():
        return []
    there = strict.loads(out.read_bytes())
    if there["made_of"] != made_of:
        raise RunError(
            f"{out}: expected trainings of {made_of}, received {there['made_of']}; take another "
            "--out"
        )
    return list(there["trainings"])


def _write(out: Path, results: dict[str, Any]) -> None:
    make_folder(out.parent)
    with written_beside(out) as part:
        part.write_text(strict.dumps(results))


def _by_train(recipe: Recipe, data: Prepared, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits (n, 7) of validation after the last epoch of `train`'s path."""
    logits = np.zeros((0, 0), np.float32)
    for epoch, (model, _) in enumerate(fitted_epochs(recipe, data, rows)):
        if epoch + 1 == recipe.epochs:
            logits = predict(model, data.images[data.indices("validation")])
    return logits


def _by_fast_path(recipe: Recipe, data: Prepared, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The same of the fast path, by the same recipe."""
    choice = Choice(
        recipe.batch_size,
        recipe.learning_rate,
        recipe.warmup_epochs,
        mixup=recipe.mixup,
        momentum=recipe.ema,
        decay=recipe.weight_decay,
        precision="float32",
        augmentation=recipe.augmentation,
    )
    programs = Programs(drawn(recipe.model, recipe.seed, "float32"), choice.shape(len(rows)))
    # `Choice.numbers` shortens the warm-up of short trainings; `train` does not.
    numbers = replace(choice, warmup=0).numbers(programs.shape, recipe.epochs)
    numbers["warmup"] = np.float32(recipe.warmup_epochs * programs.shape.steps)
    faces = on_device(data.images[rows, :, :, 0], np.arange(len(rows)), recipe.seed)
    lesson = Lesson([jnp.asarray(_smoothed(recipe, data, rows), jnp.float16)], fresh=True)
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            "fast",
            programs,
            faces,
            lesson,
            numbers,
            recipe.epochs,
            recipe.seed,
            Path(folder),
        )
        state, _ = fitted(job, lambda: new_state(programs.model), lambda *_: None)
    return programs.scores(state, data.images[data.indices("validation"), :, :, 0])


def _smoothed(recipe: Recipe, data: Prepared, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    classes = len(data.class_names)
    hard = np.eye(classes, dtype=np.float32)[data.labels[rows]]
    return hard * (1 - recipe.label_smoothing) + np.float32(recipe.label_smoothing / classes)


def _top1(logits: NDArray[np.float32], data: Prepared) -> float:
    return float((logits.argmax(axis=1) == data.labels[data.indices("validation")]).mean())


if __name__ == "__main__":
    main()
