"""The program `python -m export`: loads a verb's file only when the verb is used."""

import sys
from collections.abc import Sequence

import click

from edgeemo.cli import shell
from edgeemo.version import __version__
from export.cli.apart import is_child, run_apart

_NAME = "python -m export"
_VERBS = {
    "build": "a trained run as a bundle, in int8, proved",
    "adopt": "a model from elsewhere as a bundle, proved",
    "detector": "a trained face detector as a bundle, proved",
    "inspect": "where int8 loses what, layer by layer",
    "compare": "two bundles on the same pictures",
    "tensorrt": "engines of a bundle's ONNX files, on a Jetson",
    "firmware": "C99 for microcontrollers, bit for bit",
    "flash-image": "the content of an ESP32's model partition",
    "keygen": "a pair of keys, to sign bundles and to trust them",
    "publish": "a bundle into a repository of updates",
    "repository": "a repository of updates: made, renewed, its keys rotated",
    "sign": "a signature into a bundle, for devices that trust keys",
}


@click.command(cls=shell.LazyVerbs, package="export.cli", verbs=_VERBS)
@click.version_option(__version__, "-V", "--version", prog_name="edgeemo export")
def main() -> None:
    """From a trained run to a bundle that a device can trust.

    \b
    python -m export build runs/small --data prepared/ --out small.edgeemo
    python -m export adopt my.keras --labels a,b --data faces/ --out my.edgeemo
    python -m export inspect runs/small --data prepared/
    python -m export compare A.edgeemo B.edgeemo --data prepared/
    python -m export tensorrt small.edgeemo --out engines/
    python -m export firmware nano --out firmware/
    python -m export flash-image nano --out model.bin
    python -m export keygen fleet
    python -m export sign small.edgeemo --key fleet.key
    """


def run() -> None:
    """Entry point of `python -m export`; `adopt` reads files of others, and does so apart."""
    words = sys.argv[1:]
    if words[:1] == ["adopt"] and not is_child():
        shell.run(
            click.Command("adopt", callback=lambda: _adopt_apart(words)), _NAME, [], extra="export"
        )
    shell.run(main, _NAME, extra="export")


def _adopt_apart(words: Sequence[str]) -> None:
    from export.cli.adopt import adopt

    with adopt.make_context("adopt", [*words[1:]], resilient_parsing=True) as context:
        run_apart(words, str(context.params.get("model") or "adopt"))
