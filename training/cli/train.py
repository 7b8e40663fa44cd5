"""`train`: a prepared folder to a run."""

import os
import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.outputs import check_apart
from edgeemo.errors import InvalidInput, RunError
from training.cli.cards import cards_json, print_cards
from training.cli.options import Given, recipe_options
from training.runs.seeds import check_seeds, holds_seeds, read_seeds


def _device_count(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "all":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"expected all or a number of at least 1, received {value!r}")
    return int(value)


def _seeds(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    words = value.split(",")
    if not all(word.isascii() and word.isdecimal() and len(word) <= 10 for word in words):
        raise click.BadParameter(f"expected seeds like 1,2,3, received {value[:80]!r}")
    seeds = tuple(map(int, words))
    try:
        check_seeds(seeds)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None
    return seeds


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The run folder to write."
)
@recipe_options()
@click.option(
    "--seeds",
    callback=_seeds,
    metavar="N,N,...",
    help=(
        "Train a run for each of these seeds into OUT/seed-N, and show mean and standard "
        "deviation. `--distill OUT` then takes all of them as teachers. Not with --seed or "
        "--devices."
    ),
)
@click.option(
    "--side-by-side/--one-by-one",
    default=None,
    help=(
        "Take the steps of up to four of --seeds at once, under JAX [default: on a GPU]; each run "
        "is the same but for rounding."
    ),
)
@click.option(
    "--devices",
    callback=_device_count,
    metavar="all|N",
    help=(
        "Devices of a machine that share each batch [default: all GPUs where there are several, "
        "one otherwise]."
    ),
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Write events into OUT/tensorboard, for `tensorboard --logdir`.",
)
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help=(
        "Draw curves, confusion matrices and reliability diagrams [default: --pictures]; "
        "`evaluate RUN` draws the latter two later."
    ),
)
@click.option(
    "--resume",
    is_flag=True,
    help=(
        "Continue an interrupted run from its last epoch, with its own recipe. Several workers "
        "all have to see OUT."
    ),
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The figures as one JSON object on stdout; all other lines go to stderr.",
)
def train(
    data: Path,
    out: Path,
    seeds: tuple[int, ...] | None,
    side_by_side: bool | None,
    devices: Any,
    tensorboard: bool,
    pictures: bool,
    resume: bool,
    as_json: bool,
    given: Given,
) -> None:
    """Fit a network and write its run folder. Ctrl-C stops it; --resume goes on from the last
    epoch.

    \b
    python -m training train --data prepared/ --model small --out runs/small
    python -m training train --init small --data mine/ --out runs/mine
    python -m training train --data prepared/ --seeds 1,2,3 --out runs/three

    The second goes on from a shipped model, for labels of your own (docs/own-faces.md), the third
    tells how much chance there is in the figures.

    Several machines share each batch when the same command is started on each with its TF_CONFIG
    (docs/distributed.md).
    """
    several = seeds is not None or (resume and holds_seeds(out))
    if several:
        _check_alone(devices, given)
    elif holds_seeds(out):
        raise RunError(
            f"{out}: holds the runs of several seeds; add --resume to continue them or choose "
            "another --out"
        )
    elif side_by_side is not None:
        raise click.UsageError("--side-by-side and --one-by-one need several --seeds")
    from training.machines.backend import choose_backend

    choose_backend()
    check_apart(out, given.inputs(data))
    how = {"tensorboard": tensorboard, "pictures": pictures, "resume": resume}
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        if several:
            result = _several(data, out, seeds, side_by_side, given, **how)
        else:
            result = _one(data, out, devices, given, **how)
    if as_json and result:
        say(strict.dumps(result, indent=None))


def _check_alone(devices: Any, given: Given) -> None:
    """Raise what names the options and settings that do not go with several seeds."""
    received = "--devices" if devices is not None else "--seed" if "seed" in given.choices else ""
    if received:
        raise click.UsageError(
            f"{received} does not go with several seeds, each of which is a run on one device; "
            f"leave out {received}"
        )
    if os.environ.get("TF_CONFIG"):
        raise RunError(
            "TF_CONFIG is set, and several seeds are trained on one machine; unset TF_CONFIG, or "
            "train each seed by a command with a --seed of its own"
        )


def _one(
    data: Path,
    out: Path,
    asked: Any,
    given: Given,
    *,
    tensorboard: bool,
    pictures: bool,
    resume: bool,
) -> dict[str, Any]:
    """Train one run, and print what it reached; its scorecards as plain JSON values, of the chief
    alone.
    """
    from training.fit.events import Events
    from training.fit.train import begun
    from training.fit.train import train as run_train
    from training.machines.choose import choose_devices, with_pipeline
    from training.runs.evaluate import scorecards

    devices = choose_devices(asked)
    recipe = given.recipe(begun(out, devices).recipe if resume else _under(given))
    recipe = with_pipeline(recipe, devices, settled=resume or given.pipeline_settled)
    if devices.chief and not resume:
        _say_fine_tuning(recipe)
    run_train(
        recipe,
        data,
        out,
        resume=resume,
        devices=devices,
        events=Events(out) if tensorboard and devices.chief else None,
        pictures=pictures,
    )
    if not devices.chief:
        return {}
    cards = scorecards(out, data, "test")
    print_cards(cards, f"{out}, float, test")
    say(f"wrote {out}")
    words = (str(out), "--data", str(data), "--out", f"{out.name}.edgeemo")
    say(f"next: python -m export build {shlex.join(words)}")
    return cards_json(cards)


def _several(
    data: Path,
    out: Path,
    seeds: tuple[int, ...] | None,
    side_by_side: bool | None,
    given: Given,
    *,
    tensorboard: bool,
    pictures: bool,
    resume: bool,
) -> dict[str, Any]:
    """Train a run for each seed, and print how they vary; what results.json says."""
    from training.fit.events import Events
    from training.fit.recipe import Recipe
    from training.machines.choose import choose_devices, choose_side_by_side, with_pipeline
    from training.studies.seeds import RESULTS, table_lines, train_seeds

    there = read_seeds(out) if resume and holds_seeds(out) else None
    recipe = given.recipe(Recipe.from_dict(there.recipe) if there else _under(given))
    devices = choose_devices(1)
    recipe = with_pipeline(recipe, devices, settled=bool(there) or given.pipeline_settled)
    if not resume:
        _say_fine_tuning(recipe)
    chosen = seeds or (there.seeds if there else ())
    results = train_seeds(
        recipe,
        chosen,
        data,
        out,
        resume=resume,
        devices=devices,
        events=Events if tensorboard else None,
        pictures=pictures,
        side_by_side=choose_side_by_side(side_by_side),
    )
    say(*table_lines(results))
    say(f"wrote {out / RESULTS} and a run folder for each seed")
    say(f"next: python -m training train --distill {shlex.quote(str(out))}, to learn from them all")
    return results


def _say_fine_tuning(recipe: Any) -> None:
    from training.fit.start import is_bundle

    if is_bundle(recipe.init):
        say(
            f"fine-tuning: {count_of(recipe.epochs, 'epoch')}, batch {recipe.batch_size}, "
            f"learning rate {recipe.learning_rate:g}, {recipe.warmup_epochs} of warm-up, mixup "
            f"{recipe.mixup:g}, moving average {recipe.ema:g}"
        )


def _under(given: Given) -> Any:
    """The recipe that the given choices go over: that of fine-tuning where a bundle is the start,
    else None for the defaults.
    """
    from training.fit.start import fine_tuning, is_bundle

    init = str(given.choices.get("init", ""))
    return fine_tuning(init) if given.file is None and is_bundle(init) else None
