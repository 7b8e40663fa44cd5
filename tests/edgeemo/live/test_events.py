"""Events: who is called when, and which handlers are refused where they are set."""

from typing import Any

import pytest

from edgeemo.contract.labels import LABELS
from edgeemo.errors import InvalidInput, UnknownLabel
from edgeemo.live.events import Event, Events, Happening
from edgeemo.results import Box, Reading

CHANGED, NO_FACE = Happening.CHANGED, Happening.NO_FACE
SCORES = dict.fromkeys(LABELS, 1 / 7)


def reading(emotion: str | None, face_id: int | None = 1, frame: int = 0) -> Reading:
    if face_id is None:
        return Reading(0.0, frame)
    return Reading(0.0, frame, face_id, emotion, 1 / 7, SCORES, Box(0, 0, 9, 9))


def calls(hold_time: float, story: list[tuple[float, Reading]]) -> list[tuple[float, Event]]:
    """When which event is called, by (time, reading)."""
    heard: list[tuple[float, Event]] = []
    now = [0.0]
    events = Events(hold_time, LABELS)
    for event in (*LABELS, CHANGED, NO_FACE):
        events.set(event, lambda event=event: heard.append((now[0], event)))
    for time, current in story:
        now[0] = time
        events.update(current, time)
    return heard


def test_first_reading_sets_the_state_and_calls_nobody() -> None:
    assert calls(0.0, [(0, reading("happy"))]) == []
    assert calls(0.0, [(0, reading("happy")), (1, reading("happy"))]) == []
    assert calls(0.0, [(0, reading(None, None)), (1, reading(None, None))]) == []


def test_change_calls_changed_and_then_the_label_once() -> None:
    story = [
        (0, reading("sad")),
        (1, reading("happy")),
        (2, reading("happy")),
        (3, reading(None)),
        (4, reading("sad")),
    ]
    assert calls(0.8, story) == [(1, CHANGED), (1, "happy"), (3, CHANGED), (4, CHANGED), (4, "sad")]


def test_no_face_is_called_once_after_the_hold_time() -> None:
    story = [(t / 10, reading("happy") if t < 5 else reading(None, None)) for t in range(20)]
    assert calls(0.8, story) == [(1.3, NO_FACE), (1.3, CHANGED)]


def test_face_that_is_missed_for_a_moment_calls_nobody() -> None:
    story = [
        (t / 10, reading(None, None) if t in (3, 4, 8) else reading("happy")) for t in range(20)
    ]
    assert calls(0.8, story) == []


def test_new_face_counts_after_the_hold_time() -> None:
    story = [(t / 10, reading(None, None) if t < 5 else reading("happy", 2)) for t in range(20)]
    assert calls(0.8, story) == [(1.3, CHANGED), (1.3, "happy")]


def test_another_face_with_the_same_emotion_calls_nobody() -> None:
    assert calls(0.0, [(0, reading("happy", 1)), (1, reading("happy", 2))]) == []


def test_clock_that_steps_back_calls_nobody_too_early() -> None:
    story = [
        (100.0, reading("happy")),
        (100.1, reading(None, None)),
        (3.0, reading(None, None)),
        (3.7, reading(None, None)),
    ]
    assert calls(0.8, story) == []
    assert calls(0.8, [*story, (3.9, reading(None, None))]) == [(3.9, NO_FACE), (3.9, CHANGED)]


def test_handler_gets_the_reading_when_it_takes_one() -> None:
    got: list[Any] = []
    events = Events(0.0, LABELS)
    events.set("happy", got.append)
    events.set(CHANGED, lambda *them: got.extend(them))
    events.update(reading("sad"), 0)
    now = reading("happy", frame=7)
    events.update(now, 1)
    assert got == [now, now]


def test_handler_with_optional_arguments_alone_gets_none_as_gpiozeros_blink() -> None:
    got: list[float] = []
    events = Events(0.0, LABELS)

    def blink(on_time: float = 1, off_time: float = 2) -> None:
        got.append(on_time)

    events.set("happy", blink)
    events.update(reading("sad"), 0)
    events.update(reading("happy"), 1)
    assert got == [1]


