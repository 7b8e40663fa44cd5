"""edgeemo completion"""

import os
import shutil
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from edgeemo.cli.shell import say

SHELLS = ("bash", "zsh", "fish")
_PROGRAMS = ("edgeemo-train", "edgeemo-export")  # where they are installed


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print what makes the tab key of bash, zsh or fish complete verbs, options and bundles.

    Without SHELL it is for the one that $SHELL names. bash has to be 4.4 or newer.

    \b
    eval "$(edgeemo completion bash)"                    in ~/.bashrc
    eval "$(edgeemo completion zsh)"                     in ~/.zshrc
    edgeemo completion fish | source                     in config.fish
    """
    chosen = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(chosen) if chosen in SHELLS else None
    if kind is None:
        raise click.UsageError(f"name a shell: {', '.join(SHELLS)}; $SHELL names none of them")
    for program in ("edgeemo", *filter(shutil.which, _PROGRAMS)):
        variable = f"_{program}_COMPLETE".replace("-", "_").upper()
        say(*kind(click.Command(program), {}, program, variable).source().splitlines())
