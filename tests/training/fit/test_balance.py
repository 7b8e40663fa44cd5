"""Balanced draws and class weights against counting and scikit-learn."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from edgeemo.contract.labels import LABELS
from edgeemo.errors import DataError
from training.fit.balance import balanced_rows, balanced_weights

SIZES = st.lists(st.integers(1, 40), min_size=7, max_size=7)


def shuffled(sizes: list[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(7), sizes))


@given(sizes=SIZES, n=st.integers(1, 90), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_class_gets_n_and_its_pictures_serve_equally_often(
    sizes: list[int], n: int, seed: int
) -> None:
    labels = shuffled(sizes)
    rows = balanced_rows(labels, n, LABELS, np.random.default_rng(seed))
    assert np.bincount(labels[rows], minlength=7).tolist() == [n] * 7
    times = Counter(rows.tolist())
    for label, size in enumerate(sizes):
        served = Counter(times[row] for row in np.flatnonzero(labels == label).tolist())
        # n = q size + r: r pictures serve once more than the others, and none twice where there are
        # enough.
        quotient, rest = divmod(n, size)
        assert served == Counter({quotient: size - rest, quotient + 1: rest}) - Counter()


def test_the_draw_follows_from_its_stream_and_differs_between_epochs() -> None:
    labels = shuffled([50, 20, 5, 30, 90, 40, 25])
    first, again, next_epoch = (
        balanced_rows(labels, 22, LABELS, np.random.default_rng([3, epoch])) for epoch in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next_epoch)


def test_undersampling_reaches_every_picture_equally_over_epochs() -> None:
    labels = shuffled([40, 10, 10, 10, 10, 10, 10])
    rng = np.random.default_rng(0)
    times = sum(
        np.bincount(balanced_rows(labels, 10, LABELS, rng), minlength=len(labels))
        for _ in range(400)
    )
    # Each of the 40 is drawn with probability 1/4 in each of 400 epochs; within five standard
    # deviations.
    large = np.asarray(times)[labels == 0]
    assert np.abs(large - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)
    assert (np.asarray(times)[labels != 0] == 400).all()


def test_a_class_without_pictures_cannot_be_balanced() -> None:
    with pytest.raises(DataError, match="hold no disgust.*train without --balance"):
        balanced_rows(shuffled([5, 5, 0, 5, 5, 5, 5]), 3, LABELS, np.random.default_rng(0))


@given(sizes=SIZES)
def test_weights_are_scikit_learns_balanced_ones(sizes: list[int]) -> None:
    labels = shuffled(sizes)
    expected = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    found = balanced_weights(np.eye(7, dtype=np.float32)[labels])
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=1e-6)


def test_a_class_that_does_not_occur_weighs_nothing_and_the_others_as_scikit_learn_says() -> None:
    labels = shuffled([6, 3, 0, 1, 8, 2, 4])
    present = np.delete(np.arange(7), LABELS.index("disgust"))
    found = balanced_weights(np.eye(7, dtype=np.float32)[labels])
    assert found[2] == 0
    assert np.allclose(
        found[present], compute_class_weight("balanced", classes=present, y=labels), rtol=1e-6
    )


def test_soft_targets_are_weighted_by_their_sums_and_the_mean_expected_weight_is_one() -> None:
    targets = np.random.default_rng(1).dirichlet([4, 8, 0.2, 2, 9, 3, 3], 500).astype(np.float32)
    weights = balanced_weights(targets)
    assert np.allclose(weights, 500 / (7 * targets.sum(axis=0)), rtol=1e-5)
    assert abs((targets @ weights).mean() - 1) < 1e-5
