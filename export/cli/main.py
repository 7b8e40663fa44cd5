"""The program `python -m export`: loads a verb's file only when the verb is used."""

import importlib

import click

from edgeemo.cli import shell

_VERBS = {
    "build": "a trained run as a bundle, in int8, proved",
    "inspect": "where int8 loses what, layer by layer",
    "compare": "two bundles on the same pictures",
    "tensorrt": "engines of a bundle's ONNX files, on a Jetson",
    "firmware": "C99 for microcontrollers, bit for bit",
    "flash-image": "the content of an ESP32's model partition",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _VERBS:
            return None
        module = name.replace("-", "_")
        command = getattr(importlib.import_module(f"export.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
def main() -> None:
    """From a trained run to a bundle that a device can trust.

    \b
    python -m export build runs/small --data prepared/ --out small.edgeemo
    python -m export inspect runs/small --data prepared/
    python -m export compare A.edgeemo B.edgeemo --data prepared/
    python -m export tensorrt small.edgeemo --out engines/
    python -m export firmware nano --out firmware/
    python -m export flash-image nano --out model.bin
    """


def run() -> None:
    """Entry point of `python -m export`."""
    shell.run(main, "python -m export")
