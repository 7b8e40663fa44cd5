"""edgeemo update"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeemo.cli.options import PlainPath, slots_option
from edgeemo.cli.shell import NumberRange, say
from edgeemo.errors import EdgeemoError, InvalidInput

if TYPE_CHECKING:
    from edgeemo.broker import Broker


def _place(ctx: click.Context, param: click.Parameter, value: str | None) -> "str | Broker | None":
    from edgeemo.updates.reporting import parse_place

    try:
        return None if value is None else parse_place(value)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option(
    "--url",
    "place",
    required=True,
    metavar="URL_OR_FOLDER",
    help="The repository: an http(s) address, or a folder such as a stick's.",
)
@click.option(
    "--root",
    type=PlainPath(),
    metavar="root.json",
    help="The root that is trusted [default: /etc/edgeemo/root.json, then the newest known].",
)
@click.option("--channel", default="stable", metavar="stable|canary", help="Which releases.")
@click.option(
    "--device-id", metavar="TEXT", help="Tells devices apart [default: from /etc/machine-id]."
)
@click.option("--check", is_flag=True, help="Say whether there is something new, and no more.")
@click.option(
    "--trial",
    "minutes",
    type=NumberRange(0, 43200),
    default=10.0,
    metavar="MINUTES",
    help="As of install.",
)
@click.option(
    "--report-to",
    callback=_place,
    metavar="URL",
    help=(
        "Tell there what came of it (device id, release, words): by POST, or mqtt(s)://[USER@]HOST"
        "/TOPIC with $EDGEEMO_MQTT_PASSWORD. Without it nothing is told."
    ),
)
@slots_option()
def update(
    place: str,
    root: Path | None,
    channel: str,
    device_id: str | None,
    check: bool,
    minutes: float,
    slots: Path | None,
    report_to: "str | Broker | None",
) -> None:
    """Install what a repository offers this device, if it is new.

    The repository is one of The Update Framework (docs/trust.md): what its keys have not signed, is
    older than what was seen, or has expired is refused. What is installed is on trial, as by
    `install`. Nothing is sent but requests for files.

    \b
    edgeemo update --url https://models.example.org --root root.json
    edgeemo update --url /media/stick/models --check

    Needs tuf: pip install 'edgeemo[update]'.
    """
    from edgeemo.broker import PASSWORD
    from edgeemo.slots import Slots
    from edgeemo.updates.client import Source
    from edgeemo.updates.client import update as fetch
    from edgeemo.updates.releases import device_id as device
    from edgeemo.updates.reporting import Reporter

    source = Source(place, device(device_id), channel, root)
    reporter = (
        Reporter(report_to, source.device, os.environ.get(PASSWORD, "")) if report_to else None
    )
    try:
        result = fetch(source, Slots(slots), check=check, minutes=minutes)
    except EdgeemoError as error:
        if reporter:
            reporter.tell_failure(error)
        raise
    say(result.text)
    if reporter:
        reporter.tell(result)
