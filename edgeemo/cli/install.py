"""edgeemo install"""

from pathlib import Path

import click

from edgeemo.cli.options import slots_option
from edgeemo.cli.shell import NumberRange, say


@click.command()
@click.argument("bundle", metavar="X.edgeemo")
@slots_option()
@click.option(
    "--trial",
    "minutes",
    type=NumberRange(0, 43200),
    default=10.0,
    metavar="MINUTES",
    help="Healthy minutes of a sensor until the model is kept; 0 keeps it at once.",
)
@click.option(
    "--time-limit",
    type=NumberRange(0.01, 3600),
    default=8.0,
    metavar="SECONDS",
    help="The self-test's process may be silent for so long.",
)
def install(bundle: str, slots: Path | None, minutes: float, time_limit: float) -> None:
    """Put a model onto this device, for programs that run `--model slot`.

    It is verified (docs/trust.md), its self-test is run in a process of its own, and it is on the
    disk before anything changes. From the next start on it is on trial: after so many healthy
    minutes it is kept, after three starts that end badly, or where it answers but one label, the
    old model is back.

    \b
    edgeemo install mine.edgeemo
    edgeemo install mine.edgeemo --slots /srv/models --trial 30
    """
    from edgeemo.models import find_model
    from edgeemo.slots import Slots

    state = Slots(slots).install(find_model(bundle), minutes=minutes, time_limit=time_limit)
    say(state.events[-1].text, "programs with --model slot run it from their next start on")
