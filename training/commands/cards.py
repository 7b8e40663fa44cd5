"""Scorecards on the terminal."""

import click

from edgeemo.cli.tables import scorecard_lines
from edgeemo.evaluation import Scorecard


def print_card(card: Scorecard, title: str) -> None:
    """A scorecard against the data's labels, with the recall of each class."""
    for line in scorecard_lines(card, title):
        click.echo(line)


def print_ferplus(card: Scorecard | None, title: str) -> None:
    """The first line of a scorecard against the FER+ majority, if there is one."""
    if card is not None:
        click.echo(next(iter(scorecard_lines(card, f"{title}, against the FER+ majority"))))
