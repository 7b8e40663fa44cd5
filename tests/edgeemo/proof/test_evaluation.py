"""Metrics against scikit-learn, SciPy and plain loops."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.contract.labels import LABELS
from edgeemo.errors import InvalidInput
from edgeemo.proof.evaluation import (
    Z95_ONE_SIDED,
    Z95_TWO_SIDED,
    agreement,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    mcnemar_exact,
    mean_kl,
    paired_drop,
    recalls,
    score,
    wilson_interval,
)

Array = np.ndarray[Any, Any]
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60)


def split(pairs: list[tuple[int, int]]) -> tuple[Array, Array]:
    labels, predicted = np.array(pairs, np.int64).T
    return labels, predicted


def drawn_logits(seed: int, n: int, spread: float = 3.0) -> Array:
    return np.random.default_rng(seed).normal(0, spread, (n, 7)).astype(np.float32)


@settings(deadline=None)
@given(PAIRS)
def test_confusion_is_scikit_learns_with_true_labels_in_rows(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = split(pairs)
    expected = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(7))
    np.testing.assert_array_equal(confusion_matrix(labels, predicted, 7), expected)


def test_confusion_counts_an_angry_face_called_sad_in_row_angry_column_sad() -> None:
    confusion = confusion_matrix(np.array([0]), np.array([5]), 7)
    assert confusion[LABELS.index("angry"), LABELS.index("sad")] == 1
    assert confusion.sum() == 1
    assert confusion.dtype == np.int64


@settings(deadline=None)
@given(PAIRS)
def test_score_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = split(pairs)
    card = score(labels, predicted, LABELS)
    occurring = sorted({*labels.tolist(), *predicted.tolist()})
    f1 = sklearn.metrics.f1_score(
        labels, predicted, labels=occurring, average="macro", zero_division=0.0
    )
    assert card.n == len(labels)
    assert card.top1 == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted), abs=1e-12)
    assert card.macro_f1 == pytest.approx(f1, abs=1e-12)
    for number, label in enumerate(LABELS):
        recall = card.per_class_recall[label]
        if number in labels:
            of_class = sklearn.metrics.recall_score(
                labels, predicted, labels=[number], average=None
            )[0]
            assert recall == pytest.approx(of_class, abs=1e-12)
        else:
            assert recall is None
    assert (
        card.confusion
        == sklearn.metrics.confusion_matrix(labels, predicted, labels=range(7)).tolist()
    )
    assert card.interval == wilson_interval(int((labels == predicted).sum()), len(labels))


def test_a_scorecard_holds_plain_numbers_for_json() -> None:
    card = score(np.array([0, 1, 1]), np.array([0, 1, 2]), LABELS)
    assert [type(value) for value in (card.n, card.top1, card.macro_f1, card.confusion[0][0])] == [
        int,
        float,
        float,
        int,
    ]
    assert type(card.per_class_recall["angry"]) is float
    assert list(card.per_class_recall) == list(LABELS)


def test_macro_f1_by_hand() -> None:
    # Class 0: 2 right of 3, none wrongly added: F1 = 4/5. Class 1: 1 right, one added: 2/3. The
    # other five do not occur.
    labels, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert macro_f1(confusion_matrix(labels, predicted, 7)) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_class_that_is_only_predicted_counts_as_f1_of_zero() -> None:
    assert macro_f1(confusion_matrix(np.array([0, 0]), np.array([0, 3]), 7)) == pytest.approx(
        (2 / 3 + 0) / 2
    )


def test_recall_of_an_absent_class_is_nan() -> None:
    found = recalls(confusion_matrix(np.array([2, 2, 4]), np.array([2, 4, 4]), 7))
    np.testing.assert_array_equal(found, [np.nan, np.nan, 0.5, np.nan, 1.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        (np.zeros(3, int), np.zeros(4, int)),
        (np.zeros(1, int), np.zeros(4, int)),
        (np.zeros(0, int), np.zeros(0, int)),
        (np.zeros((2, 2), int), np.zeros((2, 2), int)),
        (np.array([0, 7]), np.array([0, 1])),
        (np.array([0, 1]), np.array([0, 7])),
        (np.array([0, -1]), np.array([0, 1])),
        (np.array([0, 1]), np.array([0, -1])),
    ],
    ids=[
        "longer",
        "one for many",
        "empty",
        "two axes",
        "label 7",
        "answer 7",
        "label -1",
        "answer -1",
    ],
)
def test_labels_that_do_not_fit_their_predictions_are_refused(
    labels: Array, predicted: Array
) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        confusion_matrix(labels, predicted, 7)
    with pytest.raises(InvalidInput, match="expected"):
        score(labels, predicted, LABELS)


@settings(deadline=None)
@given(st.data(), st.integers(1, 5000))
def test_wilson_interval_is_scipys(data: st.DataObject, n: int) -> None:
    hits = data.draw(st.integers(0, n))
    expected = scipy.stats.binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    low, high = wilson_interval(hits, n)
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 100), (100, 100), (55, 55), (0, 55)])
def test_wilson_interval_stays_within_0_and_1_at_the_ends(hits: int, n: int) -> None:
    low, high = wilson_interval(hits, n)
    assert 0.0 <= low < high <= 1.0
    assert (low if hits == 0 else 1 - high) < 1e-12


def test_the_z_values_are_scipys() -> None:
    assert scipy.stats.norm.ppf(0.975) == pytest.approx(Z95_TWO_SIDED, abs=1e-12)
    assert scipy.stats.norm.ppf(0.95) == pytest.approx(Z95_ONE_SIDED, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = scipy.stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_thousands_of_discordant_pairs_neither_overflows_nor_leaves_0_to_1() -> None:
    assert mcnemar_exact(1500, 1500) == 1.0
    assert mcnemar_exact(1600, 1400) == pytest.approx(
        scipy.stats.binomtest(1400, 3000).pvalue, rel=1e-9
    )
    assert 0 <= mcnemar_exact(3000, 0) < 1e-300


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_paired_drop_is_its_formula_in_a_plain_loop(pairs: list[tuple[bool, bool]]) -> None:
    b = sum(1 for reference, candidate in pairs if reference and not candidate)
    c = sum(1 for reference, candidate in pairs if candidate and not reference)
    n = len(pairs)
    error = math.sqrt((b + c) - (b - c) ** 2 / n) / n if (b + c) * n > (b - c) ** 2 else 0.0
    found = paired_drop(*np.array(pairs, bool).T)
    assert (found.n, found.b, found.c) == (n, b, c)
    assert found.drop == pytest.approx((b - c) / n, abs=1e-15)
    assert found.standard_error == pytest.approx(error, abs=1e-12)
    assert found.upper95 == pytest.approx(found.drop + 1.6448536269514722 * error, abs=1e-12)
    assert found.lower95 == pytest.approx(found.drop - 1.6448536269514722 * error, abs=1e-12)
    assert found.mcnemar_p == mcnemar_exact(b, c)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=200))
def test_the_standard_error_is_that_of_the_mean_of_the_differences(
    pairs: list[tuple[bool, bool]],
) -> None:
    reference, candidate = np.array(pairs, bool).T
    differences = reference.astype(int) - candidate.astype(int)
    found = paired_drop(reference, candidate)
    assert found.drop == pytest.approx(differences.mean(), abs=1e-12)
    assert found.standard_error == pytest.approx(
        differences.std() / math.sqrt(len(pairs)), abs=1e-9
    )


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=100))
def test_turning_the_two_models_round_turns_the_drop_round(pairs: list[tuple[bool, bool]]) -> None:
    reference, candidate = np.array(pairs, bool).T
    there, back = paired_drop(reference, candidate), paired_drop(candidate, reference)
    assert (there.drop, there.upper95, there.lower95) == (-back.drop, -back.lower95, -back.upper95)
    assert there.mcnemar_p == back.mcnemar_p


def discordant(n: int, b: int, c: int) -> tuple[Array, Array]:
    reference, candidate = np.ones(n, bool), np.ones(n, bool)
    candidate[:b] = False
    reference[b : b + c] = False
    return reference, candidate


@pytest.mark.parametrize(("n", "half_width_pp"), [(3579, 0.48), (350, 1.5)])
def test_at_3_percent_discordant_pairs_the_half_width_is_the_published_one(
    n: int, half_width_pp: float
) -> None:
    pairs = round(0.03 * n / 2)
    found = paired_drop(*discordant(n, pairs, pairs))
    assert found.drop == 0
    assert 100 * (found.upper95 - found.drop) == pytest.approx(
        half_width_pp, abs=0.05 * half_width_pp
    )


def test_paired_drop_by_known_answers() -> None:
    found = paired_drop(*discordant(1000, 30, 10))
    assert (found.b, found.c, found.drop) == (30, 10, 0.02)
    assert found.standard_error == pytest.approx(math.sqrt(40 - 0.4) / 1000)
    assert found.mcnemar_p == pytest.approx(scipy.stats.binomtest(10, 40).pvalue)
    same = paired_drop(*discordant(50, 0, 0))
    assert (same.drop, same.standard_error, same.upper95, same.lower95, same.mcnemar_p) == (
        0,
        0,
        0,
        0,
        1,
    )


def test_paired_drop_of_all_lost_has_no_spread_and_no_negative_root() -> None:
    for n in range(1, 60):
        found = paired_drop(np.ones(n, bool), np.zeros(n, bool))
        assert found.drop == 1.0
        assert found.standard_error == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 5), (5, 1), (4, 5)])
def test_a_comparison_of_different_or_no_pictures_is_refused(first: int, second: int) -> None:
    with pytest.raises(InvalidInput, match="same pictures"):
        paired_drop(np.ones(first, bool), np.ones(second, bool))
    for measure in (agreement, mean_kl):
        with pytest.raises(InvalidInput, match="same pictures"):
            measure(drawn_logits(1, first), drawn_logits(2, second))
    with pytest.raises(InvalidInput, match="same pictures"):
        expected_calibration_error(drawn_logits(1, first), np.zeros(second, np.int64))


def naive_ece(logits: Array, labels: Array, bins: int) -> float:
    """Guo et al. 2017, equation 3, bin by bin and picture by picture."""
    exponentials = [[math.exp(float(v) - float(max(row))) for v in row] for row in logits]
    scores = [[e / sum(row) for e in row] for row in exponentials]
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for row, label in zip(scores, labels, strict=True):
        confidence = max(row)
        members[min(bins - 1, int(confidence * bins))].append(
            (confidence, row.index(confidence) == label)
        )
    total = 0.0
    for group in members:
        if group:
            mean_confidence = sum(confidence for confidence, _ in group) / len(group)
            accuracy = sum(right for _, right in group) / len(group)
            total += len(group) * abs(accuracy - mean_confidence)
    return total / len(labels)


@settings(deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 80),
    st.sampled_from([1, 2, 10, 15, 20]),
    st.sampled_from([0.3, 2.0, 8.0]),
)
def test_calibration_error_is_that_of_a_plain_loop(
    seed: int, n: int, bins: int, spread: float
) -> None:
    logits = drawn_logits(seed, n, spread)
    labels = np.random.default_rng(seed + 1).integers(0, 7, n)
    assert expected_calibration_error(logits, labels, bins) == pytest.approx(
        naive_ece(logits, labels, bins), abs=1e-5
    )


def test_calibration_error_by_known_answers() -> None:
    sure = np.full((4, 7), -100, np.float32)
    sure[:, 2] = 100
    assert expected_calibration_error(sure, np.full(4, 2)) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(sure, np.full(4, 3)) == pytest.approx(1, abs=1e-6)
    assert expected_calibration_error(sure, np.array([2, 3, 3, 3])) == pytest.approx(0.75, abs=1e-6)
    # A confidence of exactly 1 is in the last bin with 0.95, not in one beyond it, where the errors
    # would add up.
    last = np.full((2, 7), -100, np.float32)
    last[:, 2] = 100
    last[1] = np.log([0.95, *[0.05 / 6] * 6])
    assert expected_calibration_error(last, np.array([3, 0])) == pytest.approx(0.475, abs=1e-6)
    # One in seven right at a confidence of one in seven: calibrated.
    assert expected_calibration_error(np.zeros((7, 7), np.float32), np.arange(7)) == pytest.approx(
        0, abs=1e-6
    )


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.1, 2.0, 10.0]))
def test_kl_is_scipys_entropy(seed: int, n: int, spread: float) -> None:
    reference, candidate = drawn_logits(seed, n, spread), drawn_logits(seed + 1, n, spread)
    p = scipy.special.softmax(reference.astype(np.float64), axis=1)
    q = scipy.special.softmax(candidate.astype(np.float64), axis=1)
    assert mean_kl(reference, candidate) == pytest.approx(
        scipy.stats.entropy(p, q, axis=1).mean(), rel=1e-5, abs=1e-9
    )
    assert mean_kl(reference, candidate) >= 0
    assert mean_kl(reference, reference) == 0


def test_kl_of_huge_logits_is_finite_and_right() -> None:
    one, other = np.zeros((1, 7), np.float32), np.zeros((1, 7), np.float32)
    one[0, 0], other[0, 1] = 1e6, 1e6
    # All of the reference's weight is on a class whose log-probability the candidate puts at -1e6.
    assert mean_kl(one, other) == pytest.approx(1e6)


def test_agreement_counts_equal_top_labels_whatever_the_confidence() -> None:
    reference = drawn_logits(1, 40)
    candidate = reference * np.float32(0.1)
    assert agreement(reference, candidate) == 1.0
    candidate[:10] = -candidate[:10]
    expected = sum(r.argmax() == c.argmax() for r, c in zip(reference, candidate, strict=True)) / 40
    assert agreement(reference, candidate) == expected
    assert expected == 0.75
