"""Results: frozen, and checked when they are made."""

import json
from dataclasses import FrozenInstanceError

import pytest

from edgeemo import LABELS, Box, Face
from edgeemo.errors import InvalidInput

SCORES = dict(zip(LABELS, (0.05, 0.1, 0.05, 0.05, 0.6, 0.1, 0.05), strict=True))
BOX = Box(3, -4, 50, 60)


def test_box_keeps_its_numbers_and_may_reach_beyond_the_frame() -> None:
    assert BOX.as_tuple() == (3, -4, 50, 60)
    assert (BOX.x, BOX.y, BOX.width, BOX.height) == (3, -4, 50, 60)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5)])
def test_box_without_area_is_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidInput, match=f"at least 1x1 pixel, received {width}x{height}"):
        Box(0, 0, width, height)


def test_results_cannot_be_changed() -> None:
    face = Face(BOX, "happy", 0.6, SCORES)
    with pytest.raises(FrozenInstanceError):
        BOX.x = 1  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        face.emotion = "sad"  # type: ignore[misc]


def test_face_is_plain_json_with_known_keys() -> None:
    face = Face(BOX, "happy", 0.6, SCORES, latency_ms=1.5)
    plain = face.to_dict()
    assert list(plain) == ["box", "emotion", "confidence", "scores"]
    assert json.loads(json.dumps(plain)) == {
        "box": [3, -4, 50, 60],
        "emotion": "happy",
        "confidence": 0.6,
        "scores": SCORES,
    }
    assert list(plain["scores"]) == list(LABELS)


def test_json_scores_are_rounded_to_a_millionth() -> None:
    scores = {**SCORES, "happy": 0.6000004, "sad": 0.0999996}
    plain = Face(BOX, "happy", 0.6000004, scores).to_dict()
    assert (plain["confidence"], plain["scores"]["happy"], plain["scores"]["sad"]) == (
        0.6,
        0.6,
        0.1,
    )


@pytest.mark.parametrize(
    "scores",
    [
        {},
        dict.fromkeys(LABELS, 0.2),
        {**SCORES, "happy": -0.4, "sad": 1.1},
        {**SCORES, "sad": float("nan")},
        {"happy": 1.0},
    ],
)
def test_scores_that_are_no_probabilities_of_several_labels_are_refused(
    scores: dict[str, float],
) -> None:
    with pytest.raises(
        InvalidInput, match="a probability for each of two or more labels, that sum"
    ):
        Face(BOX, "happy", 0.6, scores)


def test_scores_are_of_the_bundles_labels_whichever_they_are() -> None:
    scores = {"bored": 0.25, "wütend": 0.75}
    face = Face(BOX, "wütend", 0.75, scores)
    assert list(face.to_dict()["scores"]) == ["bored", "wütend"]
    eight = {**SCORES, "bored": 0.0}
    assert list(Face(BOX, "happy", 0.6, eight).scores) == [*LABELS, "bored"]


@pytest.mark.parametrize(
    ("emotion", "confidence"), [("happy", 0.5), ("sad", 0.1), ("bored", 0.6), ("Happy", 0.6)]
)
def test_face_names_the_highest_score_and_its_confidence(emotion: str, confidence: float) -> None:
    with pytest.raises(InvalidInput, match="expected the emotion of the highest score"):
        Face(BOX, emotion, confidence, SCORES)


def test_of_equal_scores_either_may_be_named() -> None:
    scores = dict(zip(LABELS, (0.4, 0.4, 0.04, 0.04, 0.04, 0.04, 0.04), strict=True))
    assert Face(BOX, "angry", 0.4, scores) != Face(BOX, "neutral", 0.4, scores)
