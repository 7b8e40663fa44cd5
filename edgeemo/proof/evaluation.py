"""Metrics of labelled predictions, and the paired comparison of two models on the same pictures.

NumPy only.

Confusion matrices have true labels in rows and predicted ones in columns.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.quantize import softmax
from edgeemo.errors import InvalidInput

Z95_TWO_SIDED = 1.959963984540054
Z95_ONE_SIDED = 1.6448536269514722


@dataclass(frozen=True)
class Scorecard:
    """How well predictions meet the labels."""

    n: int
    """Number of pictures."""
    top1: float
    """Share of right predictions, 0..1."""
    interval: tuple[float, float]
    """95 % Wilson interval of `top1`."""
    macro_f1: float
    """Mean F1 over the classes that occur in labels or predictions."""
    per_class_recall: dict[str, float | None]
    """Recall by label; None where a label does not occur."""
    confusion: list[list[int]]
    """Counts, rows true and columns predicted, in the order of the class names."""


@dataclass(frozen=True)
class PairedDrop:
    """The drop in top-1 from a reference to a candidate on the same n pictures.

    b pictures only the reference gets right, c only the candidate: drop = (b - c)/n, its standard
    error sqrt((b + c) - (b - c)^2/n)/n (Agresti, Categorical Data Analysis, matched pairs);
    `upper95` is the one-sided 95 % bound and `lower95` its mirror. `mcnemar_p` is the exact
    two-sided McNemar test.
    """

    n: int
    """Number of pictures."""
    b: int
    """Pictures that only the reference gets right."""
    c: int
    """Pictures that only the candidate gets right."""
    drop: float
    """(b - c) / n."""
    standard_error: float
    """Of the drop."""
    lower95: float
    """One-sided 95 % bound from below."""
    upper95: float
    """One-sided 95 % bound from above."""
    mcnemar_p: float
    """Exact two-sided McNemar test."""


def confusion_matrix(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """int64 (size, size) counts of label numbers (N,), rows true, columns predicted."""
    if labels.shape != predicted.shape or labels.ndim != 1 or not len(labels):
        raise InvalidInput(
            f"expected as many labels as predictions and at least one, received {labels.shape},"
            f" {predicted.shape}"
        )
    if min(labels.min(), predicted.min()) < 0 or max(labels.max(), predicted.max()) >= size:
        raise InvalidInput(f"expected label numbers of 0 to {size - 1}")
    return (
        np.bincount(labels * size + predicted, minlength=size * size)
        .reshape(size, size)
        .astype(np.int64)
    )


def score(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str]
) -> Scorecard:
    """Scorecard of predicted label numbers (N,) against true ones (N,)."""
    confusion = confusion_matrix(labels, predicted, len(class_names))
    right, n = int(np.trace(confusion)), int(confusion.sum())
    recall = recalls(confusion)
    return Scorecard(
        n=n,
        top1=right / n,
        interval=wilson_interval(right, n),
        macro_f1=macro_f1(confusion),
        per_class_recall={
            label: None if math.isnan(value) else float(value)
            for label, value in zip(class_names, recall, strict=True)
        },
        confusion=confusion.tolist(),
    )


def recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of each class (classes,), NaN where the class does not occur."""
    support = confusion.sum(axis=1)
    shares = np.full(len(confusion), np.nan)
    np.divide(np.diag(confusion), support, out=shares, where=support > 0)
    return shares


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean of 2 TP / (2 TP + FP + FN) over the classes that occur among labels or predictions."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    occurring = both > 0
    return float((2 * np.diag(confusion)[occurring] / both[occurring]).mean())


def wilson_interval(hits: int, n: int, z: float = Z95_TWO_SIDED) -> tuple[float, float]:
    """Wilson score interval of hits/n (Wilson 1927); 95 % by default."""
    share, zz = hits / n, z * z
    centre = (share + zz / (2 * n)) / (1 + zz / n)
    half = z * math.sqrt(share * (1 - share) / n + zz / (4 * n * n)) / (1 + zz / n)
    # Exact at the ends, where rounding may leave the share itself outside.
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    high = 1.0 if hits == n else min(1.0, centre + half)
    return low, high


def paired_drop(
    reference_right: NDArray[np.bool_], candidate_right: NDArray[np.bool_]
) -> PairedDrop:
    """Compare two models on the same pictures, from whether each got each picture right (N,)."""
    _check_same_pictures(reference_right, candidate_right)
    n = len(reference_right)
    b = int(np.sum(reference_right & ~candidate_right))
    c = int(np.sum(~reference_right & candidate_right))
    return PairedDrop(n, b, c, *paired_bounds(n, b, c), mcnemar_exact(b, c))


def paired_bounds(n: int, b: int, c: int) -> tuple[float, float, float, float]:
    """`PairedDrop`'s drop, standard error, lower and upper bound of its counts."""
    drop = (b - c) / n
    standard_error = math.sqrt(max(0.0, (b + c) - (b - c) ** 2 / n)) / n
    half = Z95_ONE_SIDED * standard_error
    return drop, standard_error, drop - half, drop + half


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact McNemar p-value: a binomial test of min(b, c) of b + c at one half."""
    n = b + c
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    return min(1.0, float(2 * tail / 2**n))


def expected_calibration_error(
    logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15
) -> float:
    """ECE over equal-width confidence bins (Guo et al. 2017, 15 bins) of logits (N, classes)."""
    _check_same_pictures(logits[:, 0], labels)
    scores = softmax(logits)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[which == k].mean()) - right[which == k].mean()) * np.sum(which == k)
        for k in np.unique(which)
    ]
    return float(sum(gaps) / len(labels))


def mean_kl(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Mean KL divergence in nats of the candidate's softmax from the reference's, from logits (N,
    classes).
    """
    _check_same_pictures(reference, candidate)
    p, q = _log_softmax(reference), _log_softmax(candidate)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def psnr(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float | None:
    """Peak signal to noise ratio in dB of the candidate's logits (N, classes): 10 log10(peak^2 /
    mean squared difference).

    The peak is the span of the reference's logits, largest less smallest. None where nothing
    differs.
    """
    _check_same_pictures(reference, candidate)
    error = float(np.mean((reference.astype(np.float64) - candidate) ** 2))
    return 10 * math.log10(float(np.ptp(reference)) ** 2 / error) if error else None


def recall_intervals(
    confusion: NDArray[np.int64], class_names: Sequence[str]
) -> dict[str, tuple[float, float] | None]:
    """95 % Wilson interval of each class's recall, by label; None where it does not occur."""
    support = confusion.sum(axis=1)
    return {
        label: wilson_interval(int(confusion[i, i]), int(support[i])) if support[i] else None
        for i, label in enumerate(class_names)
    }


def agreement(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Share of pictures, 0..1, on which both logits (N, classes) have the same top label."""
    _check_same_pictures(reference, candidate)
    return float((reference.argmax(axis=1) == candidate.argmax(axis=1)).mean())


def _check_same_pictures(reference: NDArray[Any], candidate: NDArray[Any]) -> None:
    if reference.shape != candidate.shape or not len(reference):
        raise InvalidInput(
            f"expected values for the same pictures and at least one, received {reference.shape},"
            f" {candidate.shape}"
        )


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
