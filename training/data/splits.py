"""Train, validation and test, whole groups of copies together, each placed by a hash of its own.

A group's place is sha256 of the seed and of one of its pictures, as a number from 0 to 1: no other
picture, no label, no order and no random generator has a part in it. So a group that changes, on a
machine that finds another near copy or after a picture was added, moves itself alone, and a review
of labels moves nothing. Shares are met as a drawing with these chances meets them: with n groups of
one size within 5 sqrt(s (1 - s) / n) of the share s in all but one of a million splits.

One exception, for small classes: a part that a class of three groups or more would miss gets the
class's group that is nearest to it. A class of n groups misses a share of 20 % with a chance of
0.8^n, below 1 in 1,000 from 31 groups on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.prepared import EXCLUDED
from edgeemo.errors import DataError

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
WITH_TEST_SHARES = {"train": 0.75, "validation": 0.25}
"""Where the test part is there already: SHARES without it."""
OFFICIAL_SHARES = {"train": 0.9, "validation": 0.1}
WAYS = ("grouped", "official", "given")
COPY_OF_TEST = "copy of a held-out test picture"
COPY_OF_VALIDATION = "copy of a validation picture"
_SAME = 0.9  # of a part's pictures that another part holds too: the two are one folder
_DIGITS = 12  # hex digits of a place: 48 bits, which a float64 holds exactly

Numbers = NDArray[np.int64]
Names = NDArray[np.str_]
Places = NDArray[np.float64]


@dataclass(frozen=True)
class ToSplit:
    """N pictures that are to be split."""

    ids: Sequence[str]
    """N ids, `picture_id` of each: equal for equal pixels."""
    labels: Numbers
    """int64 (N,), label numbers; they count only where a class would miss a part."""
    groups: Numbers
    """int64 (N,), one number for all copies of a picture."""
    held_out: NDArray[np.bool_]
    """bool (N,), the pictures of an official test part."""
    given: Names
    """(N,) the parts that the sets came in, "" for none."""


def grouped_split(
    pictures: ToSplit, seed: int, known: Names | None = None, *, test_known: bool = False
) -> Names:
    """A split name (N,): 60/20/20, groups whole; held-out pictures and their copies are `test`.

    With a held-out part there is a test part already, and the rest is 75/25. `known` (N,) are the
    parts that pictures have already, "" for none; a group without one goes by its hash, and copies
    go with their group. With `test_known` the known ones are all of the test part that there may
    be: their copies are left out, and the rest is 75/25.
    """
    names = _start(pictures, known)
    names[pictures.held_out] = "test"
    _join_groups(names, pictures.groups, EXCLUDED if test_known else "test")
    with_test = test_known or bool(pictures.held_out.any())
    return _filled(names, pictures, WITH_TEST_SHARES if with_test else SHARES, seed)


def official_split(pictures: ToSplit, seed: int, known: Names | None = None) -> Names:
    """A split name (N,): what is held out is `test`, its copies are `excluded`.

    The rest is 90/10 train and validation, but for pictures whose part is `known`.
    """
    names = _start(pictures, known)
    # A training picture may have the very pixels of a held-out one.
    names[names == "test"] = EXCLUDED
    names[pictures.held_out] = "test"
    _join_groups(names, pictures.groups, EXCLUDED)
    return _filled(names, pictures, OFFICIAL_SHARES, seed)


def given_split(pictures: ToSplit, seed: int) -> Names:
    """A split name (N,): the parts that the sets came in; a part that they lack is cut from train.

    It is a fifth of the train pictures, by hash. Copies across parts are left out of the part that
    learns from them (train before validation before test), so that the others stay as they were
    given, to compare on, and nothing is tested on what was trained on. Pictures without a part go
    with their copies, else by hash.

    Raises:
        DataError: no picture came in a train part, or two parts hold the same pictures.
    """
    names = pictures.given.copy()
    if not (names == "train").any():
        raise DataError(
            "expected pictures below a folder train for --split given, found none; choose --split "
            "grouped"
        )
    _check_apart(pictures)
    for part in ("test", "validation"):
        taken = np.isin(pictures.groups, pictures.groups[names == part])
        others = ("train", "validation") if part == "test" else ("train",)
        names[taken & np.isin(names, others)] = EXCLUDED
    _join_groups(names, pictures.groups, EXCLUDED)
    lacking = [part for part in ("validation", "test") if not (names == part).any()]
    if lacking:
        names[names == "train"] = ""
    shares = {"train": 1 - 0.2 * len(lacking)} | dict.fromkeys(lacking, 0.2)
    return _filled(names, pictures, shares, seed)


def places(ids: Sequence[str], groups: Numbers, seed: int) -> Places:
    """float64 (N,) from 0 to below 1: the place of each picture's group.

    It is that of the group's picture whose id is the smallest.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    smallest: dict[int, str] = {}
    for group, name in zip(group_of.tolist(), ids, strict=True):
        if group not in smallest or name < smallest[group]:
            smallest[group] = name
    of_group = np.zeros(len(smallest))
    for group, name in smallest.items():
        digest = hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
        of_group[group] = int(digest[:_DIGITS], 16) / 16**_DIGITS
    return of_group[group_of]


