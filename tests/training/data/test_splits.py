"""No group is in two splits, classes keep their shares, and a seed gives the same split
everywhere.
"""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data.splits import SPLITTERS, grouped_split, official_split

Table = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Labels, groups of any size (with several labels inside, too) and held-out pictures."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 40), st.booleans()),
            min_size=1,
            max_size=200,
        )
    )
    held = draw(st.booleans())
    labels, groups, out = (np.array(column) for column in zip(*rows, strict=True))
    return labels, groups, out & held


@settings(max_examples=300, deadline=None)
@given(tables(), st.integers(0, 2**31), st.sampled_from(sorted(SPLITTERS)))
def test_no_group_is_in_two_splits(table: Table, seed: int, name: str) -> None:
    labels, groups, held_out = table
    names = SPLITTERS[name](labels, groups, held_out, seed)
    assert set(names.tolist()) <= {"train", "validation", "test", "excluded"}
    for group in np.unique(groups):
        assert (
            len(set(names[groups == group].tolist()) - {"excluded"}) == 1
            or (names[groups == group] == "excluded").all()
        )
    assert (names[held_out] == "test").all()


@settings(max_examples=200, deadline=None)
@given(tables(), st.integers(0, 2**31))
def test_official_test_is_what_is_held_out_and_its_copies_are_left_out(
    table: Table, seed: int
) -> None:
    labels, groups, held_out = table
    names = official_split(labels, groups, held_out, seed)
    tested = np.isin(groups, groups[held_out])
    assert np.array_equal(names == "test", held_out)
    assert np.array_equal(names == "excluded", tested & ~held_out)


@settings(max_examples=200, deadline=None)
@given(tables(), st.integers(0, 2**31))
def test_each_class_comes_within_its_largest_group_of_60_20_20(table: Table, seed: int) -> None:
    labels, groups, _ = table
    labels = groups % 7  # groups of one label, so that a class is a set of whole groups
    names = grouped_split(labels, groups, np.zeros(len(labels), bool), seed)
    for label in np.unique(labels):
        mine = labels == label
        largest = np.bincount(groups[mine]).max()
        for split, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
            assert abs((names[mine] == split).sum() - share * mine.sum()) <= largest + 1


def test_held_out_pictures_count_towards_the_test_share() -> None:
    labels, groups = np.zeros(1000, np.int64), np.arange(1000)
    names = grouped_split(labels, groups, groups < 150, seed=3)
    assert [(names == split).sum() for split in ("train", "validation", "test")] == [600, 200, 200]
    assert (names[:150] == "test").all()


def test_more_held_out_than_a_fifth_leaves_the_rest_to_train_and_validation() -> None:
    labels, groups = np.zeros(1000, np.int64), np.arange(1000)
    names = grouped_split(labels, groups, groups < 400, seed=3)
    assert [(names == split).sum() for split in ("train", "validation", "test")] == [450, 150, 400]


@pytest.mark.parametrize(
    ("name", "digest"), [("grouped", "944bfcdf0c18"), ("official", "a9e146f06518")]
)
def test_a_seed_gives_the_same_split_bit_for_bit_on_every_machine(name: str, digest: str) -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 7, 2000), rng.integers(0, 1500, 2000)
    names = SPLITTERS[name](labels, groups, groups < 100, 7)
    assert hashlib.sha256(",".join(names).encode()).hexdigest()[:12] == digest
    assert (names != SPLITTERS[name](labels, groups, groups < 100, 8)).any()
