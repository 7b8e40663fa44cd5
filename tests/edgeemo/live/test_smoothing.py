"""Smoothing.

Closed forms, frame-rate independence, hold time, hysteresis, floor, and clocks that misbehave.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.contract.labels import LABELS
from edgeemo.contract.manifest import Smoothing
from edgeemo.errors import InvalidInput
from edgeemo.live.smoothing import MARGIN, OFF, Smoother

PLAIN = Smoothing(window=0.5, hold_time=0.8, floor=0.4)


def sure(label: str, score: float = 0.88) -> dict[str, float]:
    """One label with `score`, the rest spread over the others."""
    return {name: score if name == label else (1 - score) / 6 for name in LABELS}


scores = st.lists(st.floats(0.01, 1), min_size=7, max_size=7).map(
    lambda values: dict(zip(LABELS, (v / sum(values) for v in values), strict=True))
)
steps = st.lists(st.tuples(st.floats(0.001, 2), scores), min_size=1, max_size=40)


def test_first_scores_are_reported_as_they_are() -> None:
    smoothed = Smoother(PLAIN).update(sure("sad"), 12.0)
    assert (smoothed.emotion, smoothed.confidence) == ("sad", pytest.approx(0.88))
    assert smoothed.scores == pytest.approx(sure("sad"))


def test_after_one_window_of_a_new_answer_it_makes_up_63_percent() -> None:
    smoother = Smoother(PLAIN)
    smoother.update(sure("sad", 1.0), 0.0)
    smoothed = smoother.update(sure("happy", 1.0), 0.5)
    assert smoothed.scores["happy"] == pytest.approx(1 - math.exp(-1))


@given(rate=st.floats(1, 240), seconds=st.floats(0.1, 3))
def test_mean_does_not_depend_on_the_frame_rate(rate: float, seconds: float) -> None:
    many, one = Smoother(PLAIN), Smoother(PLAIN)
    many.update(sure("sad"), 0.0)
    one.update(sure("sad"), 0.0)
    times = np.linspace(0, seconds, max(2, round(rate * seconds)))
    for time in times[1:]:
        smoothed = many.update(sure("happy"), float(time))
    assert smoothed.scores == pytest.approx(one.update(sure("happy"), seconds).scores, abs=1e-9)


@given(steps)
def test_mean_is_the_exponential_one_that_numpy_computes(
    steps: list[tuple[float, dict[str, float]]],
) -> None:
    smoother, time = Smoother(PLAIN), 0.0
    mean: np.ndarray | None = None
    for step, answer in steps:
        time += step
        smoothed = smoother.update(answer, time)
        values = np.array(list(answer.values()))
        mean = (
            values
            if mean is None
            else mean * np.exp(-step / 0.5) + values * (1 - np.exp(-step / 0.5))
        )
    assert list(smoothed.scores.values()) == pytest.approx(list(mean), abs=1e-9)


@given(steps)
def test_scores_stay_probabilities_and_the_confidence_is_one_of_them(
    steps: list[tuple[float, dict[str, float]]],
) -> None:
    smoother, time = Smoother(PLAIN), 0.0
    for step, answer in steps:
        time += step
        smoothed = smoother.update(answer, time)
        assert sum(smoothed.scores.values()) == pytest.approx(1)
        assert smoothed.confidence == (
            smoothed.scores[smoothed.emotion] if smoothed.emotion else max(smoothed.scores.values())
        )


@given(steps)
def test_two_changes_are_never_nearer_than_the_hold_time(
    steps: list[tuple[float, dict[str, float]]],
) -> None:
    smoother, time, changes, last = Smoother(PLAIN), 0.0, [], "none yet"
    for step, answer in steps:
        time += step
        emotion = smoother.update(answer, time).emotion or "unsure"
        if emotion != last:
            changes.append(time)
        last = emotion
    assert all(later - earlier >= 0.8 - 1e-9 for earlier, later in pairwise(changes))


@given(steps)
def test_off_gives_each_answer_alone(steps: list[tuple[float, dict[str, float]]]) -> None:
    smoother, time = Smoother(OFF), 0.0
    for step, answer in steps:
        time += step
        smoothed = smoother.update(answer, time)
        assert smoothed.scores == pytest.approx(answer)
        assert answer[smoothed.emotion or ""] == max(answer.values())


def test_label_changes_once_it_has_led_for_the_hold_time() -> None:
    smoother = Smoother(Smoothing(window=0.0, hold_time=0.8, floor=0.0))
    smoother.update(sure("sad"), 0.0)
    # It leads from 0.1 on; 0.9 is the first frame at which that was 0.8 s ago.
    smoothed = [smoother.update(sure("happy"), time / 10).emotion for time in range(1, 12)]
    assert smoothed == ["sad"] * 8 + ["happy"] * 3


def test_a_lead_that_breaks_off_starts_again() -> None:
    smoother = Smoother(Smoothing(window=0.0, hold_time=0.5, floor=0.0))
    smoother.update(sure("sad"), 0.0)
    for time in (0.1, 0.3, 0.5):
        smoother.update(sure("happy"), time)
    smoother.update(sure("sad"), 0.55)
    smoothed = [smoother.update(sure("happy"), time).emotion for time in (0.6, 0.9, 1.05, 1.1)]
    assert smoothed == ["sad", "sad", "sad", "happy"]


def test_a_lead_below_the_margin_is_none() -> None:
    smoother = Smoother(Smoothing(window=0.0, hold_time=0.0, floor=0.3))
    smoother.update(sure("sad", 0.45), 0.0)
    near = dict.fromkeys(LABELS, 0.04) | {"sad": 0.39, "happy": 0.39 + MARGIN - 0.01}
    far = dict.fromkeys(LABELS, 0.04) | {"sad": 0.37, "happy": 0.37 + MARGIN + 0.01}
    assert [smoother.update(near, 1.0).emotion, smoother.update(far, 2.0).emotion] == [
        "sad",
        "happy",
    ]


def test_below_the_floor_there_is_no_emotion_and_the_best_score_is_told() -> None:
    smoother = Smoother(Smoothing(window=0.0, hold_time=0.0, floor=0.5))
    smoothed = smoother.update(sure("fear", 0.4), 0.0)
    assert (smoothed.emotion, smoothed.confidence) == (None, pytest.approx(0.4))
    assert smoother.update(sure("fear", 0.6), 1.0).emotion == "fear"
    assert smoother.update(sure("fear", 0.4), 2.0).emotion is None


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -100.0])
def test_an_impossible_time_passes_no_time_and_the_clock_goes_on_behind_it(odd: float) -> None:
    smoother = Smoother(PLAIN)
    smoother.update(sure("sad"), 0.0)
    before = smoother.update(sure("sad"), 1.0)
    assert smoother.update(sure("happy"), odd).scores == pytest.approx(before.scores)
    later = odd if math.isfinite(odd) else 1.0
    smoothed = smoother.update(sure("happy"), later + 0.5)
    assert smoothed.scores["happy"] == pytest.approx(
        before.scores["happy"] + (1 - math.exp(-1)) * (0.88 - before.scores["happy"])
    )


def test_a_clock_that_steps_back_takes_no_hold_time_away() -> None:
    smoother = Smoother(Smoothing(window=0.0, hold_time=0.8, floor=0.0))
    smoother.update(sure("sad"), 1000.0)
    for time in (1000.1, 1000.4, 1000.7):
        smoother.update(sure("happy"), time)
    assert [smoother.update(sure("happy"), time).emotion for time in (3.0, 3.1, 3.25)] == [
        "sad",
        "sad",
        "happy",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        Smoothing(-0.1, 0, 0),
        Smoothing(0, math.nan, 0),
        Smoothing(math.inf, 0, 0),
        Smoothing(0, 0, 1.1),
        Smoothing(0, 0, -0.1),
    ],
)
def test_wrong_settings_are_refused(wrong: Smoothing) -> None:
    with pytest.raises(
        InvalidInput, match="expected a window and a hold time of 0 to 3600 seconds"
    ):
        Smoother(wrong)


def test_labels_and_their_order_are_those_of_the_first_scores() -> None:
    smoother = Smoother(OFF)
    first = smoother.update({"feuer": 0.2, "rauch": 0.5, "nichts": 0.3}, 0.0)
    assert (first.emotion, list(first.scores)) == ("rauch", ["feuer", "rauch", "nichts"])
    second = smoother.update({"feuer": 0.9, "rauch": 0.1, "nichts": 0.0}, 1.0)
    assert (second.emotion, second.scores["feuer"]) == ("feuer", pytest.approx(0.9))
    for other in ({"feuer": 0.9, "rauch": 0.1}, {"rauch": 0.1, "feuer": 0.9, "nichts": 0.0}):
        with pytest.raises(InvalidInput, match="expected the labels feuer, rauch, nichts"):
            smoother.update(other, 2.0)


def test_new_bundles_smooth_over_half_a_second() -> None:
    assert Smoothing() == PLAIN
