"""How far something is, on stderr, where that is a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from edgeemo.cli.shell import begin_line_again, say


class Bar:
    """Counts what is done, and shows it to nobody."""

    def advance(self, count: int = 1) -> None:
        """So many more are done."""

    def say_above(self, line: str) -> None:
        """Say a line on stderr, which a bar on a terminal does not run into."""
        say(line, err=True)


class _Shown(Bar):
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self, count: int = 1) -> None:
        self._bar.update(count)

    def say_above(self, line: str) -> None:
        begin_line_again(err=True)  # the bar's line is drawn again by its next step
        super().say_above(line)


def on_terminal() -> bool:
    """Whether somebody sees how far something is: a live line on stdout, or a bar on stderr."""
    return any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


@contextmanager
def progress(title: str, total: int, *, shown: bool = True) -> Iterator[Bar]:
    """A bar of `total` steps, with the time left; away from a terminal, or where `shown` is false,
    nothing.
    """
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield Bar()
        return
    with click.progressbar(length=total, label=title, file=sys.stderr, width=24) as bar:
        yield _Shown(bar)
