"""Options that several verbs share."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from edgeemo.contract.labels import LABELS
from edgeemo.contract.languages import LANGUAGES
from edgeemo.contract.operating_point import BALANCED, DEFAULT, TRAINING, Prior, parse_prior
from edgeemo.data.view import TURNS, View
from edgeemo.errors import InvalidInput
from edgeemo.faces import DETECTORS
from edgeemo.models import DEFAULT_MODEL, shipped_models

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class PlainPath(click.Path):
    """A path that is not empty, which `Path` would take for the folder one is in."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("expected a path, received an empty word", param, ctx)
        return super().convert(value, param, ctx)


def bundles(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """What a shell completes a word with: shipped names and .edgeemo files, or else any file."""
    folder, name = os.path.split(incomplete)
    try:
        entries = sorted(os.listdir(folder or "."))
    except OSError:
        entries = []
    files = [
        os.path.join(folder, entry)
        for entry in entries
        if entry.startswith(name) and entry.endswith(".edgeemo")
    ]
    names = [model for model in shipped_models() if model.startswith(incomplete)]
    items = [CompletionItem(value) for value in (*names, *files)]
    return items or [CompletionItem(incomplete, type="file")]


def _priors(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    before, comma, begun = incomplete.rpartition(",")
    words = [f"{label}=" for label in LABELS]
    words = words if comma else [DEFAULT, TRAINING, BALANCED, *words]
    return [CompletionItem(before + comma + word) for word in words if word.startswith(begun)]


def bundle_argument(**settings: Any) -> Decorator:
    """BUNDLE, a shipped name or the path of a bundle."""
    return click.argument("bundle", shell_complete=bundles, **settings)


def model_option() -> Decorator:
    """--model, a shipped name or the path of a bundle."""
    return click.option(
        "--model",
        shell_complete=bundles,
        default=DEFAULT_MODEL,
        metavar="NAME_OR_BUNDLE",
        help="A shipped model's name, a .edgeemo file, or slot: the installed one.",
    )


def artifact_option() -> Decorator:
    """--artifact, a model file inside the bundle."""
    return click.option(
        "--artifact",
        metavar="FILE",
        help=(
            "int8.tflite, int8.onnx, fp16.onnx or fp32.onnx [default: the int8 model that this"
            " machine can run]."
        ),
    )


def prior_option() -> Decorator:
    """--prior, how frequent the emotions are; the command gets it parsed."""
    return click.option(
        "--prior",
        shell_complete=_priors,
        default=DEFAULT,
        callback=_prior,
        metavar="default|training|balanced|LABEL=SHARE,...",
        help=(
            "How frequent each emotion is where the model looks: training: as in its training "
            "data; balanced: rare ones as likely as others; or shares such as "
            "neutral=0.7,happy=0.2."
        ),
    )


def _prior(ctx: click.Context, param: click.Parameter, value: str) -> Prior:
    try:
        return parse_prior(value)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


def language_option() -> Decorator:
    """--lang, of the words that people read; the command gets it as `language`."""
    return click.option(
        "--lang",
        "language",
        type=click.Choice(LANGUAGES),
        default=LANGUAGES[0],
        help="Language of the emotions as people read them; JSON and CSV keep the bundle's labels.",
    )


def threads_option() -> Decorator:
    """--threads of one inference."""
    return click.option(
        "--threads", type=click.IntRange(1, 64), default=1, help="Threads of one inference."
    )


def detector_options() -> Decorator:
    """--detector and --detector-model."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option(
            "--detector-model",
            metavar="FILE",
            help=(
                "The detector's model file: YuNet's ONNX one, or a detector's bundle [default:"
                " $EDGEEMO_YUNET, else what ships]."
            ),
        )(command)
        return click.option(
            "--detector",
            type=click.Choice(tuple(DETECTORS)),
            default="auto",
            help=(
                "auto: face, which ships, or what --detector-model names; without LiteRT YuNet or "
                "Haar. face-nano: what microcontrollers run. whole: each picture is one face. "
                "Others come with other packages."
            ),
        )(command)

    return decorate


def view_options() -> Decorator:
    """--rotate, --flip, --mirror and --region; the command gets them as one `view`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_view(rotate: str, flip: bool, mirror: bool, region: Any, **others: Any) -> Any:
            return command(view=View(int(rotate), flip, mirror, region), **others)

        shown: Callable[..., Any] = click.option(
            "--region",
            callback=_region,
            metavar="X,Y,W,H",
            help=(
                "Look for faces in a part of the frame alone, in shares of it: left and top edge,"
                " width, height, such as 0.25,0,0.5,1."
            ),
        )(with_view)
        shown = click.option("--mirror", is_flag=True, help="Swap left and right.")(shown)
        shown = click.option("--flip", is_flag=True, help="Swap top and bottom.")(shown)
        return click.option(
            "--rotate",
            type=click.Choice([str(angle) for angle in TURNS]),
            default="0",
            help="Turn frames clockwise by so many degrees, before flip and mirror.",
        )(shown)

    return decorate


def _region(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        x, y, width, height = (float(share) for share in value.split(","))
        return View(region=(x, y, width, height)).region
    except (ValueError, InvalidInput):
        raise click.BadParameter(
            "expected x,y,width,height in shares of the frame, within 0 to 1, such as "
            f"0.25,0,0.5,1; received {value!r}"
        ) from None


def isolated_option() -> Decorator:
    """--isolated, the network in a process of its own."""
    return click.option(
        "--isolated",
        is_flag=True,
        help="Run the network in a watched process of its own, for models from elsewhere.",
    )


def slots_option() -> Decorator:
    """--slots, the folder of installed models."""
    return click.option(
        "--slots",
        type=PlainPath(),
        metavar="DIR",
        help="Where models are installed [default: $EDGEEMO_SLOTS, then /var/lib/edgeemo].",
    )
