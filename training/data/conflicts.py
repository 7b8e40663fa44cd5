"""Copies of one picture that carry different labels: counted, and settled by a policy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import VOTES_TO_LABELS

POLICIES = ("majority", "drop", "keep")
CONFLICTING = "copies with other labels"


@dataclass(frozen=True)
class Settled:
    """What a policy made of the labels.

    Attributes:
        labels: int64 (N,), after the policy.
        dropped: bool (N,), left out by the policy.
        summary: counts for dataset.json; `matrix` counts, for pictures in groups with several given labels, the label that the
            group settles on (row) against the one the picture was given (column).
    """

    labels: NDArray[np.int64]
    dropped: NDArray[np.bool_]
    summary: dict[str, Any]


def settle(
    given: NDArray[np.int64],
    groups: NDArray[np.int64],
    votes: NDArray[np.int64] | None,
    fixed: NDArray[np.bool_],
    reviewed: NDArray[np.int64],
    policy: str,
) -> Settled:
    """Apply a conflict policy to given labels (N,) of groups (N,).

    majority: all copies take one label: a person's review first, then the FER+ votes of the group where known, then the label that
    most copies carry; between equals the first picture's. drop: groups with several labels are left out. keep: nothing changes.
    `fixed` pictures (a held-out test part) keep their label and stay under every policy, since others compare on them.
    `reviewed` holds a person's label, -1 where there is none; it holds under every policy.
    """
    labels = np.where((reviewed >= 0) & ~fixed, reviewed, given)
    dropped = np.zeros(len(labels), bool)
    matrix = np.zeros((len(LABELS), len(LABELS)), np.int64)
    conflicts = _groups_of_several_labels(labels, groups)
    for members in conflicts:
        chosen = _chosen(labels, members, votes, reviewed)
        matrix[chosen] += np.bincount(labels[members], minlength=len(LABELS))
        free = members[~fixed[members]]
        if policy == "majority":
            labels[free] = chosen
        elif policy == "drop":
            dropped[free] = True
    summary = {
        "policy": policy,
        "groups": len(conflicts),
        "pictures": sum(map(len, conflicts)),
        "changed": int((labels != given).sum()),
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
    votes: NDArray[np.int64] | None,
    reviewed: NDArray[np.int64],
) -> int:
    by_person = reviewed[members][reviewed[members] >= 0]
    if len(by_person):
        return _most(np.bincount(by_person, minlength=len(LABELS)), labels[members])
    if votes is not None:
        known = votes[members][votes[members, 0] >= 0]
        counts = known.sum(axis=0) @ VOTES_TO_LABELS
        if counts.any():
            return _most(counts, labels[members])
    return _most(np.bincount(labels[members], minlength=len(LABELS)), labels[members])


def _most(counts: NDArray[np.int64], given: NDArray[np.int64]) -> int:
    """The label of most counts; between equals the one that a picture was given first, else the first of LABELS."""
    best = np.flatnonzero(counts == counts.max())
    return int(next((label for label in given if label in best), best[0]))
