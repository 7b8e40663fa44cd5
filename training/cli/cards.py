"""Scorecards on the terminal."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edgeemo.cli.tables import say_wrapped, scorecard_lines
from edgeemo.proof.evaluation import Scorecard


def print_cards(cards: Mapping[str, Scorecard], title: str) -> None:
    """Scorecards as `training.runs.evaluate.scorecards` gives them: the first in full, of the
    others the first line.
    """
    whole, *others = cards.items()
    say_wrapped(*scorecard_lines(whole[1], title))
    for name, card in others:
        against = ", against the FER+ majority" * name.startswith(
            "ferplus"
        ) + ", flip averaging" * name.endswith("flipped")
        say_wrapped(next(iter(scorecard_lines(card, f"{title}{against}"))))


def cards_json(cards: Mapping[str, Scorecard]) -> dict[str, Any]:
    """Scorecards as `training.runs.evaluate.scorecards` gives them as plain JSON values: the first
    one's fields, then the others by name.
    """
    values = {name: asdict(card) for name, card in cards.items()}
    return values.pop("labels") | {"ferplus_majority": None} | values
