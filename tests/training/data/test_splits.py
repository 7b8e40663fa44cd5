"""No group is in two splits, a group that changes moves alone, and a seed gives the same split
everywhere.
"""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.errors import DataError
from training.data.splits import (
    OFFICIAL_SHARES,
    SHARES,
    WITH_TEST_SHARES,
    ToSplit,
    given_split,
    grouped_split,
    official_split,
    places,
)

SPLITTERS = {"grouped": grouped_split, "official": official_split}


def ids_of(numbers: NDArray[np.int64]) -> list[str]:
    """A picture's id of each number."""
    return [hashlib.sha256(str(number).encode()).hexdigest()[:12] for number in numbers.tolist()]


def table(labels: object, groups: object, held_out: object = False, given: object = "") -> ToSplit:
    """Pictures of their own pixels each."""
    count = len(np.asarray(groups))
    out, parts = np.broadcast_to(held_out, count), np.broadcast_to(given, count)
    return ToSplit(
        ids_of(np.arange(count)),
        np.broadcast_to(labels, count).astype(np.int64),
        np.asarray(groups, np.int64),
        np.asarray(out, bool),
        np.asarray(parts, "U10"),
    )


@st.composite
def tables(draw: st.DrawFn) -> ToSplit:
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
    return table(labels, groups, out & held)


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 2**31), st.sampled_from(sorted(SPLITTERS)))
def test_no_group_is_in_two_splits(pictures: ToSplit, seed: int, name: str) -> None:
    names = SPLITTERS[name](pictures, seed)
    assert set(names.tolist()) <= {"train", "validation", "test", "excluded"}
    for group in np.unique(pictures.groups):
        mine = names[pictures.groups == group]
        assert len(set(mine.tolist()) - {"excluded"}) <= 1
    assert (names[pictures.held_out] == "test").all()


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 2**31))
def test_official_test_is_what_is_held_out_and_its_copies_are_left_out(
    pictures: ToSplit, seed: int
) -> None:
    names = official_split(pictures, seed)
    tested = np.isin(pictures.groups, pictures.groups[pictures.held_out])
    assert np.array_equal(names == "test", pictures.held_out)
    assert np.array_equal(names == "excluded", tested & ~pictures.held_out)


@settings(max_examples=60, deadline=None)
@given(tables(), st.integers(0, 2**31), st.integers(0, 199), st.integers(0, 40))
def test_a_picture_that_changes_its_group_moves_no_picture_of_other_groups(
    pictures: ToSplit, seed: int, picture: int, group: int
) -> None:
    # As where another machine finds one near copy more, or one less.
    before = pictures.groups
    after = before.copy()
    after[picture % len(after)] = group
    touched = np.isin(before, before[before != after]) | np.isin(after, after[before != after])
    old, new = places(pictures.ids, before, seed), places(pictures.ids, after, seed)
    assert np.array_equal(old[~touched], new[~touched])


def test_one_changed_group_changes_the_part_of_its_own_pictures_alone() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 7, 3000), rng.integers(0, 2000, 3000)
    held = groups < 60
    for split in SPLITTERS.values():
        before = split(table(labels, groups, held), 1)
        for picture, other in ((10, 1500), (2500, 3), (2999, 1999), (7, 5000)):
            changed = np.array(groups)
            changed[picture] = other
            after = split(table(labels, changed, held), 1)
            touched = np.isin(groups, groups[picture]) | np.isin(changed, other)
            assert np.array_equal(before[~touched], after[~touched])
    # Nor do labels, which a review or votes may change, move anything.
    assert np.array_equal(
        grouped_split(table(labels, groups), 1),
        grouped_split(table(np.roll(labels, 1), groups), 1),
    )


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_does_not_count(
    pictures: ToSplit, seed: int, random: object
) -> None:
    order = np.arange(len(pictures.ids))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = ToSplit(
        [pictures.ids[i] for i in order],
        pictures.labels[order],
        pictures.groups[order],
        pictures.held_out[order],
        pictures.given[order],
    )
    for split in SPLITTERS.values():
        assert np.array_equal(split(pictures, seed)[order], split(shuffled, seed))


@pytest.mark.parametrize(
    ("held", "shares"), [(0, SHARES), (500, WITH_TEST_SHARES)], ids=["without test", "with test"]
)
def test_classes_come_within_five_deviations_of_their_shares(
    held: int, shares: dict[str, float]
) -> None:
    for seed in range(5):
        labels, groups = np.arange(9100) % 7, np.arange(9100)
        names = grouped_split(table(labels, groups, groups < held), seed)
        for label in range(7):
            mine = names[(labels == label) & (groups >= held)]
            for part, share in shares.items():
                deviation = np.sqrt(share * (1 - share) / len(mine))
                assert abs((mine == part).mean() - share) < 5 * deviation


def test_official_shares_are_90_10() -> None:
    names = official_split(table(0, np.arange(10_000)), 3)
    for part, share in OFFICIAL_SHARES.items():
        assert abs((names == part).mean() - share) < 5 * np.sqrt(share * (1 - share) / 10_000)


