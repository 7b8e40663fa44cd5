"""The operating point: what a prior does to scores, against Bayes' rule."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.contract.labels import LABELS
from edgeemo.contract.operating_point import (
    BALANCED,
    DEFAULT,
    PRIORS,
    TRAINING,
    OperatingPoint,
    parse_prior,
)
from edgeemo.contract.quantize import softmax
from edgeemo.errors import InvalidInput, UnknownLabel

shares = st.lists(st.floats(0.01, 1), min_size=7, max_size=7).map(
    lambda values: tuple((np.array(values) / np.sum(values)).tolist())
)
points = st.builds(OperatingPoint, shares, st.floats(0.1, 5), st.floats(0, 1))
RNG = np.random.default_rng(0)
LIKELIHOODS = RNG.dirichlet(np.full(50, 0.5), 7).T  # (50 pictures, 7), of each picture in a class


def posterior(prior: tuple[float, ...]) -> np.ndarray:
    """Bayes: P(class | picture) where classes are as frequent as `prior`."""
    joint = LIKELIHOODS * np.array(prior)
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def trained_logits(point: OperatingPoint) -> np.ndarray:
    """What a network says that learned its prior right but is off by its temperature."""
    return np.asarray(point.temperature * np.log(posterior(point.prior)), np.float64)


@given(points)
def test_training_gives_the_posterior_of_training(point: OperatingPoint) -> None:
    logits = point.applied(trained_logits(point)) + point.shift(TRAINING, LABELS)
    np.testing.assert_allclose(softmax(logits), posterior(point.prior), atol=1e-5)


@given(points)
def test_balanced_gives_the_posterior_of_equal_classes(point: OperatingPoint) -> None:
    logits = point.applied(trained_logits(point)) + point.shift(BALANCED, LABELS)
    np.testing.assert_allclose(softmax(logits), posterior((1 / 7,) * 7), atol=1e-5)


@given(points, shares)
def test_named_shares_give_the_posterior_of_a_site(
    point: OperatingPoint, site: tuple[float, ...]
) -> None:
    prior = dict(zip(LABELS, site, strict=True))
    logits = point.applied(trained_logits(point)) + point.shift(prior, LABELS)
    np.testing.assert_allclose(softmax(logits), posterior(site), atol=1e-5)


@given(points)
def test_labels_that_are_not_named_share_the_rest_as_in_training(point: OperatingPoint) -> None:
    rest = 1 - 0.6
    others = 1 - point.prior[1]
    site = tuple(
        0.6 if label == "neutral" else rest * share / others
        for label, share in zip(LABELS, point.prior, strict=True)
    )
    logits = point.applied(trained_logits(point)) + point.shift({"Neutral": 0.6}, LABELS)
    np.testing.assert_allclose(softmax(logits), posterior(site), atol=1e-5)


@given(points)
def test_default_changes_nothing(point: OperatingPoint) -> None:
    assert not point.shift(DEFAULT, LABELS).any()


@given(points)
def test_a_last_layer_folds_and_unfolds(point: OperatingPoint) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 5)).astype(np.float32)
    kernel, bias = rng.normal(size=(5, 7)).astype(np.float32), np.arange(7, dtype=np.float32)
    folded = point.folded(kernel, bias)
    np.testing.assert_allclose(
        features @ folded[0] + folded[1], point.applied(features @ kernel + bias), atol=1e-3
    )
    for back, first in zip(point.unfolded(*folded), (kernel, bias), strict=True):
        np.testing.assert_allclose(back, first, atol=1e-3)


@pytest.mark.parametrize("text", PRIORS)
def test_words_are_priors(text: str) -> None:
    assert parse_prior(text) == text


def test_shares_are_read_as_typed() -> None:
    assert parse_prior("neutral=0.7, happy=0.2") == {"neutral": 0.7, "happy": 0.2}
    assert parse_prior("calm, quiet=0.7, a=b=.2") == {"calm, quiet": 0.7, "a=b": 0.2}


@pytest.mark.parametrize(
    "text",
    ["", "even", "happy=", "happy=2", "happy=0", "=0.5", "happy=nan", "happy=0.2,happy=0.3",
     "happy=-0.1", "happy=1e-320", "happy=0,7", "happy=.5,", "happy=70%,sad=.1"],
)  # fmt: skip
def test_what_is_no_prior_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected .*received"):
        parse_prior(text)


POINT = OperatingPoint((0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05), 2.0, 0.5)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"happy": 0.7, "sad": 0.5}, "sum to 1 at most"),
        ({"happy": 0.5, "sad": 0.5}, "leave something for the other labels"),
        (dict.fromkeys(LABELS, 0.1), "sum to 1, received"),
        ({"happy": math.nan}, "between 0 and 1"),
        ({"happy": 1e-320}, r"\(at least 1e-09\), .*happy=1e-320$"),
        ({"happy": 10**400}, r"between .*happy=1(0{19})$"),
        ({"happy": None}, "between .*happy=None"),
        ({"happy": [0.5]}, "between "),
        ({"happy": "much"}, "between "),
        ({"happy": 0.15, "sad": 0.15, "fear": 0.7 - 1e-12}, "leave something for the other"),
        (None, r"or shares by label, received 'None' \(NoneType\)"),
        ([0.1] * 7, r"or shares by label, .*\(list\)"),
        (b"balanced", r"or shares by label, .*\(bytes\)"),
        ({"happy": 0.2, "joy": 0.3}, "each label once"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        POINT.shift(shares, LABELS)  # type: ignore[arg-type]


def test_the_rarest_class_that_a_bundle_may_have_keeps_scores_finite() -> None:
    rare = OperatingPoint((1 - 2e-9, 1e-9, 1e-9), 1.0, 1.0)
    names = ("a", "b", "c")
    for prior in (*PRIORS, {"a": 1e-9}, {"b": 1 - 1.1e-9}, {"a": 0.5, "b": 0.5 - 1.1e-9}):
        assert np.isfinite(rare.shift(prior, names)).all()


def test_a_share_of_no_label_names_the_labels() -> None:
    with pytest.raises(UnknownLabel, match="expected one of angry, .*received 'bored'"):
        POINT.shift({"bored": 0.2}, LABELS)


@pytest.mark.parametrize(
    ("prior", "temperature", "adjustment"),
    [
        ((0.5, 0.6), 1, 0),
        ((1.0, 0.0), 1, 0),
        ((1.0, 1e-300), 1, 0),
        ((0.5, 0.5, 5e-324), 1, 0),
        ((1e308, 1e308), 1, 0),
        ((0.5, 0.5), 0, 0),
        ((0.5, 0.5), math.nan, 0),
        ((0.5, 0.5), 1, 1.5),
        ((0.5, math.nan), 1, 0),
    ],
)
def test_no_bundle_may_have_another_point(
    prior: tuple[float, ...], temperature: float, adjustment: float
) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        OperatingPoint(prior, temperature, adjustment)
