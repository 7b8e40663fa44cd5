"""Scorecards as lines of text."""

from collections.abc import Iterator

from edgeemo.contract.labels import LABELS
from edgeemo.evaluation import Scorecard


def scorecard_lines(card: Scorecard, title: str) -> Iterator[str]:
    """Top-1 with its interval, macro-F1, and the confusion matrix with recall, as lines."""
    low, high = card.interval
    yield f"{title}: n {card.n:,}  top-1 {card.top1:.2%} (95 % interval {low:.2%} to {high:.2%})  macro-F1 {card.macro_f1:.2%}"
    width = max(len(str(count)) for row in card.confusion for count in row)
    width = max(width, *(len(label) for label in LABELS)) + 1
    yield "true \\ predicted".ljust(17) + "".join(label.rjust(width) for label in LABELS) + "   recall"
    for label, row in zip(LABELS, card.confusion, strict=True):
        recall = card.per_class_recall[label]
        cells = "".join(str(count).rjust(width) for count in row)
        yield label.ljust(17) + cells + ("        -" if recall is None else f"{recall:9.1%}")
