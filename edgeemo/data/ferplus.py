"""What FER+'s ten taggers said of a picture (Barsoum et al. 2016), as labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import FERPLUS_COLUMNS, match_label_or_none
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError


def votes_to_labels(class_names: Sequence[str]) -> NDArray[np.int64]:
    """int64 (10, classes), 1 where a column votes for a class: votes (n, 10) @ this are its votes.

    A column whose word is none of the classes (unknown and NF always) votes for nobody.
    """
    return np.array(
        [[_names(column, name) for name in class_names] for column in FERPLUS_COLUMNS], np.int64
    )


def _names(column: str, class_name: str) -> bool:
    if column in ("unknown", "NF"):
        return False
    return match_label_or_none(column, (class_name,)) is not None


def group_votes(data: Prepared) -> NDArray[np.int64]:
    """int64 (N, 10): the votes of every picture; where it has none, the sum of its group's (a copy
    in another set), else -1.

    Raises:
        DataError: the folder was prepared without FER+.
    """
    if data.votes is None:
        raise DataError(
            f"{data.path}: was prepared without FER+ votes; prepare the data again with"
            " --ferplus CSV"
        )
    known = np.asarray((data.votes >= 0).all(axis=1))
    numbers, group = np.unique(data.groups, return_inverse=True)
    sums = np.zeros((len(numbers), len(FERPLUS_COLUMNS)), np.int64)
    np.add.at(sums, group[known], data.votes[known])
    sums[np.bincount(group, known, len(numbers)) == 0] = -1
    return np.where(known[:, np.newaxis], data.votes, sums[group])


def ferplus_majority(
    votes: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Labels int64 (n,) of votes (n, 10), and (n,) whether more than half of all taggers agree on
    it.

    The label is -1 where they do not, or where the votes are not known.
    """
    classes = votes @ votes_to_labels(class_names)
    known = (votes >= 0).all(axis=1) & (2 * classes.max(axis=1) > votes.sum(axis=1))
    return np.where(known, classes.argmax(axis=1), -1), known