def _start(pictures: ToSplit, known: Names | None) -> Names:
    if known is None:
        return np.full(len(pictures.groups), "", "U10")
    return known.astype("U10")


def _join_groups(names: Names, groups: Numbers, copy_of_test: str) -> None:
    """Give pictures without a name that of their group, in place; copies of test pictures get
    `copy_of_test`.

    Of several names in a group the one that keeps test pictures out of training counts.
    """
    free = names == ""
    for part in ("train", "validation", EXCLUDED, "test"):
        joins = free & np.isin(groups, groups[~free & (names == part)])
        names[joins] = copy_of_test if part == "test" else part


def _filled(names: Names, pictures: ToSplit, shares: Mapping[str, float], seed: int) -> Names:
    """Name the pictures that have no name yet, by the places of their groups."""
    free = names == ""
    place = places(pictures.ids, pictures.groups, seed)
    ends = np.cumsum(list(shares.values()))[:-1]
    of_place = np.array(list(shares), names.dtype)[np.searchsorted(ends, place, side="right")]
    names = np.where(free, of_place, names)
    for label in np.unique(pictures.labels[free]).tolist():
        _complete(names, pictures, place, free, label, shares)
    return names


def _complete(
    names: Names,
    pictures: ToSplit,
    place: Places,
    free: NDArray[np.bool_],
    label: int,
    shares: Mapping[str, float],
) -> None:
    """Give each part that a class misses the class's group nearest to it, in place."""
    begin = 0.0
    for part, share in shares.items():
        middle, begin = begin + share / 2, begin + share
        mine = pictures.labels == label
        if (names[mine] == part).any():
            continue
        spare = [
            (abs(float(place[rows[0]]) - middle), int(group))
            for group in np.unique(pictures.groups[mine & free])
            if _can_spare(names, mine, rows := np.flatnonzero(pictures.groups == group), pictures)
        ]
        if spare:
            names[(pictures.groups == min(spare)[1]) & free] = part


def _can_spare(names: Names, mine: NDArray[np.bool_], rows: Numbers, pictures: ToSplit) -> bool:
    """Whether the class keeps another group in the part of the group at `rows`."""
    others = mine & (names == names[rows[0]])
    return len(np.unique(pictures.groups[others])) > 1


def _check_apart(pictures: ToSplit) -> None:
    """Raise DataError where nearly all pictures of a part are in another one, pixel by pixel."""
    ids = np.array(pictures.ids)
    for part, other in (("test", "train"), ("validation", "train"), ("validation", "test")):
        mine, theirs = ids[pictures.given == part], ids[pictures.given == other]
        if len(mine) and np.isin(mine, theirs).mean() >= _SAME:
            raise DataError(
                f"expected a {part} part of its own for --split given, received one whose pictures "
                f"are in {other} too ({int(np.isin(mine, theirs).sum()):,} of {len(mine):,}); take "
                f"the folder {part} away, or choose --split grouped"
            )
