"""The program `python -m export`: loads a verb's file only when the verb is used."""

import click

from edgeemo.cli import shell

_VERBS = {
    "build": "a trained run as a bundle, in int8, proved",
    "adopt": "a model from elsewhere as a bundle, proved",
    "inspect": "where int8 loses what, layer by layer",
    "compare": "two bundles on the same pictures",
    "tensorrt": "engines of a bundle's ONNX files, on a Jetson",
    "firmware": "C99 for microcontrollers, bit for bit",
    "flash-image": "the content of an ESP32's model partition",
}


@click.command(cls=shell.LazyVerbs, package="export.cli", verbs=_VERBS)
def main() -> None:
    """From a trained run to a bundle that a device can trust.

    \b
    python -m export build runs/small --data prepared/ --out small.edgeemo
    python -m export adopt mine.keras --labels happy,sad --data faces/ --out mine.edgeemo
    python -m export inspect runs/small --data prepared/
    python -m export compare A.edgeemo B.edgeemo --data prepared/
    python -m export tensorrt small.edgeemo --out engines/
    python -m export firmware nano --out firmware/
    python -m export flash-image nano --out model.bin
    """


def run() -> None:
    """Entry point of `python -m export`."""
    shell.run(main, "python -m export", extra="export")
