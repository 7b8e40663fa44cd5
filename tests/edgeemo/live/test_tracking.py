"""Tracking.

Numbers that stay with faces, and boxes that follow them between two looks of the detector.
"""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.live.tracking import KEEP, Tracker, _likenesses, _scaled
from edgeemo.results import Box

BLANK = np.zeros((480, 640, 3), np.uint8)


def ids(tracker: Tracker, boxes: list[Box], time: float) -> list[int]:
    return [track.face_id for track in tracker.detected(boxes, time, BLANK)]


def scene(x: int, y: int, side: int = 80, seed: int = 3) -> NDArray[np.uint8]:
    """A frame with a patch that looks like nothing else in it, at (x, y)."""
    rng = np.random.default_rng(seed)
    frame = cv2.resize(
        rng.integers(0, 60, (12, 16, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC
    )
    patch = cv2.resize(
        rng.integers(60, 255, (8, 8, 3), dtype=np.uint8),
        (side, side),
        interpolation=cv2.INTER_CUBIC,
    )
    frame[y : y + side, x : x + side] = patch
    return frame


def test_numbers_start_at_1_in_the_detectors_order() -> None:
    assert ids(Tracker(), [Box(300, 100, 90, 90), Box(10, 100, 60, 60)], 0.0) == [1, 2]


def test_number_stays_with_a_face_that_moves_and_whose_rank_changes() -> None:
    tracker = Tracker()
    ids(tracker, [Box(300, 100, 90, 90), Box(10, 100, 80, 80)], 0.0)
    assert ids(tracker, [Box(20, 104, 95, 95), Box(290, 98, 88, 88)], 0.1) == [2, 1]


def test_face_that_left_its_box_is_still_the_same_when_near() -> None:
    tracker = Tracker()
    ids(tracker, [Box(100, 100, 50, 50)], 0.0)
    assert ids(tracker, [Box(132, 100, 50, 50)], 0.1) == [1]


def test_face_far_away_or_of_quite_another_size_is_another() -> None:
    tracker = Tracker()
    ids(tracker, [Box(100, 100, 50, 50)], 0.0)
    assert ids(tracker, [Box(300, 100, 50, 50)], 0.1) == [2]
    assert ids(tracker, [Box(110, 110, 12, 12)], 0.2) == [3]


def test_face_that_comes_back_within_a_second_has_its_number_and_later_a_new_one() -> None:
    tracker, box = Tracker(), Box(100, 100, 50, 50)
    ids(tracker, [box], 0.0)
    assert ids(tracker, [], 0.5) == []
    assert ids(tracker, [box], KEEP) == [1]
    assert ids(tracker, [], 2.0) == []
    assert ids(tracker, [box], 2.5) == [2]
    assert tracker.known() == {2}


def test_two_boxes_never_get_one_number() -> None:
    tracker = Tracker()
    ids(tracker, [Box(100, 100, 50, 50)], 0.0)
    assert sorted(ids(tracker, [Box(102, 100, 50, 50), Box(99, 100, 50, 50)], 0.1)) == [1, 2]


boxes = st.lists(
    st.builds(
        Box, st.integers(-50, 600), st.integers(-50, 450), st.integers(1, 300), st.integers(1, 300)
    ),
    max_size=6,
)


@given(st.lists(boxes, max_size=12))
def test_numbers_of_one_look_are_distinct_and_boxes_are_the_detectors(
    looks: list[list[Box]],
) -> None:
    tracker = Tracker()
    for i, boxes in enumerate(looks):
        tracks = tracker.detected(boxes, i / 30, BLANK)
        assert len({track.face_id for track in tracks}) == len(boxes)
        assert [track.box for track in tracks] == boxes
        assert {track.face_id for track in tracks} <= tracker.known()


def largest(tracker: Tracker, boxes: list[Box], time: float) -> int | None:
    tracker.detected(boxes, time, BLANK)
    track = tracker.largest()
    return track.face_id if track else None


def test_largest_stays_with_one_of_two_faces_that_are_about_as_large() -> None:
    tracker, a = Tracker(), Box(100, 100, 100, 100)
    assert largest(tracker, [a, Box(400, 100, 98, 98)], 0.0) == 1
    assert [largest(tracker, [Box(400, 100, 102, 102), a], t / 10) for t in range(1, 5)] == [
        1,
        1,
        1,
        1,
    ]
    assert largest(tracker, [Box(400, 100, 130, 130), a], 0.5) == 2
    assert largest(tracker, [], 0.6) is None
    assert largest(tracker, [a], 0.7) == 1


def test_larger_face_is_the_largest_once_three_looks_have_found_it() -> None:
    tracker, small, large = Tracker(), Box(100, 100, 60, 60), Box(300, 100, 150, 150)
    assert largest(tracker, [small], 0.0) == 1
    assert [largest(tracker, [large, small], t / 10) for t in range(1, 5)] == [1, 1, 2, 2]


def test_unproven_face_does_not_stand_in_for_one_that_is_missed_for_a_moment() -> None:
    tracker, a, curtain = Tracker(), Box(100, 100, 60, 60), Box(400, 300, 80, 80)
    assert [largest(tracker, boxes, t / 10) for t, boxes in enumerate([[a], [curtain], [a]])] == [
        1,
        None,
        1,
    ]
    assert [largest(tracker, [curtain], 1 + t / 10) for t in range(4)] == [None, 2, 2, 2]


def test_carried_box_follows_the_face() -> None:
    tracker = Tracker()
    tracker.detected([Box(200, 150, 80, 80)], 0.0, scene(200, 150))
    for step in range(1, 6):
        (track,) = tracker.carried(scene(200 + 14 * step, 150 + 6 * step))
        assert track.face_id == 1
        assert abs(track.box.x - 200 - 14 * step) <= 3
        assert abs(track.box.y - 150 - 6 * step) <= 3
        assert (track.box.width, track.box.height) == (80, 80)


def test_carried_box_stays_where_nothing_looks_like_the_face() -> None:
    tracker = Tracker()
    tracker.detected([Box(200, 150, 80, 80)], 0.0, scene(200, 150))
    noise = np.random.default_rng(0).integers(0, 255, BLANK.shape, dtype=np.uint8)
    for frame in (BLANK, np.full_like(BLANK, 255), noise):
        assert tracker.carried(frame)[0].box == Box(200, 150, 80, 80)


@pytest.mark.parametrize(
    "box",
    [
        Box(-40, -40, 80, 80),
        Box(600, 440, 80, 80),
        Box(0, 0, 1, 1),
        Box(0, 0, 640, 480),
    ],
)
def test_boxes_at_and_beyond_the_edge_are_carried_without_harm(box: Box) -> None:
    tracker = Tracker()
    tracker.detected([box], 0.0, scene(300, 200))
    (track,) = tracker.carried(scene(300, 200))
    assert abs(track.box.x - box.x) <= max(2, box.width // 12)
    assert abs(track.box.y - box.y) <= max(2, box.height // 12)


@pytest.mark.parametrize("box", [Box(-500, 100, 60, 60), Box(-31, 100, 60, 60)])
def test_face_that_has_left_the_frame_by_more_than_half_is_dropped(box: Box) -> None:
    tracker = Tracker()
    tracker.detected([box, Box(300, 200, 80, 80)], 0.0, scene(300, 200))
    assert [track.face_id for track in tracker.carried(scene(300, 200))] == [2]
    assert tracker.known() == {1, 2}  # it may come back within a second, with its number
    assert ids(tracker, [Box(-10, 100, 60, 60)], 0.2) == ([1] if box.x == -31 else [3])


def test_nothing_is_carried_after_forgetting() -> None:
    tracker, box = Tracker(), Box(200, 150, 80, 80)
    tracker.detected([box], 0.0, scene(200, 150))
    tracker.forget()
    assert (tracker.carried(scene(200, 150)), tracker.largest(), tracker.known()) == (
        [],
        None,
        set(),
    )
    assert ids(tracker, [box], 0.1) == [2]


def test_likeness_is_opencvs_normalized_correlation_and_0_without_contrast() -> None:
    rng = np.random.default_rng(8)
    for scale in (1, 3, 255):
        view = rng.integers(0, scale + 1, (48, 48), np.uint8)
        pattern = view[5:29, 9:33].copy()
        expected = cv2.matchTemplate(view, pattern, cv2.TM_CCOEFF_NORMED)
        likeness = _likenesses(view, pattern)
        assert np.abs(likeness - expected).max() < 1e-4
        assert likeness[5, 9] == pytest.approx(1)
    flat = np.full((48, 48), 77, np.uint8)
    assert not _likenesses(flat, pattern).any()
    assert not _likenesses(view, flat[:24, :24]).any()


@pytest.mark.parametrize("box", [Box(100, 90, 80, 80), Box(-20, -30, 90, 60), Box(590, 430, 99, 9)])
def test_a_face_is_scaled_linearly_between_pixels_and_beyond_the_frame_its_edge_stands(
    box: Box,
) -> None:
    frame = scene(120, 100)
    side = 2 * max(box.width, box.height)
    scale = 48 / side
    left, top = box.x + (box.width - side) / 2, box.y + (box.height - side) / 2
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    expected = cv2.warpAffine(
        frame[..., 1].copy(), matrix, (48, 48),
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    assert np.abs(_scaled(frame, box, 2).astype(int) - expected).max() <= 1


def test_a_frame_larger_than_opencv_takes_is_followed() -> None:
    # One pixel high, so that 40,000 columns stay small.
    frame = np.zeros((1, 40_000, 3), np.uint8)
    tracker = Tracker()
    tracker.detected([Box(39_000, 0, 20, 1)], 0.0, frame)
    assert [track.box for track in tracker.carried(frame)] == [Box(39_000, 0, 20, 1)]
