"""Scorecards on the terminal."""

from collections.abc import Mapping

from edgeemo.cli.shell import say
from edgeemo.cli.tables import scorecard_lines
from edgeemo.proof.evaluation import Scorecard


def print_cards(cards: Mapping[str, Scorecard], title: str) -> None:
    """Scorecards as `training.runs.evaluate.scorecards` gives them: the first in full, of the
    others the first line.
    """
    whole, *others = cards.items()
    for line in scorecard_lines(whole[1], title):
        say(line)
    for name, card in others:
        against = ", against the FER+ majority" * name.startswith(
            "ferplus"
        ) + ", flip averaging" * name.endswith("flipped")
        say(next(iter(scorecard_lines(card, f"{title}{against}"))))
