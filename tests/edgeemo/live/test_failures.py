"""What fails in one frame or face ends no sensor; what stays does, and says so."""

import logging
import time
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.contract.crop import BOX, Crop
from edgeemo.errors import BackendError, DetectorError
from edgeemo.live import failures
from edgeemo.live.failures import Failures
from edgeemo.live.health import State
from edgeemo.live.options import SensorOptions
from edgeemo.results import Box, Reading

BLANK = np.zeros((48, 64, 3), np.uint8)


class Told:
    """Finds the same boxes in each frame, but for the looks that fail."""

    name = "told"

    def __init__(self, *boxes: Box, crop: Crop = BOX, failing: range = range(0)) -> None:
        self.crop, self._boxes, self._failing, self.looks = crop, list(boxes), failing, 0

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        self.looks += 1
        if self.looks - 1 in self._failing:
            raise DetectorError("the detector is confused")
        return self._boxes


class Odd(FakeBackend):
    """Fails for inputs whose first pixel is bright."""

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        if inputs[0, 0, 0, 0] > 127:
            raise BackendError("a bright face")
        return super().infer(inputs)


def sensor_on(
    frames: Any, detector: Told, backend: FakeBackend | None = None, **options: Any
) -> EmotionSensor:
    recognizer = Recognizer(detector=detector, backend=backend or FakeBackend(happy=0.9))
    camera = FakeCamera(frames, fps=100, live=options.pop("live", False))
    faces = options.pop("faces", "largest")
    chosen = SensorOptions(smoothing=False, **options)
    return EmotionSensor(camera, recognizer=recognizer, faces=faces, options=chosen)


