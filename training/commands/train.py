"""`train`: a prepared folder to a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgeemo.errors import InvalidInput
from training.commands.cards import print_cards


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option(
    "--model",
    type=click.Choice(["nano", "small", "base", "teacher", "baseline5", "vgg16"]),
    help="The network: nano for microcontrollers, small for a Pi, base for a Pi 5 or a Jetson; teacher and vgg16 to distil from, "
    "baseline5 to compare with [default: small].",
)
@click.option(
    "--labels",
    type=click.Choice(["fer2013", "ferplus", "mix"]),
    help="fer2013: the hard labels. ferplus: the shares of FER+'s votes among the seven; pictures most of whose votes are for "
    "contempt, unknown or not-a-face are left out. mix: half votes, half hard label [default: fer2013].",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to write.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training faces [default: the recipe's].")
@click.option(
    "--balance",
    type=click.IntRange(1),
    metavar="N",
    help="Fit N faces of each class an epoch: drawn without replacement where there are more, augmented copies where there are "
    "fewer. Not with --class-weight or --focal.",
)
@click.option(
    "--class-weight",
    is_flag=True,
    default=None,
    help="Weigh each face's loss by how rare its class is, faces / (classes * faces of the class). Not with --balance or --focal.",
)
@click.option(
    "--focal",
    type=click.FloatRange(0, min_open=True),
    metavar="GAMMA",
    help="Focal loss: faces that are right and sure count less, the more so the larger GAMMA (2 is usual). Not with --balance or "
    "--class-weight.",
)
@click.option("--batch-size", type=click.IntRange(2), help="Faces a gradient step [default: the recipe's].")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), help="Peak of the schedule [default: the recipe's]."
)
@click.option("--warmup-epochs", type=click.IntRange(0), help="Epochs of linear warm-up [default: the recipe's].")
@click.option(
    "--mixup",
    type=click.FloatRange(0),
    metavar="ALPHA",
    help="Mixup's Beta(ALPHA, ALPHA), 0 for none [default: the recipe's].",
)
@click.option(
    "--cutmix", type=click.FloatRange(0), metavar="ALPHA", help="The same for CutMix [default: the recipe's]."
)
@click.option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    help="Momentum of the weights' moving average, 0 for none [default: the recipe's].",
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    metavar="N",
    help="Stop after N epochs without a better validation top-1, 0 for never [default: 0].",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="What layers compute in: bfloat16 or float16 on a GPU [default: float32].",
)
@click.option("--init", metavar="RUN", help="Start from the weights of a finished run of the same network and split.")
@click.option(
    "--distill",
    "teachers",
    metavar="RUN[,RUN]",
    callback=lambda _, __, value: None if value is None else tuple(value.split(",")),
    help="Teachers: finished runs on the same split, whose averaged scores are soft targets beside the labels.",
)
@click.option(
    "--distill-share",
    "distill",
    type=click.FloatRange(0, 1),
    help="The teachers' share of the loss [default: the recipe's].",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, min_open=True),
    help="What logits are divided by for distillation [default: the recipe's].",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of weights, order and augmentation [default: the recipe's].")
@click.option("--resume", is_flag=True, help="Continue an interrupted run from its last epoch, with its own recipe.")
def train(data: Path, out: Path, resume: bool, **choices: object) -> None:
    """Fit a network and write its run folder. Ctrl-C stops it; --resume goes on from the last epoch."""
    from training.backend import choose_backend

    choose_backend()
    from training.evaluate import scorecards
    from training.recipe import Recipe
    from training.run import load_run
    from training.train import train as run_train

    recipe = load_run(out).recipe if resume else Recipe()
    given: dict[str, Any] = {name: value for name, value in choices.items() if value is not None}
    try:
        recipe = replace(recipe, **given)
    except InvalidInput as error:
        raise click.UsageError(str(error)) from None
    run_train(recipe, data, out, resume=resume)
    print_cards(scorecards(out, data, "test"), f"{out}, float, test")
    click.echo(f"wrote {out}")
