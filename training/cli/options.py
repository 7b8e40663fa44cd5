"""The recipe's choices as options, shared by the verbs that fit networks."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import NumberRange
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.reading import read_regular, why_no_file
from edgeemo.errors import InvalidInput, MissingFile
from edgeemo.models import shipped_models
from training.fit.recipe import LABEL_CHOICES, PIPELINES, PRECISIONS, Recipe
from training.networks import NETWORKS
from training.runs.seeds import LARGEST_SEED, runs_at

Command = Callable[..., None]
_SEEDS = click.IntRange(0, LARGEST_SEED)


def _teachers(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(run for path in value.split(",") for run in runs_at(path))


_OPTIONS: dict[str, Callable[[Command], Command]] = {
    "model": click.option(
        "--model",
        type=click.Choice(list(NETWORKS)),
        help=(
            "The network: nano for microcontrollers, small for a Pi, base for a Pi 5 or a Jetson; "
            "teacher and vgg16 to distil from, "
            "baseline5 to compare with [default: small]."
        ),
    ),
    "labels": click.option(
        "--labels",
        type=click.Choice(LABEL_CHOICES),
        help=(
            "fer2013: the hard labels. ferplus: the shares of FER+'s votes among the seven;"
            " pictures most of whose votes are for contempt, unknown or not-a-face are left out."
            " mix: half votes, half hard label [default: fer2013]."
        ),
    ),
    "epochs": click.option(
        "--epochs",
        type=click.IntRange(1),
        help="Passes over the training faces [default: the recipe's].",
    ),
    "balance": click.option(
        "--balance",
        type=click.IntRange(1),
        metavar="N",
        help=(
            "Fit N faces of each class an epoch: drawn without replacement where there are more, "
            "augmented copies where there are "
            "fewer. Not with --class-weight or --focal."
        ),
    ),
    "class_weight": click.option(
        "--class-weight",
        is_flag=True,
        default=None,
        help=(
            "Weigh each face's loss by how rare its class is, faces / (classes * faces of the "
            "class). Not with --balance or --focal."
        ),
    ),
    "focal": click.option(
        "--focal",
        type=NumberRange(0, min_open=True),
        metavar="GAMMA",
        help=(
            "Focal loss: faces that are right and sure count less, the more so the larger GAMMA "
            "(2 is usual). Not with --balance or "
            "--class-weight."
        ),
    ),
    "batch_size": click.option(
        "--batch-size",
        type=click.IntRange(2),
        help="Faces a gradient step [default: the recipe's].",
    ),
    "learning_rate": click.option(
        "--learning-rate",
        type=NumberRange(0, min_open=True),
        help="Peak of the schedule [default: the recipe's].",
    ),
    "warmup_epochs": click.option(
        "--warmup-epochs",
        type=click.IntRange(0),
        help="Epochs of linear warm-up [default: the recipe's].",
    ),
    "mixup": click.option(
        "--mixup",
        type=NumberRange(0),
        metavar="ALPHA",
        help="Mixup's Beta(ALPHA, ALPHA), 0 for none [default: the recipe's].",
    ),
    "cutmix": click.option(
        "--cutmix",
        type=NumberRange(0),
        metavar="ALPHA",
        help="The same for CutMix [default: the recipe's].",
    ),
    "ema": click.option(
        "--ema",
        type=NumberRange(0, 1, max_open=True),
        help="Momentum of the weights' moving average, 0 for none [default: the recipe's].",
    ),
    "patience": click.option(
        "--patience",
        type=click.IntRange(0),
        metavar="N",
        help="Stop after N epochs without a better validation top-1, 0 for never [default: 0].",
    ),
    "precision": click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        help=(
            "What layers compute in: bfloat16 or float16 on a GPU, bfloat16 on a CPU with "
            "AVX512-BF16 or AMX [default: float32]."
        ),
    ),
    "init": click.option(
        "--init",
        metavar="RUN|BUNDLE|NAME",
        help=(
            "Start from the weights of a finished run, of a bundle, or of a shipped one such as "
            "small: of the same network and input, for the same labels or for others. From a "
            "bundle the defaults are those of fine-tuning: 20 epochs, batch 32, learning rate "
            "0.001, one epoch of warm-up, no mixup, no moving average."
        ),
    ),
    "teachers": click.option(
        "--distill",
        "teachers",
        metavar="RUN[,RUN]",
        callback=_teachers,
        help=(
            "Teachers: finished runs on the same split, whose averaged scores are soft targets "
            "beside the labels. The folder of `train --seeds` stands for all its runs."
        ),
    ),
    "informed": click.option(
        "--distill-votes",
        "informed",
        is_flag=True,
        default=None,
        help=(
            "Let the teachers also see FER+'s votes for each training face: a logistic regression "
            "from votes and teachers' logits to "
            "FER-2013's labels makes the soft targets. With --labels fer2013."
        ),
    ),
    "views": click.option(
        "--distill-views",
        "views",
        type=click.IntRange(0),
        metavar="N",
        help=(
            "Let the teachers score N augmented variants of each face, which the epochs take in "
            "turn, instead of each face and its "
            "mirror image: the student then has the answer to the very pixels that it sees."
        ),
    ),
    "distill": click.option(
        "--distill-share",
        "distill",
        type=NumberRange(0, 1),
        help="The teachers' share of the loss [default: the recipe's].",
    ),
    "temperature": click.option(
        "--temperature",
        type=NumberRange(0, min_open=True),
        help="What logits are divided by for distillation [default: the recipe's].",
    ),
    "with_validation": click.option(
        "--with-validation",
        is_flag=True,
        default=None,
        help=(
            "Fit the validation faces too and keep the last epoch: for a last run, when every "
            "choice is made."
        ),
    ),
    "pipeline": click.option(
        "--pipeline",
        type=click.Choice(PIPELINES),
        help=(
            "Where faces are augmented: host, in OpenCV, or device, inside the compiled step, which "
            "needs KERAS_BACKEND=jax and is what keeps a GPU busy [default: device on one GPU "
            "under JAX, host elsewhere]."
        ),
    ),
    "seed": click.option(
        "--seed",
        type=_SEEDS,
        help="Seed of weights, order and augmentation [default: the recipe's].",
    ),
}
_FILE = click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    help="Take the recipe from this JSON file, as `sweep` writes it; other options override it.",
)


@dataclass(frozen=True)
class Given:
    """What was given of a recipe: choices by the name of the recipe's field, and the file that
    --recipe names.
    """

    choices: dict[str, Any]
    """Options that were given, by their name in the recipe."""
    file: Path | None
    """The recipe file of `--recipe`; None without."""

    @property
    def pipeline_settled(self) -> bool:
        """Whether it was said where faces are augmented, by the option or by the recipe's file."""
        return "pipeline" in self.choices or self.file is not None

    def inputs(self, data: Path) -> tuple[str | Path | None, ...]:
        """All that is read: the data, the recipe's file, runs to start from and to learn from."""
        return (
            data,
            self.file,
            self._init_path(),
            *self.choices.get("teachers", ()),
        )

    def _init_path(self) -> str | None:
        """What `--init` reads, where that is no shipped name."""
        init = self.choices.get("init")
        return None if init in shipped_models() else init

    def recipe(self, begun: Recipe | None = None) -> Recipe:
        """The given choices over the recipe in the file; without a file, over `begun` or the
        defaults.

        Raises:
            MissingFile, InvalidInput: the file is not there or holds no recipe.
            click.UsageError: the choices contradict each other.
        """
        under = begun or Recipe() if self.file is None else read_recipe(self.file)
        try:
            return replace(under, **self.choices)
        except InvalidInput as error:
            raise click.UsageError(str(error)) from None


