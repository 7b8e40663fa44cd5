"""Targets of hard labels, FER+ votes and mixes against fractions worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError, InvalidInput
from tests import support
from training.data.ferplus import read_votes
from training.fit.targets import targets, unusable_votes

UNVOTED = [-1] * 10
VOTES = st.lists(
    st.one_of(st.just(UNVOTED), st.lists(st.integers(0, 10), min_size=10, max_size=10)),
    min_size=1,
    max_size=20,
)


def votes_of(**columns: int) -> list[int]:
    return [columns.get(column, 0) for column in FERPLUS_COLUMNS]


def data_of(
    labels: list[str], votes: list[list[int]] | None, groups: list[int] | None = None
) -> Prepared:
    """Prepared data of pictures that do not matter here."""
    count = len(labels)
    numbers = np.array([LABELS.index(label) for label in labels], np.int64)
    return Prepared(
        Path("drawn"),
        np.zeros((count, 48, 48, 1), np.uint8),
        numbers,
        numbers,
        np.full(count, "train"),
        np.array(groups if groups is not None else range(count), np.int64),
        None if votes is None else np.array(votes, np.int64),
        [],
        {},
        LABELS,
        DEFAULT_SPEC,
    )


def row_of(**shares: float) -> list[float]:
    return [shares.get(label, 0.0) for label in LABELS]


FACES = data_of(
    ["angry", "sad", "happy", "fear", "neutral"],
    [
        votes_of(anger=6, disgust=2, contempt=2),
        votes_of(sadness=3, neutral=3, unknown=4),
        votes_of(happiness=10),
        UNVOTED,
        votes_of(neutral=4, surprise=2, contempt=4),
    ],
)
ALL = np.arange(5)


def test_fer2013_is_the_hard_label_of_every_picture_asked_for() -> None:
    found = targets(FACES, np.array([3, 0]), "fer2013")
    assert found.rows.tolist() == [3, 0]
    assert found.values.dtype == np.float32
    assert found.values.tolist() == [row_of(fear=1), row_of(angry=1)]
    assert (found.left_out, found.kept_hard, found.votes_dropped) == ({}, {}, {})


def test_ferplus_is_the_share_of_votes_among_the_seven() -> None:
    found = targets(FACES, ALL, "ferplus")
    # A tie of a class with contempt leaves the class; unknown ahead of two classes leaves none.
    assert found.rows.tolist() == [0, 2, 4]
    expected = [
        row_of(angry=6 / 8, disgust=2 / 8),
        row_of(happy=1),
        row_of(neutral=4 / 6, surprise=2 / 6),
    ]
    assert np.allclose(found.values, expected, atol=1e-7)
    assert found.left_out == {"most votes for unknown": 1, "votes not known": 1}
    assert found.votes_dropped == {"contempt": 6, "unknown": 0, "NF": 0}


def test_mix_blends_votes_with_the_hard_label_which_stays_alone_without_usable_votes() -> None:
    found = targets(FACES, ALL, "mix", 0.25)
    expected = [
        row_of(angry=0.25 * 6 / 8 + 0.75, disgust=0.25 * 2 / 8),
        row_of(sad=1),
        row_of(happy=1),
        row_of(fear=1),
        row_of(neutral=0.25 * 4 / 6 + 0.75, surprise=0.25 * 2 / 6),
    ]
    assert found.rows.tolist() == ALL.tolist()
    assert np.allclose(found.values, expected, atol=1e-6)
    assert found.kept_hard == {"most votes for unknown": 1, "votes not known": 1}
    assert found.left_out == {}


def test_smoothing_is_for_the_hard_part_alone() -> None:
    hard = np.array(row_of(angry=1)) * 0.9 + 0.1 / 7
    soft = np.array(row_of(angry=6 / 8, disgust=2 / 8))
    only = np.array([0])
    for labels, expected in (
        ("fer2013", hard),
        ("ferplus", soft),
        ("mix", 0.6 * soft + 0.4 * hard),
    ):
        assert np.allclose(
            targets(FACES, only, labels, 0.6, smoothing=0.1).values[0], expected, atol=1e-6
        )


def test_mix_of_nothing_is_fer2013_and_mix_of_all_is_ferplus() -> None:
    assert np.array_equal(
        targets(FACES, ALL, "mix", 0.0).values, targets(FACES, ALL, "fer2013").values
    )
    soft = targets(FACES, ALL, "ferplus")
    assert np.array_equal(targets(FACES, soft.rows, "mix", 1.0).values, soft.values)


def test_a_picture_without_votes_takes_the_sum_of_its_groups() -> None:
    data = data_of(
        ["happy", "sad", "happy", "happy", "fear"],
        [UNVOTED, UNVOTED, votes_of(happiness=8, neutral=2), votes_of(happiness=4, NF=6), UNVOTED],
        groups=[7, 2, 7, 7, 2],
    )
    assert group_votes(data).tolist() == [
        votes_of(happiness=12, neutral=2, NF=6),
        UNVOTED,
        votes_of(happiness=8, neutral=2),
        votes_of(happiness=4, NF=6),
        UNVOTED,
    ]
    found = targets(data, np.arange(5), "ferplus")
    assert found.rows.tolist() == [0, 2]
    assert np.allclose(
        found.values,
        [row_of(happy=12 / 14, neutral=2 / 14), row_of(happy=0.8, neutral=0.2)],
        atol=1e-7,
    )
    assert found.left_out == {"votes not known": 2, "most votes for NF": 1}


def test_every_reason_to_leave_a_picture_out() -> None:
    cases = {
        "": votes_of(fear=1),
        "most votes for contempt": votes_of(anger=3, contempt=4, unknown=3),
        "most votes for unknown": votes_of(unknown=10),
        "most votes for NF": votes_of(happiness=1, NF=9),
        "no vote for any of the classes": votes_of(),
        "votes not known": UNVOTED,
    }
    assert unusable_votes(np.array(list(cases.values())), LABELS).tolist() == list(cases)


@given(votes=VOTES)
def test_targets_are_distributions_and_every_picture_is_counted(votes: list[list[int]]) -> None:
    data = data_of(["happy"] * len(votes), votes)
    rows = np.arange(len(votes))
    if not (unusable_votes(data.votes, LABELS) == "").any():  # type: ignore[arg-type]
        with pytest.raises(DataError, match="usable FER\\+ votes"):
            targets(data, rows, "ferplus")
        return
    soft, mixed = targets(data, rows, "ferplus"), targets(data, rows, "mix", 0.5)
    assert len(soft.rows) + sum(soft.left_out.values()) == len(rows) == len(mixed.rows)
    assert soft.left_out == mixed.kept_hard
    for found in (soft, mixed):
        assert np.allclose(found.values.sum(axis=1), 1, atol=1e-6)
        assert found.values.min() >= 0


def test_majority_needs_more_than_half_of_all_taggers() -> None:
    cases = [
        (votes_of(happiness=6, contempt=4), "happy"),
        (votes_of(happiness=5, contempt=5), None),
        (votes_of(happiness=5, neutral=4), "happy"),  # nine taggers
        (votes_of(unknown=8, sadness=2), None),
        (votes_of(anger=4, disgust=3, fear=3), None),
        (votes_of(disgust=16, fear=4), "disgust"),  # two copies' votes summed
        (votes_of(), None),
        (UNVOTED, None),
    ]
    labels, known = ferplus_majority(np.array([votes for votes, _ in cases]), LABELS)
    assert [
        LABELS[label] if found else None for label, found in zip(labels, known, strict=True)
    ] == [label for _, label in cases]
    assert (labels[~known] == -1).all()


@given(votes=arrays.arrays(np.int64, (6, 10), elements=st.integers(0, 10)))
def test_majority_agrees_with_counting_by_name(votes: np.ndarray) -> None:
    names = {"happiness": "happy", "sadness": "sad", "anger": "angry"}
    labels, known = ferplus_majority(votes, LABELS)
    for row, label, found in zip(votes.tolist(), labels, known, strict=True):
        by_name = {names.get(c, c): n for c, n in zip(FERPLUS_COLUMNS, row, strict=True)}
        winners = [name for name in LABELS if by_name[name] > sum(row) / 2]
        assert [LABELS[label]] * bool(found) == winners


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(
        InvalidInput, match="expected labels of fer2013, ferplus, mix, received 'votes'"
    ):
        targets(FACES, ALL, "votes")
    for labels in ("ferplus", "mix"):
        with pytest.raises(
            DataError, match="without FER\\+ votes; prepare the data again with --ferplus"
        ):
            targets(replace(FACES, votes=None), ALL, labels)


def test_the_real_vote_file_gives_the_counts_of_its_paper_s_rule() -> None:
    votes = np.array(list(read_votes(support.shared("data", "ferplus_votes.csv")).values()))
    reasons = unusable_votes(votes, LABELS)
    # Counted apart from the code under test, one picture at a time.
    expected = []
    for row in votes.tolist():
        seven, others = max(row[:7]), dict(zip(FERPLUS_COLUMNS[7:], row[7:], strict=True))
        best = max(others, key=lambda name: others[name])
        expected.append(f"most votes for {best}" if others[best] > seven else "")
    assert reasons.tolist() == expected
    assert 0.98 < np.mean(reasons == "") < 1
