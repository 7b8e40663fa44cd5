"""Train, validation and test, whole duplicate groups together, drawn from a seed.

The same seed draws the same everywhere, bit for bit. scikit-learn's StratifiedGroupKFold does
nearly this, but cannot hold a given part out, and its draw may change with its version.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.prepared import EXCLUDED

GROUPED_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
OFFICIAL_SHARES = {"train": 0.9, "validation": 0.1}
COPY_OF_TEST = "copy of a held-out test picture"

Numbers = NDArray[np.int64]
Names = NDArray[np.str_]


def grouped_split(
    labels: Numbers, groups: Numbers, held_out: NDArray[np.bool_], seed: int
) -> Names:
    """A split name (N,) for pictures of label and group numbers (N,): 60/20/20 in each class.

    Groups stay whole. A group with a picture that is held out is `test`; further groups fill the
    shares up.
    """
    names = np.full(len(labels), "", "U10")
    names[np.isin(groups, groups[held_out])] = "test"
    return _filled(names, labels, groups, GROUPED_SHARES, seed)


def official_split(
    labels: Numbers, groups: Numbers, held_out: NDArray[np.bool_], seed: int
) -> Names:
    """A split name (N,): what is held out is `test`, its copies are `excluded`.

    The rest is 90/10 train and validation.
    """
    names = np.full(len(labels), "", "U10")
    names[np.isin(groups, groups[held_out])] = EXCLUDED
    names[held_out] = "test"
    return _filled(names, labels, groups, OFFICIAL_SHARES, seed)


SPLITTERS: dict[str, Callable[[Numbers, Numbers, NDArray[np.bool_], int], Names]] = {
    "grouped": grouped_split,
    "official": official_split,
}


def _filled(
    names: Names, labels: Numbers, groups: Numbers, shares: dict[str, float], seed: int
) -> Names:
    """Give the pictures without a name one, class by class, as near to `shares` as groups allow."""
    # A group with several labels goes by its first picture's: what counts is that it stays
    # together.
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    sizes = np.bincount(group_of)
    class_of_group, name_of_group = labels[first], np.full(len(first), "", names.dtype)
    free = names[first] == ""
    for label in np.unique(class_of_group).tolist():
        mine = np.flatnonzero(class_of_group == label)
        taken = {split: int(sizes[mine[names[first[mine]] == split]].sum()) for split in shares}
        total = int(sizes[mine[free[mine]]].sum()) + sum(taken.values())
        order = np.random.default_rng([seed, label]).permutation(mine[free[mine]])
        # Large groups first, while every split has room for them.
        for group in order[np.argsort(-sizes[order], kind="stable")]:
            split = max(
                shares, key=lambda name: (shares[name] * total - taken[name]) / shares[name]
            )
            name_of_group[group] = split
            taken[split] += int(sizes[group])
    return np.where(names == "", name_of_group[group_of], names)
