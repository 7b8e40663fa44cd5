"""Copies with different labels: what each policy makes of them, against a plain restatement of the
rules.
"""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.data.ferplus import votes_to_labels
from training.data.conflicts import POLICIES, Given, Settled, settle

ANGRY, NEUTRAL, DISGUST, FEAR, HAPPY, SAD, SURPRISE = range(7)


def votes_of(count: int, known: dict[int, dict[str, int]]) -> NDArray[np.int64]:
    votes = np.full((count, 10), -1, np.int64)
    for row, by_column in known.items():
        votes[row] = [by_column.get(column, 0) for column in FERPLUS_COLUMNS]
    return votes


def settled(
    labels: list[int],
    groups: list[int],
    *,
    policy: str = "majority",
    votes: dict[int, dict[str, int]] | None = None,
    fixed: tuple[int, ...] = (),
    reviewed: dict[int, int] | None = None,
) -> Settled:
    count = len(labels)
    person = np.full(count, -1, np.int64)
    for row, label in (reviewed or {}).items():
        person[row] = label
    given = Given(
        np.array(labels),
        np.array(groups),
        votes_of(count, votes or {}),
        np.isin(np.arange(count), fixed),
        person,
    )
    return settle(given, policy, LABELS)


def test_vote_columns_map_to_the_seven_labels() -> None:
    words = {
        "neutral": "neutral",
        "happiness": "happy",
        "surprise": "surprise",
        "sadness": "sad",
        "anger": "angry",
    }
    words |= {"disgust": "disgust", "fear": "fear"}
    for column, votes_for in zip(FERPLUS_COLUMNS, votes_to_labels(LABELS), strict=True):
        assert votes_for.tolist() == [label == words.get(column) for label in LABELS]


def test_majority_gives_all_copies_the_label_that_most_carry() -> None:
    result = settled([ANGRY, SAD, SAD, HAPPY, FEAR], [0, 0, 0, 1, 2])
    assert result.labels.tolist() == [SAD, SAD, SAD, HAPPY, FEAR]
    assert not result.dropped.any()
    assert {
        key: result.summary[key] for key in ("policy", "groups", "pictures", "changed", "dropped")
    } == {
        "policy": "majority",
        "groups": 1,
        "pictures": 3,
        "changed": 1,
        "dropped": 0,
    }


def test_between_equals_the_first_picture_decides() -> None:
    assert settled([SAD, ANGRY], [0, 0]).labels.tolist() == [SAD, SAD]
    assert settled([ANGRY, SAD], [0, 0]).labels.tolist() == [ANGRY, ANGRY]


def test_ferplus_votes_outrank_the_folders_names() -> None:
    result = settled([ANGRY, ANGRY, SAD], [0, 0, 0], votes={2: {"neutral": 6, "sadness": 4}})
    assert result.labels.tolist() == [NEUTRAL] * 3


def test_votes_for_contempt_unknown_and_no_face_decide_nothing() -> None:
    result = settled(
        [ANGRY, SAD, SAD], [0, 0, 0], votes={0: {"contempt": 5, "unknown": 3, "NF": 2}}
    )
    assert result.labels.tolist() == [SAD] * 3
    result = settled([ANGRY, SAD, SAD], [0, 0, 0], votes={0: {"contempt": 8, "anger": 2}})
    assert result.labels.tolist() == [ANGRY] * 3


def test_votes_of_a_group_without_conflict_change_nothing() -> None:
    assert settled([ANGRY, ANGRY], [0, 0], votes={0: {"happiness": 10}}).labels.tolist() == [
        ANGRY,
        ANGRY,
    ]


def test_drop_leaves_the_whole_group_out_and_keep_leaves_it_as_it_is() -> None:
    labels, groups = [ANGRY, SAD, HAPPY], [0, 0, 1]
    dropped = settled(labels, groups, policy="drop")
    assert dropped.dropped.tolist() == [True, True, False]
    assert dropped.labels.tolist() == labels
    kept = settled(labels, groups, policy="keep")
    assert kept.labels.tolist() == labels
    assert not kept.dropped.any()
    assert kept.summary["groups"] == 1


def test_held_out_pictures_keep_label_and_place_under_every_policy() -> None:
    for policy in POLICIES:
        result = settled(
            [ANGRY, SAD, SAD], [0, 0, 0], policy=policy, fixed=(0,), reviewed={0: HAPPY}
        )
        assert result.labels[0] == ANGRY
        assert not result.dropped[0]


def test_a_persons_review_outranks_votes_and_copies() -> None:
    result = settled([ANGRY, SAD, SAD], [0, 0, 0], votes={1: {"neutral": 10}}, reviewed={0: FEAR})
    assert result.labels.tolist() == [FEAR] * 3


def test_a_persons_review_of_a_single_picture_is_its_label() -> None:
    result = settled([ANGRY, SAD], [0, 1], policy="keep", reviewed={1: SURPRISE})
    assert result.labels.tolist() == [ANGRY, SURPRISE]
    assert result.summary["changed"] == 1


def test_matrix_counts_the_settled_against_the_given_labels() -> None:
    matrix = np.array(
        settled([ANGRY, SAD, SAD, HAPPY, FEAR, HAPPY], [0, 0, 0, 1, 1, 1]).summary["matrix"]
    )
    expected = np.zeros((7, 7), int)
    expected[SAD, SAD], expected[SAD, ANGRY], expected[HAPPY, HAPPY], expected[HAPPY, FEAR] = (
        2,
        1,
        2,
        1,
    )
    assert np.array_equal(matrix, expected)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), min_size=1, max_size=60))
def test_majority_without_votes_is_the_plain_rule(rows: list[tuple[int, int]]) -> None:
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    result = settled(labels, groups)
    for group in set(groups):
        mine = [label for label, g in rows if g == group]
        # Counter keeps the order of first appearance, so the first of the most common is the first
        # picture's.
        assert set(result.labels[np.array(groups) == group].tolist()) == {
            Counter(mine).most_common(1)[0][0]
        }
