"""Emotion over time, against stories whose seconds can be counted by hand."""

import pytest

from edgeemo.contract.labels import LABELS
from edgeemo.live import summary as module
from edgeemo.live.summary import UNSURE, Summary, SummaryWriter
from edgeemo.results import Box, Reading


def reading(at: float, face: int | None, emotion: str | None = None, **more: object) -> Reading:
    if face is None:
        return Reading(at, 0, monotonic=at, **more)  # type: ignore[arg-type]
    scores = dict.fromkeys(LABELS, 0.05) | {emotion or "sad": 0.7}
    return Reading(at, 0, face, emotion, 0.7, scores, Box(0, 0, 9, 9), monotonic=at)


def told(
    *story: tuple[float, dict[int, str | None]], live: bool = False, gap: float = 0
) -> Summary:
    """The summary of frames: a time, and the emotion of each face."""
    writer = SummaryWriter(LABELS, live=live, longest_gap=gap)
    for at, faces in story:
        writer.add([reading(at, face, e) for face, e in faces.items()] or [reading(at, None)])
    made = writer.finish()
    assert made is not None
    return made


def seconds(
    summary: Summary, face: int | None = None
) -> dict[str | None, tuple[float, int, float]]:
    seen = summary.everyone if face is None else summary.faces[face]
    return {
        emotion: (round(x.seconds, 6), x.times, round(x.longest, 6))
        for emotion, x in seen.lasted.items()
    }


def test_an_emotion_lasts_from_its_frame_to_the_next() -> None:
    story = [(i / 4, {1: "happy" if i < 6 or i >= 10 else "sad"}) for i in range(12)]
    made = told(*story)
    # 6 + 2 frames of happy, 4 of sad, a quarter of a second each.
    assert seconds(made, 1) == {"happy": (2.0, 2, 1.5), "sad": (1.0, 1, 1.0)}
    assert seconds(made) == seconds(made, 1)
    assert (made.seconds, made.frames, made.step) == (3.0, 12, 1.0)
    shares = [
        (begin, end, {e: round(share, 6) for e, share in found.items() if share})
        for begin, end, found in made.shares(made.faces[1])
    ]
    assert shares == [
        (0.0, 1.0, {"happy": 1.0}),
        (1.0, 2.0, {"happy": 0.5, "sad": 0.5}),
        (2.0, 3.0, {"happy": 0.5, "sad": 0.5}),
    ]


def test_each_face_counts_for_itself_and_for_all() -> None:
    made = told(
        (0.0, {1: "happy"}),
        (0.5, {1: "happy", 2: "sad"}),
        (1.0, {2: UNSURE}),
        (1.5, {}),
        (2.0, {2: "sad"}),
    )
    assert seconds(made, 1) == {"happy": (1.0, 1, 1.0)}
    assert seconds(made, 2) == {"sad": (1.0, 2, 0.5), UNSURE: (0.5, 1, 0.5)}
    assert seconds(made) == {"happy": (1.0, 1, 1.0), "sad": (1.0, 2, 0.5), UNSURE: (0.5, 1, 0.5)}
    assert made.everyone.seconds == 2.5
    assert (made.faces[2].first, made.faces[2].last) == (0.5, 2.5)
    assert made.emotions == (*LABELS, None)


@pytest.mark.parametrize(("gap", "counted"), [(0, 0.5), (20, 10.25)])
def test_what_was_between_two_frames_far_apart_is_not_known(gap: float, counted: float) -> None:
    made = told((0.0, {1: "sad"}), (0.25, {1: "sad"}), (10.25, {1: "sad"}), gap=gap)
    last = 0.25 if gap == 0 else 10.0  # the usual frame, in which the last one is taken to last
    assert seconds(made, 1)["sad"][0] == counted + last


def test_a_camera_that_is_gone_shows_nobody() -> None:
    writer = SummaryWriter(LABELS, live=True)
    for at in (100.0, 100.5):
        writer.add([reading(at, 1, "happy")])
    writer.add([reading(101.0, None, camera_ok=False)])
    writer.add([reading(101.5, None, camera_ok=False)])
    made = writer.finish()
    assert made is not None
    assert seconds(made, 1) == {"happy": (1.0, 1, 1.0)}
    assert made.frames == 2


def test_times_that_go_back_end_nothing() -> None:
    made = told((5.0, {1: "sad"}), (5.5, {1: "sad"}), (1.0, {1: "sad"}), (1.5, {1: "sad"}))
    assert seconds(made, 1)["sad"][0] == 2.0


def test_nothing_seen_is_nothing() -> None:
    assert SummaryWriter(LABELS).finish() is None
    made = told((0.0, {}), (1.0, {}))
    assert (made.faces, made.everyone.seconds, made.frames) == ({}, 0, 2)


def test_a_long_run_has_coarser_steps_and_the_same_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_STEPS", 8)
    monkeypatch.setattr(module, "MOST_FACES", 2)
    story = [(i / 2, {i // 20: "sad" if i % 8 < 4 else "happy"}) for i in range(80)]
    made = told(*story)
    assert made.step == 8.0
    assert list(made.faces) == [0, 1]  # 2 and 3 count among all faces alone
    assert made.everyone.seconds == 40.0
    assert [round(s["sad"], 6) for _, _, s in made.shares(made.everyone)] == [0.5] * 5
    assert sum(sum(step.values()) for step in made.everyone.steps.values()) == 40.0
