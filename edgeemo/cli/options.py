"""Options that several verbs share."""

from collections.abc import Callable
from typing import Any

import click

from edgeemo.faces import DETECTORS
from edgeemo.models import DEFAULT_MODEL

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def model_option() -> Decorator:
    """--model, a shipped name or the path of a bundle."""
    return click.option(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME_OR_BUNDLE",
        help="A shipped model's name or a .edgeemo file.",
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
                "The detector's model file, such as YuNet's ONNX one [default: $EDGEEMO_YUNET, then"
                " the cache folder]."
            ),
        )(command)
        return click.option(
            "--detector",
            type=click.Choice(tuple(DETECTORS)),
            default="auto",
            help=(
                "auto: YuNet where its model file is found, else Haar; whole: each picture is one "
                "face; others come with other packages."
            ),
        )(command)

    return decorate
