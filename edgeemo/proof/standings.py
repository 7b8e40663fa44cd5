"""What a bundle's scores are worth under each prior: right names, rare classes, honest scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.operating_point import BALANCED, DEFAULT, TRAINING, OperatingPoint
from edgeemo.proof.evaluation import (
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recalls,
)

SHOWN = (TRAINING, DEFAULT, BALANCED)
"""The priors that a report compares."""


@dataclass(frozen=True)
class Standing:
    """What logits score on labelled pictures under one prior; all are 0..1."""

    top1: float
    """Share of right answers."""
    mean_recall: float
    """Mean over the classes that occur of the share of their pictures named right."""
    macro_f1: float
    """Mean F1 over the classes that occur in labels or answers."""
    ece: float
    """Expected calibration error over 15 bins."""


def standing(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Standing:
    """How logits (N, classes) meet the label numbers (N,) of the same pictures."""
    confusion = confusion_matrix(labels, logits.argmax(axis=1), logits.shape[1])
    return Standing(
        float(np.trace(confusion) / confusion.sum()),
        float(np.nanmean(recalls(confusion))),
        macro_f1(confusion),
        expected_calibration_error(logits, labels),
    )


def standings(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    point: OperatingPoint | None,
    class_names: Sequence[str],
) -> dict[str, Standing]:
    """By each prior of SHOWN; where the bundle knows no prior, by the default alone.

    `logits` float32 (N, classes) are the bundle's own, under its default.
    """
    if point is None:
        return {DEFAULT: standing(logits, labels)}
    return {prior: standing(logits + point.shift(prior, class_names), labels) for prior in SHOWN}


def standing_lines(standings: dict[str, Standing]) -> Iterator[str]:
    """A table for the terminal, a line a prior."""
    yield f"{'prior':<10}{'top-1':>8}  {'mean recall':>11}  {'macro-F1':>8}  {'ECE':>6}"
    for prior, at in standings.items():
        yield (
            f"{prior:<10}{at.top1:>8.2%}  {at.mean_recall:>11.2%}  {at.macro_f1:>8.2%}  "
            f"{at.ece:>6.3f}"
        )
