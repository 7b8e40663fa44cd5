"""The check after quantization, repeated where the model runs.

Does this machine answer what the bundle's report says?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import decode_ids, decode_labels, picture_ids
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.labels import check_same_labels
from edgeemo.errors import BundleError
from edgeemo.proof.evaluation import wilson_interval

# Optimized kernels differ by a few output steps among processors, which turns one face in some
# hundreds (docs/parity.md).
MIN_SAME_ANSWERS = 0.995
# Labels are data and not arithmetic, so only a set that was corrected here or there may differ.
MIN_SAME_LABELS = 0.995
# With fewer pictures a single one would be more than the half percent that may differ.
MIN_PICTURES = 200
_SHARE_OF_PERMUTATION = 0.9


@dataclass(frozen=True)
class Agreement:
    """What this machine answered beside what the report says, on the pictures that both know."""

    n: int
    """Pictures that both know."""
    promised_n: int
    """Of how many the report speaks."""
    unknown: int
    """Pictures here that it does not know."""
    same: float
    """Share of the n with the same top label."""
    same_labels: float
    """Share of the n with the same true label."""
    top1: float
    """This machine's, against the labels here."""
    promised_top1: float
    """The report's on the same pictures."""
    interval: tuple[float, float]
    """Its 95 % Wilson interval."""
    faults: tuple[str, ...]
    """Why they do not agree, in words; empty when they do."""


@dataclass(frozen=True)
class Answered:
    """What a model answered on this machine."""

    images: NDArray[np.uint8]
    """The pictures, uint8 (N, H, W, C)."""
    labels: NDArray[np.int64]
    """Their true label numbers, (N,)."""
    answers: NDArray[np.int64]
    """The label numbers that the model gave, (N,)."""
    class_names: tuple[str, ...]
    """What the numbers mean: the bundle's labels."""


def agree(report: Mapping[str, Any], artifact: str, here: Answered, where: str) -> Agreement:
    """Compare the answers here with those that a report lists for `artifact`.

    Pictures are recognized by the sha256 of their pixels, so their order does not matter. `where`
    names the report.

    Raises:
        BundleError: the report lists no answers, or is damaged.
    """
    ids, promised_labels, promised = _promises(report, artifact, here.class_names, where)
    rows = _rows(ids, promised_labels, here)
    known = np.flatnonzero(rows >= 0)
    n, n_here = len(known), len(here.images)
    if n < (enough := min(len(ids), MIN_PICTURES)):
        fault = (
            f"only {n:,} of {count_of(n_here, 'picture')} here can be found among the "
            f"{len(ids):,} that {where} was measured on, and {enough} are needed; evaluate on the "
            "data set's test split"
        )
        return Agreement(n, len(ids), n_here - n, 0.0, 0.0, 0.0, 0.0, (0.0, 1.0), (fault,))
    labels_there, there = promised_labels[rows[known]], promised[rows[known]]
    answered, true = here.answers[known], here.labels[known]
    right = int(np.sum(there == labels_there))
    shares: dict[str, Any] = {
        "same": float((answered == there).mean()),
        "same_labels": float((true == labels_there).mean()),
        "top1": float((answered == true).mean()),
        "promised_top1": right / n,
        "interval": wilson_interval(right, n),
    }
    faults = tuple(_faults(shares, there, answered, here.class_names, where))
    return Agreement(n, len(ids), n_here - n, **shares, faults=faults)


def _rows(ids: list[str], labels: NDArray[np.int64], here: Answered) -> NDArray[np.int64]:
    """(N,) of each picture here: its row in the report, -1 where the report does not know it."""
    row = {identity: i for i, identity in enumerate(ids)}
    # A set may hold one picture twice, under two labels.
    exact = {pair: i for i, pair in enumerate(zip(ids, labels.tolist(), strict=True))}
    pairs = zip(picture_ids(here.images), here.labels.tolist(), strict=True)
    return np.array([exact.get(pair, row.get(pair[0], -1)) for pair in pairs], np.int64)


def _promises(
    report: Mapping[str, Any], artifact: str, class_names: Sequence[str], where: str
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Ids, labels and answers of the report's pictures."""
    pictures, artifacts = report.get("pictures"), report.get("artifacts")
    measured = artifacts.get(artifact) if isinstance(artifacts, dict) else None
    if (
        not isinstance(pictures, dict)
        or not isinstance(measured, dict)
        or "answers" not in measured
    ):
        raise BundleError(
            f"{where}: lists no answers of {artifact} to compare with; "
            "build the bundle again with: python -m export build"
        )
    labels = report.get("labels")
    check_same_labels(labels if isinstance(labels, list) else (), class_names, where, BundleError)
    n = report.get("n")
    if type(n) is not int or n < 1:
        raise BundleError(f"{where}: expected a number of pictures; build or copy the bundle again")
    return (
        decode_ids(pictures.get("ids"), n, where),
        decode_labels(pictures.get("labels"), n, len(class_names), where),
        decode_labels(measured["answers"], n, len(class_names), f"{where}, {artifact}"),
    )


def _faults(
    shares: Mapping[str, Any],
    there: NDArray[np.int64],
    here: NDArray[np.int64],
    class_names: Sequence[str],
    where: str,
) -> list[str]:
    faults = []
    if shares["same"] < MIN_SAME_ANSWERS:
        other = int(np.sum(there != here))
        faults.append(
            f"{other:,} of {len(here):,} pictures get another label here than in {where} "
            f"({shares['same']:.2%} the same, expected at least {MIN_SAME_ANSWERS:.1%})"
            f"{_permuted(there, here, class_names)}"
        )
    if shares["same_labels"] < MIN_SAME_LABELS:
        faults.append(
            f"{1 - shares['same_labels']:.2%} of the pictures have another true label here than in "
            f"{where}; evaluate on the data that it was measured on, or look for permuted labels"
        )
    low, high = shares["interval"]
    if not low <= shares["top1"] <= high:
        faults.append(
            f"top-1 is {shares['top1']:.2%} here, expected {low:.2%} to {high:.2%} "
            "(the report's 95 % interval)"
        )
    return faults


def _permuted(there: NDArray[np.int64], here: NDArray[np.int64], class_names: Sequence[str]) -> str:
    """In words, the exchange of labels that explains most answers here; "" where none does."""
    counts = np.zeros((len(class_names), len(class_names)), np.int64)
    np.add.at(counts, (there, here), 1)
    present: list[int] = np.flatnonzero(counts.sum(axis=1)).tolist()
    usual: list[int] = counts.argmax(axis=1).tolist()  # the answer here to the report's class i
    explained = sum(counts[i, usual[i]] for i in present) / counts.sum()
    moved = [i for i in present if usual[i] != i]
    distinct = len({usual[i] for i in present}) == len(present)
    if not moved or not distinct or explained < _SHARE_OF_PERMUTATION:
        return ""
    pairs = ", ".join(f"{class_names[usual[i]]} for {class_names[i]}" for i in moved)
    return f", as if labels were permuted: {pairs}"
