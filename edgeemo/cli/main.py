"""The `edgeemo` program: finds the verb's file only when the verb is used."""

import importlib

import click

import edgeemo
from edgeemo.cli import shell

_VERBS = {
    "predict": "faces and their emotions in pictures",
    "watch": "who looks how, live from a camera or frame by frame from a file",
    "evaluate": "accuracy of a bundle on labelled pictures",
    "bench": "time and memory of one inference on this machine",
    "info": "what a bundle holds and what it promises",
    "flash": "write a model into a microcontroller's flash partition",
    "models": "model files: those that ship, and the face detector's to fetch",
    "doctor": "what works on this machine, and how to fix the rest",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _VERBS:
            return None
        command = getattr(importlib.import_module(f"edgeemo.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(edgeemo.__version__, prog_name="edgeemo")
def main() -> None:
    """Facial emotion recognition on the edge, with quantized models.

    \b
    edgeemo predict queue.jpg                 faces and emotions, a line a face
    edgeemo predict *.jpg --json              one JSON object a picture
    edgeemo watch --camera 0                  a live line; --json for machines
    edgeemo evaluate small test.zip           accuracy on <class>/ pictures
    edgeemo doctor                            what works on this machine

    Exit codes: 0 done, 1 it could not be done (one line on stderr), 2 wrong usage.
    """


def run() -> None:
    """Entry point of the installed program."""
    shell.run(main, "edgeemo")