def panorama(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): soft noise, in which a pattern is found again where it went."""
    coarse = np.random.default_rng(seed).integers(
        0, 255, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8
    )
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_face_that_scrolls_out_of_the_picture_is_dropped_and_ends_nothing() -> None:
    dropped = 0
    for seed in range(12):
        wide = panorama(seed, 640 + 25 * 24, 480)
        frames = [np.ascontiguousarray(wide[:, 25 * i : 25 * i + 640]) for i in range(24)]
        with sensor_on(frames, Told(Box(4, 200, 60, 60)), detect_every=12) as sensor:
            readings = list(sensor)
            health = sensor.health()
        assert [reading.frame for reading in readings] == list(range(24))
        assert (health.frame_errors, health.looked_at) == (0, 24)
        boxes = [reading.box for reading in readings if reading.box]
        assert boxes[0] == Box(4, 200, 60, 60)
        assert all(-30 <= box.x <= 610 and -30 <= box.y <= 450 for box in boxes)  # half of it is in
        dropped += len(readings) - len(boxes)
    assert dropped > 12


_SIDE = st.integers(1, 160)
_PLACE = st.integers(-400, 400)


@settings(max_examples=60, deadline=None)
@given(
    frame=st.tuples(_SIDE, _SIDE),
    boxes=st.lists(
        st.builds(Box, _PLACE, _PLACE, st.integers(1, 900), st.integers(1, 900)), max_size=3
    ),
    scroll=st.tuples(st.integers(-60, 60), st.integers(-60, 60)),
    crop=st.builds(
        Crop, st.integers(256, 4096), st.integers(-1024, 1024), st.integers(-1024, 1024)
    ),
    faces=st.sampled_from(["largest", "all"]),
    every=st.integers(1, 6),
)
def test_any_box_in_any_frame_under_any_scroll_gives_a_reading_and_no_failure(
    frame: tuple[int, int],
    boxes: list[Box],
    scroll: tuple[int, int],
    crop: Crop,
    faces: str,
    every: int,
) -> None:
    height, width = frame
    world = panorama(0, width + 360, height + 360)
    frames = []
    for number in range(7):
        x, y = (180 + max(-180, min(180, step * (number - 3))) for step in scroll)
        frames.append(np.ascontiguousarray(world[y : y + height, x : x + width]))
    detector = Told(*boxes, crop=crop)
    with sensor_on(frames, detector, detect_every=every, faces=faces) as sensor:
        readings = list(sensor)
        health = sensor.health()
    assert sorted({reading.frame for reading in readings}) == list(range(7))
    assert (health.frame_errors, health.error) == (0, None)


def test_frame_of_another_size_in_a_recording_ends_nothing() -> None:
    frames = [panorama(0, 640, 480), panorama(1, 32, 24), panorama(2, 5, 400), panorama(3, 640, 2)]
    with sensor_on(frames * 3, Told(Box(300, 200, 100, 100)), detect_every=12) as sensor:
        assert len(list(sensor)) == 12
        assert sensor.health().frame_errors == 0


def test_frame_wider_than_opencv_can_warp_is_read() -> None:
    frames = [np.zeros((4, 40_000, 3), np.uint8)] * 3
    with sensor_on(frames, Told(Box(100, 0, 4, 4)), detect_every=3) as sensor:
        assert [reading.face_id for reading in sensor] == [1, 1, 1]


def test_failing_frames_are_skipped_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    detector = Told(Box(8, 4, 40, 40), failing=range(3, 6))
    with sensor_on([BLANK] * 9, detector) as sensor, caplog.at_level(logging.WARNING):
        frames = [reading.frame for reading in sensor]
        health = sensor.health()
    assert frames == [0, 1, 2, 6, 7, 8]
    assert (health.frames, health.looked_at, health.frame_errors) == (9, 9, 3)
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "edgeemo.live.sensor"]
    assert warning == ("frame 3 fails, it is skipped (DetectorError: the detector is confused)")


def test_detector_looks_again_after_a_frame_that_failed() -> None:
    detector = Told(Box(8, 4, 40, 40), failing=range(1, 2))
    with sensor_on([BLANK] * 9, detector, detect_every=4) as sensor:
        frames = [reading.frame for reading in sensor]
    # Looks at 0, 4 (which fails), 5.
    assert (frames, detector.looks) == ([0, 1, 2, 3, 5, 6, 7, 8], 3)


def test_failing_face_is_left_out_and_the_others_are_read() -> None:
    frame = BLANK.copy()
    frame[:, 32:] = 255
    boxes = Told(Box(2, 2, 20, 20), Box(40, 2, 18, 18))
    with sensor_on([frame] * 4, boxes, Odd(happy=0.9), faces="all") as sensor:
        readings = list(sensor)
        health = sensor.health()
    assert [(r.frame, r.face_id) for r in readings] == [(i, 1) for i in range(4)]
    assert (health.frame_errors, health.state) == (4, State.ENDED)


def test_recording_of_which_no_frame_can_be_read_raises_why() -> None:
    detector = Told(failing=range(9))
    with (
        pytest.raises(DetectorError, match="the detector is confused"),
        sensor_on([BLANK] * 5, detector) as sensor,
    ):
        list(sensor)
    assert sensor.health().error == "DetectorError: the detector is confused"


def endless() -> Any:
    while True:
        yield BLANK


def test_failure_that_stays_ends_a_live_sensor_after_the_stated_time_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert failures.FAILING == 10.0
    detector = Told(Box(8, 4, 40, 40), failing=range(5, 10**9))
    with (
        pytest.raises(DetectorError, match="the detector is confused"),
        sensor_on(endless(), detector, live=True) as sensor,
    ):
        sensor._watcher._reader.failures = Failures(limit=0.3)
        begin = time.monotonic()
        sensor.wait(20)
    assert 0.3 <= time.monotonic() - begin < 10
    health = sensor.health()
    assert (health.state, health.camera_ok) == (State.ENDED, False)
    assert health.error == "DetectorError: the detector is confused"
    assert health.frame_errors >= 2
    assert "no frame could be read for 0 s" in caplog.text


def test_failures_with_a_good_frame_between_never_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    counted = Failures(limit=10)
    for number in range(100):
        now += 9.9
        counted.whole(number, BackendError("odd"))
        assert counted.last == "BackendError: odd"
        counted.good()
        assert counted.last is None
    counted.whole(100, BackendError("odd"))
    now += 9.9
    counted.whole(101, BackendError("odd"))
    now += 0.2
    with pytest.raises(BackendError, match="odd"):
        counted.whole(102, BackendError("odd"))
    assert counted.frames == 103


def test_handlers_do_not_hear_of_failing_frames() -> None:
    heard: list[Reading] = []
    detector = Told(Box(8, 4, 40, 40), failing=range(2, 4))
    with sensor_on([BLANK] * 6, detector) as sensor:
        sensor.when_no_face = heard.append
        sensor.wait(20)
    assert heard == []
