"""What a random split would have leaked: test pictures with a copy in train, and what that does.

Labels are the ones that the sets give, over all pictures of the union, as the reference work took
them.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import picture_ids
from edgeemo.data.labelled import SPLIT_WORDS, plain_word
from edgeemo.data.prepared import Prepared
from training.data.duplicates import exact_groups
from training.data.sources import SOURCES
from training.data.splits import ToSplit, grouped_split
from training.fit.balance import balanced_rows
from training.studies.stats import sources_of

TRAIN_SHARE, TEST_SHARE = 0.6, 0.2
REFERENCE_PER_CLASS = 12_006  # of the reference work
DRAWS = 5  # random splits that are averaged

Numbers = NDArray[np.int64]
Names = NDArray[np.str_]


def random_split(count: int, rng: np.random.Generator) -> Names:
    """(N,) split names, 60/20/20 over single pictures."""
    names = np.full(count, "validation", "U10")
    order = rng.permutation(count)
    train, test = round(TRAIN_SHARE * count), round(TEST_SHARE * count)
    names[order[:train]] = "train"
    names[order[train : train + test]] = "test"
    return names


def has_copy(groups: Numbers, among: Numbers) -> NDArray[np.bool_]:
    """(n,): whether each group number is among others."""
    return np.isin(groups, among)


def leaked(
    groups: Numbers, exact: Numbers, sources: Names, names: Names, *, known: Sequence[str]
) -> dict[str, Any]:
    """How many test pictures have a copy in train: all, of equal pixels, and by `known` source.

    groups, exact (N,): numbers that copies, and pictures of equal pixels, share. names (N,): split
    names.
    """
    train, test = names == "train", names == "test"
    copies, equal = has_copy(groups[test], groups[train]), has_copy(exact[test], exact[train])
    by_source = {source: sources[test] == source for source in known}
    return {
        "draws": 1,
        "test": int(test.sum()),
        "with_copy": int(copies.sum()),
        "equal_pixels": int(equal.sum()),
        "by_source": {
            source: {"test": int(mine.sum()), "with_copy": int(copies[mine].sum())}
            for source, mine in by_source.items()
        },
    }


def count_leaks(data: Prepared, seed: int) -> dict[str, Any]:
    """Counts of `leaked` for a random split, a random split after balancing, and the grouped one.

    The first two are sums over DRAWS random splits. `balanced` is None where a class has no
    picture.
    """
    exact, sources = exact_groups(data.images), sources_of(data)
    known = list(dict.fromkeys(sources.tolist()))
    every_class = len(np.unique(data.given_labels)) == len(data.class_names)
    random, after_balance = [], []
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, draw])
        random.append(
            leaked(data.groups, exact, sources, random_split(len(exact), rng), known=known)
        )
        if every_class:
            rows = balanced_rows(data.given_labels, REFERENCE_PER_CLASS, data.class_names, rng)
            # A stored augmented copy shares the group of its original, and its pixels with nothing.
            pixels, again = exact[rows], repeated(rows)
            pixels[again] = -1 - np.arange(again.sum())
            names = random_split(len(rows), rng)
            after_balance.append(
                leaked(data.groups[rows], pixels, sources[rows], names, known=known)
            )
    return {
        "random": _summed(random),
        "balanced": _summed(after_balance) if after_balance else None,
        "grouped": leaked(data.groups, exact, sources, grouped_names(data, seed), known=known),
    }


def repeated(rows: Numbers) -> NDArray[np.bool_]:
    """(n,): whether a row number came before."""
    again = np.ones(len(rows), bool)
    again[np.unique(rows, return_index=True)[1]] = False
    return again


def grouped_names(data: Prepared, seed: int) -> Names:
    """(N,) split names: the folder's own where its split is grouped, else a grouped one of all."""
    if data.dataset["split"] == "grouped":
        return data.splits
    ids, parts = picture_ids(data.images), np.full(len(data.groups), "", "U10")
    pictures = ToSplit(ids, data.given_labels, data.groups, official_test(data), parts)
    return grouped_split(pictures, seed)


def official_test(data: Prepared) -> NDArray[np.bool_]:
    """(N,): the pictures of an official test part, such as FER-2013's PublicTest."""
    return np.array([_is_official_test(row["source"], row["path"]) for row in data.rows], bool)


def leaked_pairs(data: Prepared, seed: int, count: int) -> Numbers:
    """int64 (M, 2): rows of up to `count` test pictures of the first random split, and of a copy.

    The copies are in train.
    """
    names = random_split(len(data.groups), np.random.default_rng([seed, 0]))
    train = np.flatnonzero(names == "train")
    test = np.flatnonzero((names == "test") & has_copy(data.groups, data.groups[train]))
    chosen = np.random.default_rng([seed, 20]).permutation(test)[:count]
    return np.array(
        [(i, train[data.groups[train] == data.groups[i]][0]) for i in chosen], np.int64
    ).reshape(-1, 2)


def _summed(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts added up; counts inside counts too."""
    return {
        key: (
            _summed([draw[key] for draw in draws])
            if isinstance(value, dict)
            else sum(draw[key] for draw in draws)
        )
        for key, value in draws[0].items()
    }


def _is_official_test(source: str, path: str) -> bool:
    known = SOURCES.get(source)
    folders = (
        SPLIT_WORDS.get(plain_word(folder)) for folder in reversed(PurePosixPath(path).parts[:-1])
    )
    return (
        known is not None
        and known.official_test
        and next((split for split in folders if split), None) == "test"
    )
