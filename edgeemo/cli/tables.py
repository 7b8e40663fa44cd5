"""Scorecards as lines of text."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from edgeemo.cli.shell import say

if TYPE_CHECKING:
    from edgeemo.proof.evaluation import Scorecard


_NARROWEST = 40


def say_wrapped(*lines: str) -> None:
    """Say lines as `wrapped` has them."""
    for line in lines:
        say(*wrapped(line))


def wrapped(line: str) -> list[str]:
    """The line as lines of the terminal's width; what continues one is indented. A table's rows, of
    which each fits by itself or not at all, and words such as paths are left as they are. Where
    there is no terminal a line is a line, for grep, whatever COLUMNS says.
    """
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    if line.startswith("  ") or len(line) <= width or not sys.stdout.isatty():
        return [line]
    return textwrap.wrap(
        line, width, subsequent_indent=" " * 4, break_on_hyphens=False, break_long_words=False
    )


def scorecard_lines(card: "Scorecard", title: str) -> Iterator[str]:
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
    longest = max(len(label) for label in class_names)
    width = 1 + max(longest, *(len(str(count)) for row in confusion for count in row))
    # With the usual seven labels, and indented by two, these are 80 columns.
    yield "rows true, columns predicted:"
    yield " " * longest + "".join(label.rjust(width) for label in class_names) + " recall"
    for label, row in zip(class_names, confusion, strict=True):
        share = recall[label]
        yield (
            label.ljust(longest)
            + "".join(str(n).rjust(width) for n in row)
            + ("      -" if share is None else f"{share:7.1%}")
        )
