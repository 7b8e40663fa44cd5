"""What is drawn beside a face, whatever a bundle calls its labels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.languages import NAMES, PHRASES
from edgeemo.drawing import DRAWN, annotate, drawable, font
from edgeemo.errors import InvalidInput
from edgeemo.results import Box, Face, Reading

BLANK = np.full((120, 240, 3), 90, np.uint8)
LABELS = ("ärger", "neutral", "радость", "喜び", "cafe", "café", "žal", "gość", "zlost", "zlosť")


def face(label: str) -> Face:
    scores = {name: 0.75 if name == label else 0.25 / (len(LABELS) - 1) for name in LABELS}
    return Face(Box(60, 50, 60, 60), label, 0.75, scores)


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        ("neutral", "neutral"),
        ("ärger", "ärger"),
        ("žal", "zal"),
        ("gość", "gosc"),
        ("zlost", "label 8"),
        ("zlosť", "label 9"),
        ("радость", "label 2"),
        ("喜び", "label 3"),
        ("cafe", "cafe"),
        ("café", "café"),
    ],
)
def test_label_is_drawn_in_letters_that_the_font_has_or_by_its_number(
    label: str, drawn: str
) -> None:
    assert drawable(label, LABELS) == drawn
    plain = Face(Box(60, 50, 60, 60), drawn, 0.75, {drawn: 0.75, "other": 0.25})
    np.testing.assert_array_equal(annotate(BLANK, [face(label)]), annotate(BLANK, [plain]))


def test_font_has_each_letter_that_is_drawn() -> None:
    missing = bytes(font(24).getmask("\ufffe"))
    drawn = {one: font(24).getmask(one) for one in DRAWN - {" "}}
    assert [one for one, mask in drawn.items() if bytes(mask) == missing] == []
    assert all(mask.getbbox() for mask in drawn.values())
    words = [*NAMES.values(), *PHRASES.values()]
    said = {letter for table in words for text in table.values() for letter in text}
    assert said | set("·…") <= DRAWN  # all that our own pictures say


def test_labels_are_named_in_a_language_with_their_accents() -> None:
    usual = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")

    def named(emotion: str | None, labels: tuple[str, ...]) -> Reading:
        rest = 0.25 / (len(labels) - 1) if emotion else 1 / len(labels)
        scores = {label: 0.75 if label == emotion else rest for label in labels}
        return Reading(0.0, 0, 1, emotion, 0.75, scores, box=Box(60, 50, 60, 60))

    def drawn(word: str) -> NDArray[np.uint8]:
        return annotate(BLANK, [named(word, (word, "other"))])

    spanish = annotate(BLANK, [named("happy", usual)], "es")
    np.testing.assert_array_equal(spanish, drawn("alegría"))
    rows, columns = np.nonzero((spanish != drawn("alegria")).any(axis=2))
    assert rows.max() < 50
    assert 1 <= len(set(columns)) <= 5  # the accent of one letter
    unsure = annotate(BLANK, [named(None, usual)], "es")
    np.testing.assert_array_equal(unsure, drawn("dudoso"))
    # A bundle whose labels would be called alike keeps its own words.
    alike = ("happy", "alegría", "sad")
    np.testing.assert_array_equal(annotate(BLANK, [named("happy", alike)], "es"), drawn("happy"))
    with pytest.raises(InvalidInput):
        annotate(BLANK, [named("sad", usual)], "fr")


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