@pytest.mark.parametrize("after", [reading("sad"), reading(None), reading(None, None)])
def test_otherwise_is_called_once_when_a_label_is_left(after: Reading) -> None:
    heard: list[str] = []
    events = Events(0.0, LABELS)
    events.set("Happiness", lambda: heard.append("on"), lambda: heard.append("off"))
    events.set(CHANGED, lambda: heard.append("changed"))
    story = [reading("happy"), reading("neutral"), reading("happy"), after, after, reading("fear")]
    for time, current in enumerate(story):
        events.update(current, float(time))
    # The first reading calls nobody; what is left is told before what comes.
    assert heard[:6] == ["off", "changed", "changed", "on", "off", "changed"]
    assert heard[6:] in ([], ["changed"])


def test_otherwise_gets_the_reading_that_ended_it_and_may_stand_alone() -> None:
    heard: list[str | None] = []
    events = Events(0.0, LABELS)
    events.set("happy", None, lambda reading: heard.append(reading.emotion))
    for time, emotion in enumerate(["happy", "sad", "happy", "happy", "fear"]):
        events.update(reading(emotion), float(time))
    assert heard == ["sad", "fear"]
    events.set("happy", None)
    for time, emotion in enumerate(["happy", "sad"], start=5):
        events.update(reading(emotion), float(time))
    assert heard == ["sad", "fear"]


def test_an_otherwise_of_another_signature_changes_nothing() -> None:
    heard: list[str] = []
    events = Events(0.0, LABELS)
    events.set("happy", lambda: heard.append("on"))
    with pytest.raises(InvalidInput, match="expected a handler"):
        events.set("happy", lambda: heard.append("other"), two)
    events.update(reading("sad"), 0.0)
    events.update(reading("happy"), 1.0)
    assert heard == ["on"]


def test_second_handler_replaces_the_first_and_none_removes_it() -> None:
    heard: list[str] = []
    events = Events(0.0, LABELS)
    events.set("happy", lambda: heard.append("first"))
    events.set("happiness", lambda: heard.append("second"))
    events.update(reading("sad"), 0)
    events.update(reading("happy"), 1)
    events.set("happy", None)
    events.update(reading("sad"), 2)
    events.update(reading("happy"), 3)
    assert heard == ["second"]


def two(a: int, b: int) -> None:
    """Takes too much."""


def keyword_only(*, needed: int) -> None:
    """Cannot be called with a reading."""


@pytest.mark.parametrize("handler", [two, keyword_only, lambda a, b, c: None, "lamp.on", 7])
def test_handler_of_another_signature_is_refused_where_it_is_set(handler: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a handler"):
        Events(0.0, LABELS).set("happy", handler)


def test_unknown_label_is_refused_and_the_seven_are_listed() -> None:
    with pytest.raises(
        UnknownLabel,
        match="angry, neutral, disgust, fear, happy, sad, surprise; received 'joyfull'",
    ):
        Events(0.0, LABELS).set("joyfull", lambda: None)


def test_labels_may_be_called_as_what_happens_beside_them() -> None:
    """A bundle's own words rule: 'changed' and 'no face' are names like any other."""
    labels = ("changed", "no face", "NO_FACE", "angry")
    heard: list[Event] = []
    events = Events(0.0, labels)
    for event in (*labels, *Happening):
        events.set(event, lambda event=event: heard.append(event))
    scores = dict.fromkeys(labels, 1 / 4)
    for frame, label in enumerate(labels):
        events.update(Reading(0.0, frame, 1, label, 1 / 4, scores, Box(0, 0, 9, 9)), frame)
    events.update(Reading(0.0, 4), 4)
    assert heard == [CHANGED, "no face", CHANGED, "NO_FACE", CHANGED, "angry", NO_FACE, CHANGED]


def test_handlers_are_checked_against_the_labels_that_readings_can_bring() -> None:
    events = Events(0.0, ("rauch", "feuer"))
    events.set("Rauch", lambda: None)
    with pytest.raises(UnknownLabel, match="expected one of rauch, feuer; received 'happy'"):
        events.set("happy", lambda: None)
