"""Which operating point logits on validation choose."""

import numpy as np
import pytest

from edgeemo.proof.evaluation import expected_calibration_error
from edgeemo.proof.standings import standings
from workstation.operating_point import COST, FEWEST, chosen_point

PRIOR = (0.6, 0.25, 0.1, 0.05)
NAMES = ("a", "b", "c", "d")


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network that is right but for its temperature, and labels, of PRIOR."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, count, p=PRIOR)
    seen = np.eye(4)[labels] * 1.6 + rng.normal(size=(count, 4))  # evidence, unit variance
    logits = np.log(PRIOR) + 1.6 * seen  # log prior + log likelihood of a Gaussian
    return (temperature * logits).astype(np.float32), labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_and_prior_are_found_again(temperature: float) -> None:
    point = chosen_point(*drawn(20_000, temperature))
    assert point.temperature == pytest.approx(temperature, rel=0.05)
    assert point.prior == pytest.approx(PRIOR, rel=0.05)


def test_the_adjustment_spends_a_point_of_top1_on_rare_classes() -> None:
    logits, labels = drawn(20_000, 0.5)
    point = chosen_point(logits, labels)
    by_prior = standings(point.applied(logits), labels, point, NAMES)
    trained, default, balanced = (by_prior[name] for name in ("training", "default", "balanced"))
    assert 0 <= trained.top1 - default.top1 <= COST
    assert trained.mean_recall + 0.03 < default.mean_recall < balanced.mean_recall
    assert balanced.top1 < default.top1 - COST
    assert trained.ece < 0.02 < expected_calibration_error(logits, labels)


def test_a_given_adjustment_stands() -> None:
    assert chosen_point(*drawn(1000, 1.0), adjustment=0.3).adjustment == 0.3


def test_few_pictures_choose_nothing() -> None:
    point = chosen_point(*drawn(FEWEST - 1, 0.5))
    assert (point.temperature, point.adjustment) == (1.0, 0.0)


def test_a_class_that_is_never_expected_has_a_share_all_the_same() -> None:
    logits, labels = drawn(1000, 1.0)
    logits[:, 3] = -200
    assert min(chosen_point(logits, labels).prior) > 0