def recipe_options(*without: str) -> Callable[[Command], Command]:
    """Gives a command the options of a recipe, but for the fields `without`, as its argument
    `given`, a `Given`.
    """
    names = [name for name in _OPTIONS if name not in without]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*arguments: Any, recipe_file: Path | None, **values: Any) -> None:
            choices = {name: value for name in names if (value := values.pop(name)) is not None}
            command(*arguments, given=Given(choices, recipe_file), **values)

        decorated: Command = _FILE(run)
        for name in reversed(names):  # click lists the one that was put on last first
            decorated = _OPTIONS[name](decorated)
        return decorated

    return decorate


def read_recipe(path: Path) -> Recipe:
    """The recipe in a JSON file.

    Raises:
        MissingFile: no such file.
        InvalidInput: it holds no recipe, or one for a network that is not there.
    """
    if why := why_no_file(path):
        raise MissingFile(
            f"{path}: {why}; expected a recipe as JSON: `sweep` writes one as best.json"
        )
    try:
        recipe = Recipe.from_dict(strict.loads(read_regular(path, strict.MAX_BYTES)))
    except (ValueError, OSError) as error:
        raise InvalidInput(
            f"{path}: not a recipe ({error}); take the best.json of a sweep"
        ) from None
    if recipe.model not in NETWORKS:
        raise InvalidInput(
            f"{path}: expected a network of {', '.join(NETWORKS)}, received {recipe.model!r}"
        )
    return recipe
