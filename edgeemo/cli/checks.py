"""What a diagnosis prints: a line a check, and the command that fixes what is wrong."""

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from edgeemo.cli.shell import say
from edgeemo.cli.tables import wrapped
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis."""

    name: str
    """What was looked at."""
    state: str
    """"ok", "note" (works without) or "problem"."""
    text: str
    """What was seen."""
    fix: str = ""
    """The command that fixes it; empty where nothing is to be done."""
    measured: dict[str, float] | None = None
    """What was measured, by name; in JSON alone, and only where something was."""


def show(checks: Iterable[Check], program: str, as_json: bool) -> None:
    """Print checks as they come, one JSON object each with `as_json`, and exit with 1 where one is
    a problem.
    """
    problems = 0
    for check in checks:
        problems += check.state == "problem"
        if as_json:
            fields = {name: value for name, value in asdict(check).items() if value is not None}
            say(strict.dumps_line(fields))
            continue
        state = f"{check.state:<8}"
        first, *more = wrapped(f"{state}{check.name:<13}{check.text}")
        say(state, colour=_COLOURS[check.state], end="")
        say(first.removeprefix(state), *more)
        if check.fix:  # in one piece, to be copied
            say(" " * 21 + f"fix: {check.fix}")
    if problems:
        say(f"{program}: {count_of(problems, 'problem')}", err=True)
        sys.exit(1)