@pytest.mark.parametrize("size", [3, 4, 8])
def test_a_small_class_misses_no_part(size: int) -> None:
    labels = np.arange(4 * size) % 4
    for seed in range(15):
        names = grouped_split(table(labels, np.arange(4 * size)), seed)
        for label in range(4):
            assert set(names[labels == label].tolist()) == {"train", "validation", "test"}


def test_a_class_of_two_groups_keeps_them_where_their_hashes_say() -> None:
    names = grouped_split(table(0, [0, 1]), 1)
    assert set(names.tolist()) <= set(SHARES)


@pytest.mark.parametrize(
    ("name", "digest"), [("grouped", "16b7e06d9cb2"), ("official", "1b8d937bce70")]
)
def test_a_seed_gives_the_same_split_bit_for_bit_on_every_machine(name: str, digest: str) -> None:
    labels, groups = np.arange(2000) % 7, np.arange(2000) * 7919 % 1499
    pictures = table(labels, groups, groups < 100)
    names = SPLITTERS[name](pictures, 7)
    assert hashlib.sha256(",".join(names).encode()).hexdigest()[:12] == digest
    assert (names != SPLITTERS[name](pictures, 8)).any()


# --- parts that are known


def test_known_parts_stay_and_copies_go_with_them() -> None:
    #          test     train    validation  excluded  free
    groups = [0, 0, 1, 1, 2, 2, 3, 3, 4]
    known = np.array(["test", "", "train", "", "validation", "", "excluded", "", ""], "U10")
    names = grouped_split(table(0, groups), 1, known)
    assert names[:8].tolist() == [
        "test", "test", "train", "train", "validation", "validation", "excluded", "excluded",
    ]  # fmt: skip
    assert names[8] in SHARES


def test_copies_of_a_group_in_several_known_parts_go_where_nothing_learns_from_them() -> None:
    known = np.array(["train", "test", "", "train", "validation", ""], "U10")
    names = grouped_split(table(0, [0, 0, 0, 1, 1, 1]), 1, known)
    assert names.tolist() == ["train", "test", "test", "train", "validation", "validation"]


def test_where_all_of_test_is_known_no_other_picture_gets_there() -> None:
    known = np.array(["test"] * 50 + [""] * 450, "U10")
    groups = np.arange(500)
    groups[100] = 0
    names = grouped_split(table(0, groups), 1, known, test_known=True)
    assert np.flatnonzero(names == "test").tolist() == list(range(50))
    assert names[100] == "excluded"
    assert set(names[101:].tolist()) == {"train", "validation"}


def test_official_copies_with_the_very_pixels_of_a_test_picture_are_left_out() -> None:
    known = np.array(["test", "test"], "U10")
    names = official_split(table(0, [0, 0], [True, False]), 1, known)
    assert names.tolist() == ["test", "excluded"]


# --- the sets' own parts


def parts_of(counts: dict[str, int]) -> NDArray[np.str_]:
    """Parts, each so many times."""
    return np.repeat(np.array(list(counts), "U10"), list(counts.values()))


def test_given_parts_stay_as_they_are() -> None:
    parts = parts_of({"train": 60, "validation": 20, "test": 20})
    names = given_split(table(0, np.arange(100), given=parts), 1)
    assert np.array_equal(names, parts)


@pytest.mark.parametrize(
    ("lacking", "share"), [(("validation",), 0.2), (("test",), 0.2), (("validation", "test"), 0.4)]
)
def test_a_part_that_lacks_is_cut_from_train_by_hash(
    lacking: tuple[str, ...], share: float
) -> None:
    counts = {"train": 3000, "validation": 500, "test": 500}
    parts = parts_of({part: n for part, n in counts.items() if part not in lacking})
    names = given_split(table(0, np.arange(len(parts)), given=parts), 1)
    assert np.array_equal(names[parts != "train"], parts[parts != "train"])
    cut = np.isin(names[parts == "train"], lacking).mean()
    assert abs(cut - share) < 5 * np.sqrt(share * (1 - share) / 3000)


def test_copies_across_given_parts_are_left_out_of_the_part_that_learns() -> None:
    parts = np.array(["train", "test", "train", "validation", "validation", "test"], "U10")
    more = parts_of({"train": 30, "validation": 30, "test": 30})
    groups = np.concatenate([[0, 0, 1, 1, 2, 2], np.arange(3, 93)])
    names = given_split(table(0, groups, given=np.concatenate([parts, more])), 1)
    assert names[:6].tolist() == ["excluded", "test", "excluded", "validation", "excluded", "test"]
    assert np.array_equal(names[6:], more)


@pytest.mark.parametrize("part", ["test", "validation"])
def test_a_part_that_is_the_train_part_again_is_refused(part: str) -> None:
    pictures = table(0, np.arange(20) % 10, given=parts_of({"train": 10, part: 10}))
    same = replace(pictures, ids=[*pictures.ids[:10], *pictures.ids[:10]])
    with pytest.raises(DataError, match=f"a {part} part of its own .* in train too \\(10 of 10\\)"):
        given_split(same, 1)


def test_given_parts_without_train_are_refused() -> None:
    with pytest.raises(DataError, match="below a folder train for --split given, found none"):
        given_split(table(0, np.arange(10)), 1)
