"""The `edgeemo` program: finds the verb's file only when the verb is used."""

import os
import shlex

import click

from edgeemo.cli import shell
from edgeemo.version import __version__

_VERBS = {
    "predict": "faces and their emotions in pictures",
    "watch": "who looks how, live from a camera or frame by frame from a file",
    "serve": "a page and a local API with what a camera shows",
    "evaluate": "accuracy of a bundle on labelled pictures",
    "bench": "time and memory of one inference on this machine",
    "info": "what a bundle holds and what it promises",
    "install": "a model onto this device, on trial until it has proved itself",
    "update": "what a repository of models offers this device",
    "slots": "which models are installed, and which one runs",
    "rollback": "back to the model that ran before",
    "verify": "who has signed a bundle, and whether it may run here",
    "flash": "write a model into a microcontroller's flash partition",
    "models": "model files: those that ship, and the face detector's to fetch",
    "doctor": "what works on this machine, and how to fix the rest",
    "completion": "verbs, options and bundles by the tab key of a shell",
}


class _Program(shell.LazyVerbs):
    def meant(self, ctx: click.Context, word: str) -> str:
        from edgeemo.data.pictures import SUFFIXES, VIDEO_SUFFIXES

        ending = os.path.splitext(word)[1].lower()
        if ending in VIDEO_SUFFIXES or "://" in word:
            return f"Did you mean: edgeemo watch {shlex.quote(word)}"
        if ending in SUFFIXES or os.path.isdir(word):
            return f"Did you mean: edgeemo predict {shlex.quote(word)}"
        return super().meant(ctx, word)


@click.command(cls=_Program, package="edgeemo.cli", verbs=_VERBS)
@click.version_option(__version__, "-V", "--version", prog_name="edgeemo")
def main() -> None:
    """Facial emotion recognition on the edge, with quantized models.

    \b
    edgeemo predict queue.jpg                 faces and emotions, a line a face
    edgeemo predict *.jpg --json              one JSON object a picture
    edgeemo watch --camera 0                  a live line; --json for machines
    edgeemo evaluate small test.zip           accuracy on <class>/ pictures
    edgeemo doctor                            what works on this machine

    Exit codes: 0 done, 1 it could not be done (one line on stderr), 2 wrong usage, 130
    interrupted.
    """


def run() -> None:
    """Entry point of the installed program."""
    shell.run(main, "edgeemo")
