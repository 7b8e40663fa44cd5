"""`finetune`: a finished float run to one that loses nothing in int8."""

from dataclasses import replace
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_apart
from training.cli.cards import print_cards
from training.cli.options import Given, recipe_options


@click.command()
@click.option(
    "--qat",
    "run",
    metavar="RUN",
    required=True,
    help="The finished float run, of the same split, to go on from.",
)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The run folder to write."
)
@recipe_options("model", "init", "precision")
@click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run from its last epoch, with its own recipe.",
)
def finetune(run: str, data: Path, out: Path, resume: bool, given: Given) -> None:
    """Train a finished float run on in simulated int8 (quantization-aware training), so that int8
    loses nothing.

    The recipe is the float run's, but for: 8 epochs, learning rate 1e-4 after at most one epoch of
    warm-up, no mixup, no cutmix and no moving average of the weights. `export build` takes the
    ranges of activations from such a run instead of calibrating them.

    \b
    python -m training finetune --qat runs/small --data prepared/ \\
        --out runs/small-qat
    """
    from training.machines.backend import choose_backend

    choose_backend()
    from training.fit.train import train as run_train
    from training.machines.choose import with_pipeline
    from training.machines.devices import ONE
    from training.networks.qat import finetuning
    from training.runs.evaluate import scorecards
    from training.runs.run import load_run

    check_apart(out, (run, *given.inputs(data)))
    start = load_run(run).recipe
    recipe = given.recipe(load_run(out).recipe if resume else finetuning(start, run))
    recipe = with_pipeline(recipe, ONE, settled=resume or given.pipeline_settled)
    run_train(
        replace(recipe, qat=True, init=run, model=start.model, precision="float32"),
        data,
        out,
        resume=resume,
    )
    print_cards(scorecards(out, data, "test"), f"{out}, float, test")
    say(f"wrote {out}")
