"""edgeemo rollback"""

from pathlib import Path

import click

from edgeemo.cli.options import slots_option
from edgeemo.cli.shell import say


@click.command()
@slots_option()
def rollback(slots: Path | None) -> None:
    """Let the model that ran before run again, from the next start on.

    \b
    edgeemo rollback
    """
    from edgeemo.slots import Slots

    say(Slots(slots).rollback().events[-1].text)
