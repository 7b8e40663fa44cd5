"""edgeemo update"""

from pathlib import Path

import click

from edgeemo.cli.options import PlainPath, slots_option
from edgeemo.cli.shell import NumberRange, say


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
    metavar="URL",
    help="POST there what came of it: device id, release, words. Without it nothing is told.",
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
    report_to: str | None,
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
    from edgeemo.slots import Slots
    from edgeemo.updates.client import Source, report
    from edgeemo.updates.client import update as fetch
    from edgeemo.updates.releases import device_id as device

    source = Source(place, device(device_id), channel, root)
    result = fetch(source, Slots(slots), check=check, minutes=minutes)
    say(result.text)
    if report_to:
        report(report_to, source.device, result)
