"""Copies of one picture that carry different labels: counted, and settled by a policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.ferplus import votes_to_labels

POLICIES = ("majority", "drop", "keep")
CONFLICTING = "copies with other labels"


@dataclass(frozen=True)
class Settled:
    """What a policy made of the labels."""

    labels: NDArray[np.int64]
    """int64 (N,), after the policy."""
    dropped: NDArray[np.bool_]
    """bool (N,), left out by the policy."""
    summary: dict[str, Any]
    """Counts for dataset.json.

    `matrix` counts, for pictures in groups with several given labels, the label that the group
    settles on (row) against the one the picture was given (column)."""


@dataclass(frozen=True)
class Given:
    """What is known of N pictures before their labels are settled."""

    labels: NDArray[np.int64]
    """int64 (N,), label numbers as the sets give them."""
    groups: NDArray[np.int64]
    """int64 (N,), one number for all copies of a picture."""
    votes: NDArray[np.int64] | None
    """int64 (N, 10) FER+ votes, -1 where unknown; None without FER+."""
    fixed: NDArray[np.bool_]
    """bool (N,), the pictures of a held-out test part."""
    reviewed: NDArray[np.int64]
    """int64 (N,), a person's labels, -1 where there is none."""


def settle(given: Given, policy: str, class_names: Sequence[str]) -> Settled:
    """Apply a conflict policy of POLICIES.

    majority: all copies take one label: a person's review first, then the FER+ votes of the group
    where known, then the label that most copies carry; between equals the first picture's. drop:
    groups with several labels are left out. keep: nothing changes.

    `fixed` pictures keep their label and stay under every policy, since others compare on them. A
    person's label holds under every policy.
    """
    of_classes = votes_to_labels(class_names)
    labels = np.where((given.reviewed >= 0) & ~given.fixed, given.reviewed, given.labels)
    dropped = np.zeros(len(labels), bool)
    matrix = np.zeros((len(class_names), len(class_names)), np.int64)
    conflicts = _groups_of_several_labels(labels, given.groups)
    for members in conflicts:
        chosen = _chosen(labels, members, given, of_classes)
        matrix[chosen] += np.bincount(labels[members], minlength=len(class_names))
        free = members[~given.fixed[members]]
        if policy == "majority":
            labels[free] = chosen
        elif policy == "drop":
            dropped[free] = True
    summary = {
        "policy": policy,
        "groups": len(conflicts),
        "pictures": sum(map(len, conflicts)),
        "changed": int((labels != given.labels).sum()),
        "dropped": int(dropped.sum()),
        "matrix": matrix.tolist(),
    }
    return Settled(labels, dropped, summary)


def _groups_of_several_labels(
    labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [rows for rows in members if len(rows) > 1 and (labels[rows] != labels[rows[0]]).any()]


def _chosen(
    labels: NDArray[np.int64],
    members: NDArray[np.int64],
    given: Given,
    of_classes: NDArray[np.int64],
) -> int:
    classes = of_classes.shape[1]
    by_person = given.reviewed[members][given.reviewed[members] >= 0]
    if len(by_person):
        return _most(np.bincount(by_person, minlength=classes), labels[members])
    if given.votes is not None:
        known = given.votes[members][given.votes[members, 0] >= 0]
        counts = known.sum(axis=0) @ of_classes
        if counts.any():
            return _most(counts, labels[members])
    return _most(np.bincount(labels[members], minlength=classes), labels[members])


def _most(counts: NDArray[np.int64], given: NDArray[np.int64]) -> int:
    """The label of most counts; between equals the one that a picture was given first.

    Where none of the equals was given, it is the first class.
    """
    best = np.flatnonzero(counts == counts.max())
    return int(next((label for label in given if label in best), best[0]))
