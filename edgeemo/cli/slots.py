"""edgeemo slots"""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.options import slots_option
from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict


@click.command()
@slots_option()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def slots(slots: Path | None, as_json: bool) -> None:
    """Which models are installed, which one runs, and why.

    \b
    edgeemo slots
    edgeemo slots --json
    """
    from edgeemo.errors import BundleError
    from edgeemo.slots import Slots
    from edgeemo.slots.state import filled

    opened = Slots(slots)
    state = opened.state()
    rows: list[dict[str, Any]] = []
    for name in sorted(filled(opened.folder)):
        row: dict[str, Any] = {"slot": name, "runs": name == state.current}
        try:
            manifest = opened.read(name).manifest
            row |= {"name": manifest.name, "version": manifest.version, "fault": None}
        except BundleError as error:
            row |= {"name": None, "version": None, "fault": str(error)}
        rows.append(row)
    if as_json:
        trial = asdict(state.trial) if state.trial else None
        events = [asdict(event) for event in state.events]
        say(strict.dumps_line({"slots": rows, "trial": trial, "events": events}))
        return
    for row in rows:
        what = row["fault"] or f"{row['name']} {row['version']}"
        say(f"{row['slot']}  {'runs' if row['runs'] else '':<6}{what}")
    if trial_now := state.trial:
        say(
            f"on trial: {trial_now.healthy_s / 60:.1f} of {trial_now.needed_s / 60:g} healthy "
            f"minutes, {trial_now.starts} of 3 starts that have not ended well"
        )
    for event in state.events:
        say(f"{datetime.fromtimestamp(event.time):%Y-%m-%d %H:%M:%S}  {event.text}")
