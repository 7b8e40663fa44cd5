"""`train`: a prepared folder to a run."""

import shlex
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_apart
from training.cli.cards import print_cards
from training.cli.options import Given, recipe_options


def _device_count(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "all":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"expected all or a number of at least 1, received {value!r}")
    return int(value)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The run folder to write."
)
@recipe_options()
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
def train(
    data: Path,
    out: Path,
    devices: Any,
    tensorboard: bool,
    pictures: bool,
    resume: bool,
    given: Given,
) -> None:
    """Fit a network and write its run folder. Ctrl-C stops it; --resume goes on from the last
    epoch.

    \b
    python -m training train --data prepared/ --model small --out runs/small
    python -m training train --init small --data mine/ --out runs/mine

    The second goes on from a shipped model, for labels of your own (docs/own-faces.md).

    Several machines share each batch when the same command is started on each with its TF_CONFIG
    (docs/distributed.md).
    """
    from training.machines.backend import choose_backend

    choose_backend()
    from training.fit.events import Events
    from training.fit.start import is_bundle
    from training.fit.train import begun
    from training.fit.train import train as run_train
    from training.machines.choose import choose_devices
    from training.runs.evaluate import scorecards

    check_apart(out, given.inputs(data))
    used = choose_devices(devices)
    recipe = given.recipe(begun(out, used).recipe if resume else _under(given))
    if is_bundle(recipe.init) and used.chief and not resume:
        say(
            f"fine-tuning: {recipe.epochs} epochs, batch {recipe.batch_size}, learning rate "
            f"{recipe.learning_rate:g}, {recipe.warmup_epochs} of warm-up, mixup {recipe.mixup:g}, "
            f"moving average {recipe.ema:g}"
        )
    run_train(
        recipe,
        data,
        out,
        resume=resume,
        devices=used,
        events=Events(out) if tensorboard and used.chief else None,
        pictures=pictures,
    )
    if used.chief:
        print_cards(scorecards(out, data, "test"), f"{out}, float, test")
        say(f"wrote {out}")
        words = (str(out), "--data", str(data), "--out", f"{out.name}.edgeemo")
        say(f"next: python -m export build {shlex.join(words)}")


def _under(given: Given) -> Any:
    """The recipe that the given choices go over: that of fine-tuning where a bundle is the start,
    else None for the defaults.
    """
    from training.fit.start import fine_tuning, is_bundle

    init = str(given.choices.get("init", ""))
    return fine_tuning(init) if given.file is None and is_bundle(init) else None
