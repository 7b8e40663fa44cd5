"""What is drawn beside a face, whatever a bundle calls its labels."""

import numpy as np
import pytest

from edgeemo.drawing import annotate, drawable
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


def test_box_and_label_are_drawn_where_they_belong() -> None:
    drawn = annotate(BLANK, [face("neutral")])
    yellow = (drawn == (255, 214, 10)).all(axis=2)
    # The box, two pixels wide, of columns and rows 60 to 119 and 50 to 109.
    assert yellow[50:110, 60:62].all()
    assert yellow[50:110, 118:120].all()
    assert yellow[108:110, 60:120].all()
    assert not yellow[110:].any()
    assert not yellow[54:106, 64:116].any()
    rows, columns = np.nonzero(yellow[:50])
    assert rows.max() == 49
    assert 12 <= len(set(rows)) <= 20
    assert 60 <= columns.min() < 62
    ink = drawn.max(axis=2) < 80  # with soft edges
    assert ink[:50].sum() > 40
    assert not ink[50:].any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 30), (240, 320), (2160, 3840)])
def test_any_frame_and_box_can_be_drawn(height: int, width: int) -> None:
    frame = np.full((height, width, 3), 90, np.uint8)
    boxes = [(-50, -50, 80, 90), (0, 0, width, height), (width - 1, 5, 400, 300), (0, 0, 1, 1)]
    faces = [Face(Box(*box), "neutral", 0.75, face("neutral").scores) for box in boxes]
    drawn = annotate(frame, faces)
    assert drawn.shape == frame.shape
    assert (frame == 90).all()
    assert not np.array_equal(drawn, frame)
