"""Scorecards as lines of text."""

from collections.abc import Iterator, Mapping, Sequence

from edgeemo.proof.evaluation import Scorecard


def scorecard_lines(card: Scorecard, title: str) -> Iterator[str]:
    """Top-1 with its interval, macro-F1, and the confusion matrix with recall, as lines."""
    low, high = card.interval
    yield (
        f"{title}: n {card.n:,}  top-1 {card.top1:.2%} (95 % interval {low:.2%} to {high:.2%}) "
        f" macro-F1 {card.macro_f1:.2%}"
    )
    class_names = tuple(card.per_class_recall)  # in their order, as `score` makes it
    yield from confusion_lines(card.confusion, card.per_class_recall, class_names)


def confusion_lines(
    confusion: Sequence[Sequence[int]],
    recall: Mapping[str, float | None],
    class_names: Sequence[str],
) -> Iterator[str]:
    """A confusion matrix with per-class recall, rows true and columns predicted, as lines.

    `class_names` say what rows and columns mean; the keys of `recall`, which may come from JSON,
    have no order.
    """
    width = (
        max(
            *(len(str(count)) for row in confusion for count in row),
            *(len(label) for label in class_names),
        )
        + 1
    )
    yield (
        "true \\ predicted".ljust(17)
        + "".join(label.rjust(width) for label in class_names)
        + "   recall"
    )
    for label, row in zip(class_names, confusion, strict=True):
        share = recall[label]
        yield (
            label.ljust(17)
            + "".join(str(n).rjust(width) for n in row)
            + ("        -" if share is None else f"{share:9.1%}")
        )
