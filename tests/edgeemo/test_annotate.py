"""What is drawn beside a face, whatever a bundle calls its labels."""

import numpy as np
import pytest

from edgeemo.annotate import annotate, drawable
from edgeemo.results import Box, Face, Reading

BLANK = np.full((120, 240, 3), 90, np.uint8)
LABELS = ("ärger", "neutral", "радость", "喜び", "cafe", "café")


def face(label: str) -> Face:
    scores = {name: 0.75 if name == label else 0.05 for name in LABELS}
    return Face(Box(60, 50, 60, 60), label, 0.75, scores)


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        ("neutral", "neutral"),
        ("ärger", "arger"),
        ("радость", "label 2"),
        ("喜び", "label 3"),
        ("cafe", "label 4"),
        ("café", "label 5"),
    ],
)
def test_label_is_drawn_in_ascii_or_by_its_number(label: str, drawn: str) -> None:
    assert drawable(label, LABELS) == drawn
    named = (drawn, *(f"other {i}" for i in range(5)))
    scores = {name: 0.75 if name == drawn else 0.05 for name in named}
    plain = Face(Box(60, 50, 60, 60), drawn, 0.75, scores)
    np.testing.assert_array_equal(annotate(BLANK, [face(label)]), annotate(BLANK, [plain]))


def test_frame_itself_stays_and_a_reading_without_a_face_draws_nothing() -> None:
    before = BLANK.copy()
    assert np.array_equal(annotate(BLANK, [Reading(0.0, 0)]), before)
    assert not np.array_equal(annotate(BLANK, [face("neutral")]), before)
    assert np.array_equal(BLANK, before)
