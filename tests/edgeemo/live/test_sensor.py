"""The sensor: readings, handlers, waiting, ends and losses.

With the public fakes, and once with everything real.
"""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Reading, Recognizer
from edgeemo.cameras import Camera
from edgeemo.cli.watch import _check_end
from edgeemo.contract.labels import LABELS
from edgeemo.errors import BackendError, CameraError, InvalidInput, UnknownLabel
from edgeemo.faces import Detector
from edgeemo.live.health import State, rss_mb
from edgeemo.live.options import SensorOptions
from edgeemo.live.tracking import MOST_FACES
from edgeemo.results import Box
from tests import support

PATIENCE = 20.0  # seconds until a test gives up waiting for what must come
BLANK = np.zeros((48, 64, 3), np.uint8)


class FakeDetector:
    """Finds what it is told, look by look; the last for all that follow."""

    name = "whole"

    def __init__(self, *looks: list[Box]) -> None:
        self._looks = list(looks)
        self.count = 0

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        self.count += 1
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]


def frames(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, BLANK.shape, dtype=np.uint8) for _ in range(count)]


def story(*parts: tuple[str | None, int]) -> tuple[list[dict[str, float]], FakeDetector, int]:
    """(label or None for no face, frames) in turn.

    The answers, the detector that finds the faces, and how many frames.
    """
    answers = [{label: 0.94} for label, count in parts if label for _ in range(count)]
    looks = [[Box(8, 4, 40, 40)] if label else [] for label, count in parts for _ in range(count)]
    return answers, FakeDetector(*looks), len(looks)


def sensor_on(
    camera: Camera,
    backend: FakeBackend,
    detector: str | Detector = "whole",
    *,
    faces: str = "largest",
    hold_time: float | None = None,
    **options: Any,
) -> EmotionSensor:
    """A sensor with a recognizer of its own on `camera`; `options` are those of SensorOptions."""
    return EmotionSensor(
        camera,
        recognizer=Recognizer(detector=detector, backend=backend),
        faces=faces,
        hold_time=hold_time,
        options=SensorOptions(**options),
    )


def recorded(*parts: tuple[str | None, int], **options: Any) -> EmotionSensor:
    """A sensor on a recording of ten frames a second that tells the story.

    Without smoothing but for what is asked for.
    """
    answers, detector, count = story(*parts)
    camera = FakeCamera(frames(count), fps=10)
    backend = FakeBackend.script(answers) if answers else FakeBackend()
    return sensor_on(camera, backend, detector, **{"smoothing": False} | options)


def live(events: Any, *, fps: float = 100, **options: Any) -> EmotionSensor:
    defaults: dict[str, Any] = {
        "detector": "whole",
        "backend": FakeBackend(happy=0.94),
        "smoothing": False,
    }
    return sensor_on(FakeCamera(events, live=True, fps=fps), **defaults | options)


def endless() -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    while True:
        yield rng.integers(0, 255, BLANK.shape, dtype=np.uint8)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_recording_gives_one_reading_a_frame_and_drops_none() -> None:
    with recorded(("happy", 3), (None, 2), ("sad", 2)) as sensor:
        readings = list(sensor)
    assert [r.emotion for r in readings] == ["happy"] * 3 + [None] * 2 + ["sad"] * 2
    assert [r.frame for r in readings] == list(range(7))
    assert [r.time for r in readings] == pytest.approx([i / 10 for i in range(7)])
    assert [r.face_id for r in readings] == [1, 1, 1, None, None, 1, 1]
    assert {r.dropped for r in readings} == {0}
    assert readings[0].confidence == pytest.approx(0.94)
    assert readings[0].box == Box(8, 4, 40, 40)
    assert (readings[3].scores, readings[3].confidence, readings[3].box) == ({}, 0.0, None)


def test_reading_as_json_has_the_documented_keys() -> None:
    with recorded(("happy", 1), (None, 1)) as sensor:
        face, none = (reading.to_dict() for reading in sensor)
    assert list(face) == list(none) == support.READING_KEYS
    assert (face["emotion"], face["box"], sum(face["scores"].values())) == (
        "happy",
        [8, 4, 40, 40],
        pytest.approx(1),
    )
    assert (none["face_id"], none["emotion"], none["box"], none["scores"]) == (None, None, None, {})


def test_all_faces_give_a_reading_each_largest_first() -> None:
    boxes = [Box(0, 0, 40, 40), Box(44, 4, 18, 18)]
    backend = FakeBackend.script([{"happy": 0.9}, {"sad": 0.9}])
    with sensor_on(
        FakeCamera(frames(1)),
        backend,
        FakeDetector(boxes),
        faces="all",
        smoothing=False,
    ) as sensor:
        assert [(r.frame, r.face_id, r.emotion, r.box) for r in sensor] == [
            (0, 1, "happy", boxes[0]),
            (0, 2, "sad", boxes[1]),
        ]


def test_smoothing_holds_a_label_for_the_bundles_time_and_each_face_has_its_own() -> None:
    with recorded(
        ("sad", 2), ("happy", 20), smoothing=True, window=0.0, hold_time=0.8, floor=0.0
    ) as sensor:
        emotions = [reading.emotion for reading in sensor]
    # happy leads from frame 2 (0.2 s) on, and has for 0.8 s at frame 10.
    assert emotions == ["sad"] * 10 + ["happy"] * 12


def test_handlers_are_called_on_one_thread_in_the_order_of_the_story() -> None:
    heard: list[tuple[str, int, str]] = []

    def hear(event: str) -> Callable[[Reading], None]:
        return lambda reading: heard.append((event, reading.frame, threading.current_thread().name))

    with recorded(("neutral", 2), ("happy", 2), (None, 2), ("happy", 2)) as sensor:
        sensor.when("happy", hear("happy"))
        sensor.when_changed = hear("changed")
        sensor.when_no_face(hear("no face"))
        assert sensor.wait(PATIENCE)
    assert heard == [
        (event, frame, "edgeemo-sensor")
        for event, frame in [
            ("changed", 2), ("happy", 2), ("no face", 4), ("changed", 4), ("changed", 6),
            ("happy", 6),
        ]
    ]  # fmt: skip


def test_handler_without_arguments_is_called_without() -> None:
    lamp: list[str] = []
    with recorded(("neutral", 1), ("happy", 1)) as sensor:
        sensor.when("joy", lambda: lamp.append("on"))
        sensor.wait(PATIENCE)
    assert lamp == ["on"]


def test_unknown_label_and_wrong_handler_are_refused_where_they_are_set() -> None:
    with recorded(("happy", 1)) as sensor:
        with pytest.raises(UnknownLabel, match="expected one of angry, .*; received 'bored'"):
            sensor.when("bored", print)
        with pytest.raises(InvalidInput, match="without arguments or with one"):
            sensor.when("happy", lambda a, b: None)
        with pytest.raises(InvalidInput, match="expected a handler that can be called"):
            sensor.when_changed = "lamp.on"  # type: ignore[assignment]
        with pytest.raises(UnknownLabel):
            sensor.wait_for("bored")


class LampBroke(Exception):
    """What a handler raises."""


def break_lamp() -> None:
    raise LampBroke("bulb")


@pytest.mark.parametrize("way", ["wait", "wait_for", "iterate", "close", "with"])
def test_what_a_handler_raises_ends_the_sensor_and_is_raised_again_once(way: str) -> None:
    def run() -> None:
        sensor = recorded(("neutral", 2), ("happy", 200))
        sensor.when("happy", break_lamp)
        if way == "wait":
            sensor.wait(PATIENCE)
        elif way == "wait_for":
            sensor.wait_for("sad", PATIENCE)
        elif way == "iterate":
            list(sensor)
        else:
            sensor.start()
            until(lambda: sensor._watcher.failure)
            if way == "close":
                sensor.close()
            with sensor:
                pass

    with pytest.raises(LampBroke, match="bulb"):
        run()


def test_failure_that_was_raised_is_not_raised_again_by_close() -> None:
    sensor = recorded(("neutral", 1), ("happy", 1))
    sensor.when("happy", break_lamp)
    with pytest.raises(LampBroke):
        sensor.wait(PATIENCE)
    sensor.close()
    sensor.close()


def test_error_in_the_with_block_is_not_hidden_by_a_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        pytest.raises(KeyError, match="the block's own"),
        recorded(("neutral", 1), ("happy", 1)) as sensor,
    ):
        sensor.when("happy", break_lamp)
        sensor.start()
        until(lambda: sensor._watcher.failure)
        raise KeyError("the block's own")
    assert "LampBroke" in caplog.text


def test_wait_for_gives_the_reading_that_brought_the_label() -> None:
    with recorded(("neutral", 3), ("happy", 3)) as sensor:
        reading = sensor.wait_for("happiness", timeout=PATIENCE)
    assert reading is not None
    assert (reading.emotion, reading.frame) == ("happy", 3)


def test_wait_for_what_is_there_already_comes_at_once() -> None:
    with live(endless()) as sensor:
        first = sensor.wait_for("happy", PATIENCE)
        again = sensor.wait_for("happy", PATIENCE)
    assert first is not None
    assert first == again


def test_wait_for_ends_with_none_after_its_timeout_and_at_the_end_of_a_recording() -> None:
    with live(endless()) as sensor:
        assert sensor.wait_for("sad", timeout=0.1) is None
    with recorded(("neutral", 3)) as sensor:
        assert sensor.wait_for("sad") is None


def test_wait_ends_with_false_after_its_timeout_and_true_when_another_thread_closes() -> None:
    with live(endless()) as sensor:
        assert sensor.wait(0.05) is False
        closer = threading.Timer(0.1, sensor.close)
        closer.start()
        assert sensor.wait(PATIENCE) is True
        closer.join()


def test_handler_may_close_the_sensor_but_not_wait_for_it() -> None:
    refused: list[str] = []

    def handler() -> None:
        try:
            sensor.wait()
        except InvalidInput as error:
            refused.append(str(error))
        sensor.close()

    with recorded(("neutral", 1), ("happy", 100)) as sensor:
        sensor.when("happy", handler)
        sensor.wait(PATIENCE)
    assert refused == [
        "wait was called in a handler, which runs on the thread that it would wait for"
    ]


def test_iterating_in_a_handler_is_refused() -> None:
    refused: list[str] = []

    def handler() -> None:
        for iterate in (lambda: next(iter(sensor)), lambda: next(outside)):
            try:
                iterate()
            except InvalidInput as error:
                refused.append(str(error))

    with recorded(("neutral", 2), ("happy", 2)) as sensor:
        outside = iter(sensor)
        next(outside)
        sensor.when("happy", handler)
        sensor.wait(PATIENCE)
    assert (
        refused
        == ["iterating was called in a handler, which runs on the thread that it would wait for"]
        * 2
    )


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("is_live", [False, True])
def test_sensor_that_is_dropped_ends_and_lets_its_camera_and_recognizer_go(
    started: bool, is_live: bool
) -> None:
    camera = FakeCamera(endless(), live=is_live, fps=100)
    before = threading.active_count()
    sensor = EmotionSensor(camera, detector="whole")
    recognizer = sensor._recognizer
    watcher, dropped = weakref.ref(sensor._watcher), weakref.ref(sensor)
    if started:
        sensor.start()
        until(lambda kept=sensor: kept.health().looked_at > 2)  # type: ignore[misc]
    elif not is_live:  # a handler starts a live one
        sensor.when("happy", sensor.close)  # and refers to it
    del sensor
    gc.collect()
    assert dropped() is None
    until(lambda: threading.active_count() <= before and camera.closed > 0)
    until(lambda: not hasattr(recognizer, "backend"))
    gc.collect()
    until(lambda: watcher() is None)


def test_sensor_is_kept_by_who_iterates_or_waits() -> None:
    iterator = iter(live(endless()))
    for _ in range(3):
        gc.collect()
        assert next(iterator).emotion == "happy"
    assert live(endless()).wait(0.5) is False


def test_sensors_of_a_program_that_ends_without_closing_are_closed() -> None:
    code = """
import numpy as np
from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
class Camera(FakeCamera):
    def close(self):
        print("closed")
        super().close()
def endless():
    while True:
        yield np.zeros((48, 64, 3), np.uint8)
def opened(live):
    recognizer = Recognizer(detector="whole", backend=FakeBackend())
    return EmotionSensor(Camera(endless(), live=live), recognizer=recognizer)
first, second = opened(True), opened(False)
next(iter(first))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("closed") >= 2


def test_closed_sensor_does_not_start_again() -> None:
    sensor = recorded(("happy", 1))
    sensor.close()
    with pytest.raises(InvalidInput, match="the sensor is closed; open a new one"):
        sensor.wait()
    with pytest.raises(InvalidInput, match="closed"):
        next(iter(sensor))


def test_leaving_the_loop_of_a_recording_blocks_nobody() -> None:
    with recorded(("neutral", 5), ("happy", 5)) as sensor:
        for reading in sensor:
            if reading.frame == 2:
                break
        reading = sensor.wait_for("happy", PATIENCE)
    assert reading is not None
    assert reading.frame == 5


def test_slow_reader_of_a_live_camera_gets_the_newest_reading() -> None:
    with live(endless(), fps=200) as sensor:
        readings = iter(sensor)
        first = next(readings)
        until(lambda: sensor.health().looked_at > first.frame + 20)
        behind = sensor.health().looked_at
        assert next(readings).frame >= behind - 1


def test_slow_handler_makes_the_camera_drop_frames_and_gets_no_old_ones() -> None:
    behind: list[int] = []  # frames that came after the one that the handler is told of

    def slow(reading: Reading) -> None:
        behind.append(sensor.health().frames - 1 - reading.frame)
        time.sleep(0.2)

    answers = [{"happy": 0.9}, {"sad": 0.9}] * 50
    with live(endless(), fps=100, backend=FakeBackend.script(answers)) as sensor:
        sensor.when_changed = slow
        until(lambda: len(behind) >= 5)
        sensor.close()
        health = sensor.health()
    assert health.dropped >= 30
    assert health.frames == health.looked_at + health.dropped
    assert max(behind) < 20  # without dropping, it would be about 80 at the fifth


def test_lost_camera_is_told_each_second_and_readings_come_again_with_a_new_face() -> None:
    events = [*frames(3), CameraError("unplugged"), *frames(3, seed=1)]
    with live(events, fps=20) as sensor:
        readings = list(sensor)
    gone = [r for r in readings if not r.camera_ok]
    assert gone
    assert (gone[0].face_id, gone[0].emotion, gone[0].to_dict()["camera_ok"]) == (None, None, False)
    back = readings[readings.index(gone[-1]) + 1 :]
    assert back
    assert back[0].emotion == "happy"
    assert back[0].face_id == 2
    assert "camera_ok" not in back[0].to_dict()
    health = sensor.health()
    assert (health.losses, health.reconnects) == (1, 1)


def test_lost_camera_is_no_face_to_the_handlers() -> None:
    heard: list[str] = []
    events = [*frames(3), CameraError("unplugged"), *frames(5, seed=1)]
    with live(events, fps=20) as sensor:
        sensor.when_no_face = lambda: heard.append("nobody")
        sensor.when("happy", lambda: heard.append("happy"))
        sensor.wait(PATIENCE)
    assert heard == ["nobody", "happy"]


def test_detector_looks_at_every_kth_frame_and_the_face_is_carried_between() -> None:
    detector = FakeDetector([Box(8, 4, 40, 40)])
    with sensor_on(
        FakeCamera(frames(10)),
        FakeBackend(),
        detector,
        detect_every=4,
        smoothing=False,
    ) as sensor:
        readings = list(sensor)
    assert detector.count == 3  # frames 0, 4 and 8
    assert {reading.face_id for reading in readings} == {1}


def test_slow_detector_on_a_live_camera_looks_less_often_to_keep_the_frame_rate() -> None:
    class Slow(FakeDetector):
        def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
            time.sleep(0.03)
            return super().detect(frame_rgb)

    with live(endless(), fps=50, detector=Slow([Box(8, 4, 40, 40)])) as sensor:
        sensor.start()
        until(lambda: sensor.health().looked_at > 60)
        health = sensor.health()
    assert 2 <= health.detect_every <= 25
    assert health.detections < health.looked_at


def test_fps_limits_how_many_frames_of_a_live_camera_are_looked_at() -> None:
    camera = FakeCamera(endless(), live=True, fps=200)
    with sensor_on(camera, FakeBackend(), fps=10) as sensor:
        sensor.start()
        until(lambda: sensor.health().looked_at == 5)
        health = sensor.health()
    assert health.frames > 40  # 0.4 s of them at least


def test_loss_is_told_at_once_though_frames_are_looked_at_rarely() -> None:
    camera = FakeCamera(
        [*frames(5), CameraError("unplugged"), *frames(200, seed=1)], live=True, fps=50
    )
    with sensor_on(camera, FakeBackend(), fps=0.1) as sensor:
        start = time.monotonic()
        readings = iter(sensor)
        assert next(readings).camera_ok
        assert not next(readings).camera_ok
        assert time.monotonic() - start < 9  # ten seconds are between two looks
        until(lambda: sensor.health().reconnects == 1)


def test_camera_that_ends_while_it_is_gone_ends_the_sensor() -> None:
    with live([*frames(2), CameraError("unplugged")], fps=50) as sensor:
        assert not list(sensor)[-1].camera_ok


def test_health_says_what_the_sensor_does_and_how_old_its_frame_and_reading_are() -> None:
    unplugged, back = threading.Event(), threading.Event()

    def events() -> Iterator[Any]:
        yield from frames(3)
        yield lambda: unplugged.wait(PATIENCE) and None
        yield CameraError("unplugged")
        yield lambda: back.wait(PATIENCE) and None
        yield from endless()

    with live(events(), stall=PATIENCE) as sensor:
        before = sensor.health()
        assert (before.state, before.error, before.camera_ok) == (State.STARTING, None, True)
        assert (before.frame_age_s, before.reading_age_s) == (None, None)
        sensor.start()
        until(lambda: sensor.health().state is State.RUNNING)
        until(lambda: sensor.health().frames == 3)
        time.sleep(0.3)
        hanging = sensor.health()
        assert 0.29 <= (hanging.frame_age_s or 0) < PATIENCE
        assert 0.29 <= (hanging.reading_age_s or 0) <= (hanging.frame_age_s or 0) + 0.1
        unplugged.set()
        until(lambda: sensor.health().state is State.CAMERA_LOST)
        lost = sensor.health()
        assert (lost.error, lost.camera_ok) == ("unplugged", False)
        assert (lost.reading_age_s or 0) > 0.29
        back.set()
        until(lambda: sensor.health().state is State.RUNNING)
        until(lambda: (sensor.health().reading_age_s or 1) < 0.3)
        assert sensor.health().error is None
    after = sensor.health()
    assert (after.state, after.error, after.camera_ok) == (State.ENDED, None, False)


def test_health_of_a_sensor_that_a_handler_ended_says_so_without_being_asked_to_wait() -> None:
    sensor = live(endless(), backend=FakeBackend.script([{"sad": 0.9}, {"happy": 0.9}]))
    sensor.when("happy", break_lamp)
    until(lambda: sensor.health().state is State.ENDED)
    health = sensor.health()
    assert (health.error, health.camera_ok) == ("LampBroke: bulb", False)
    with pytest.raises(LampBroke):
        sensor.close()
    assert sensor.health().error == "LampBroke: bulb"


@pytest.mark.parametrize("is_live", [False, True])
def test_readings_carry_the_monotonic_time_of_their_frame(is_live: bool) -> None:
    begin = time.monotonic()
    events = [*frames(3), *([CameraError("gone"), *frames(3)] if is_live else [])]
    with live(events, fps=20) if is_live else recorded(("sad", 3)) as sensor:
        readings = list(sensor)
    times = [reading.monotonic for reading in readings]
    assert times == sorted(times)
    assert all(begin <= at <= time.monotonic() for at in times)
    if is_live:  # the wall clock beside it is the same moment
        apart = time.time() - time.monotonic()
        assert [r.time - r.monotonic for r in readings] == pytest.approx(
            [apart] * len(times), abs=1
        )
    assert readings[0].to_dict()["monotonic"] == pytest.approx(times[0], abs=1e-4)


def test_health_counts_add_up_and_the_line_names_each() -> None:
    with recorded(("happy", 3), (None, 2)) as sensor:
        list(sensor)
        health = sensor.health()
    assert (
        health.frames,
        health.looked_at,
        health.dropped,
        health.detections,
        health.inferences,
    ) == (5, 5, 0, 5, 3)
    assert health.rss_mb is None or 10 < health.rss_mb < 10_000
    assert "looked_at=5" in str(health)
    assert set(health.to_dict()) == set(health.__dataclass_fields__)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faces": "most"}, "expected faces largest or all, received 'most'"),
        ({"detect_every": 0}, "expected detect_every of 1 to 1000 frames, received 0"),
        ({"fps": 0.0}, "expected fps of 0.01 to 1000 frames a second, received 0.0"),
        ({"stall": float("nan")}, "expected a stall of 0.1 to 3600 seconds, received nan"),
        ({"hold_time": -1.0}, "expected a window and a hold time of 0 to 3600 seconds"),
        ({"floor": 2.0}, "floor of 0 to 1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        recorded(("happy", 1), **options)


def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(
        InvalidInput, match="an object with name, live, open, read and close; received '3.5'"
    ):
        sensor_on(3.5, FakeBackend())  # type: ignore[arg-type]


def test_failing_backend_ends_the_sensor_with_its_error() -> None:
    class Failing(FakeBackend):
        def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise BackendError("out of memory")

    with (
        pytest.raises(BackendError, match="out of memory"),
        sensor_on(FakeCamera(frames(2)), Failing()) as sensor,
    ):
        list(sensor)


def test_recording_that_breaks_off_is_raised_after_what_could_be_read() -> None:
    camera = FakeCamera([*frames(2), CameraError("damaged")])
    sensor = sensor_on(camera, FakeBackend(), smoothing=False)
    read: list[int] = []
    with pytest.raises(CameraError, match="damaged"), sensor:
        for reading in sensor:
            read.append(reading.frame)
    assert read == [0, 1]


@pytest.mark.parametrize("realtime", [False, True])
def test_oserror_of_anothers_camera_is_raised_as_a_camera_error_that_names_it(
    realtime: bool,
) -> None:
    class Theirs(FakeCamera):
        refuses = False

        def open(self) -> None:
            if self.refuses:
                raise PermissionError(13, "Permission denied")
            super().open()

    def fail() -> None:
        raise OSError(5, "Input/output error")

    camera = Theirs([*frames(2), fail], name="theirs")
    with (
        pytest.raises(CameraError, match=r"^theirs: \[Errno 5\] Input/output error$"),
        sensor_on(camera, FakeBackend(), realtime=realtime) as sensor,
    ):
        list(sensor)
    camera.refuses = True
    with pytest.raises(CameraError, match="^theirs: .*Permission denied"):
        sensor_on(camera, FakeBackend(), realtime=realtime)


def test_realtime_plays_a_recording_at_its_pace_and_drops_what_comes_too_fast() -> None:
    class Slow(FakeBackend):
        def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
            time.sleep(0.05)
            return super().infer(inputs)

    camera = FakeCamera(frames(30), fps=100)
    with sensor_on(camera, Slow(), realtime=True, smoothing=False) as sensor:
        read = [reading.frame for reading in sensor]
    health = sensor.health()
    assert health.frames == 30
    assert health.dropped >= 10
    assert len(read) + health.dropped == 30
    assert read == sorted(read)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_thousand_sensors_leave_no_thread_no_descriptor_and_no_memory() -> None:
    def once() -> None:
        with live(frames(3), fps=10_000) as sensor:
            next(iter(sensor))

    for _ in range(50):
        once()
    gc.collect()
    threads, open_files, memory = threading.active_count(), descriptors(), rss_mb() or 0.0
    for _ in range(1000):
        once()
    gc.collect()
    assert (threading.active_count(), descriptors()) == (threads, open_files)
    assert (rss_mb() or 0.0) - memory < 5


def test_everything_real_on_a_picture(tmp_path: Path) -> None:
    with EmotionSensor(support.shared("media", "justin.jpg"), detector="haar") as sensor:
        (reading,) = list(sensor)
    assert (reading.emotion, reading.face_id) == ("happy", 1)
    assert reading.confidence > 0.8


def test_observations_carry_the_frame_and_none_for_a_lost_camera() -> None:
    given = frames(8)
    with live([*given[:5], CameraError("gone"), *given[5:]], fps=20) as sensor:
        seen = list(sensor.observations())
    lost = [s for s in seen if s.frame is None]
    assert lost
    assert not any(s.readings[0].camera_ok for s in lost)
    looked_at = [(s.frame.pixels, s.readings[0].frame) for s in seen if s.frame is not None]
    assert looked_at
    assert all(np.array_equal(pixels, given[number]) for pixels, number in looked_at)


EIGHT = ("ärger", "changed", "no face", "calm", "joy", "sad", "awe", "contempt")


def test_sensors_of_seven_and_of_eight_labels_live_side_by_side() -> None:
    seven, eight = FakeBackend(happy=0.94), FakeBackend.of(EIGHT)
    heard: list[str] = []

    def story(backend: FakeBackend, before: str, after: str) -> Iterator[Any]:
        backend.say(**{before: 0.94})
        yield from frames(2)
        backend.say(**{after: 0.94})
        yield from frames(2)

    cameras = (
        FakeCamera(story(seven, "sad", "happy")),
        FakeCamera(story(eight, "sad", "no face")),
    )
    with (
        sensor_on(cameras[0], seven, smoothing=False) as first,
        sensor_on(cameras[1], eight, smoothing=False) as second,
    ):
        assert (first.labels, second.labels) == (LABELS, EIGHT)
        first.when("Joy", lambda: heard.append("first happy"))
        second.when("joy", lambda: heard.append("second joy"))
        second.when("no face", lambda: heard.append("second no face"))
        second.when_no_face = lambda: heard.append("nobody")
        with pytest.raises(UnknownLabel, match="ärger, changed, no face, .*; received 'disgust'"):
            second.when("disgust", lambda: None)
        with pytest.raises(UnknownLabel, match="received 'contempt'"):
            first.wait_for("contempt")
        readings = [(a, b) for a, b in zip(first, second, strict=True)]
    assert [(a.emotion, b.emotion) for a, b in readings] == [
        ("sad", "sad"),
        ("sad", "sad"),
        ("happy", "no face"),
        ("happy", "no face"),
    ]
    assert all((tuple(a.scores), tuple(b.scores)) == (LABELS, EIGHT) for a, b in readings)
    assert sorted(heard) == ["first happy", "second no face"]


def test_wait_for_finds_a_label_of_the_bundle_alone() -> None:
    backend = FakeBackend.of(EIGHT)
    backend.say(awe=0.9)
    with sensor_on(FakeCamera(frames(3)), backend) as sensor:
        reading = sensor.wait_for("AWE", PATIENCE)
    assert reading is not None
    assert reading.scores["awe"] == pytest.approx(0.9)


def test_recognizer_from_outside_stays_the_callers() -> None:
    with Recognizer(detector="whole", backend=FakeBackend(happy=0.94)) as recognizer:
        for _ in range(2):  # one sensor after the other
            with EmotionSensor(FakeCamera(frames(2)), recognizer=recognizer) as sensor:
                assert [reading.emotion for reading in sensor] == ["happy", "happy"]
        assert recognizer.predict(BLANK)[0].emotion == "happy"


def test_recognizer_that_the_sensor_opened_is_closed_with_it() -> None:
    sensor = EmotionSensor(FakeCamera(frames(1)), detector="whole")
    recognizer = sensor._recognizer
    assert len(recognizer.predict(BLANK)) == 1
    sensor.close()
    with pytest.raises(InvalidInput, match="the recognizer is closed"):
        recognizer.predict(BLANK)


@pytest.mark.parametrize("both", [{"model": "small"}, {"detector": "whole"}])
def test_recognizer_together_with_what_it_brings_is_refused(both: dict[str, Any]) -> None:
    with (
        Recognizer(detector="whole", backend=FakeBackend()) as recognizer,
        pytest.raises(InvalidInput, match="expected a recognizer, or a model and a detector"),
    ):
        EmotionSensor(FakeCamera([]), recognizer=recognizer, **both)


@pytest.mark.parametrize("live", [False, True])
def test_a_camera_that_cannot_be_closed_does_not_hold_the_sensor(live: bool) -> None:
    class Stuck(FakeCamera):
        def close(self) -> None:
            raise OSError("device busy")

    camera = Stuck([np.zeros((48, 48, 3), np.uint8)] * 3)
    camera.live = live
    recognizer = Recognizer(detector="whole", backend=FakeBackend())
    sensor = EmotionSensor(camera, recognizer=recognizer)
    if live:
        threading.Timer(0.5, lambda: sensor._watcher._stop.set()).start()
    assert sensor.wait(timeout=20)
    with pytest.raises(OSError, match="device busy"):
        sensor.close()
    camera.close = lambda: None  # type: ignore[method-assign]  # so that the program's end is quiet


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("live", [False, True])
def test_whatever_closing_a_camera_raises_the_sensor_ends(
    live: bool, error: type[BaseException]
) -> None:
    class Stuck(FakeCamera):
        def close(self) -> None:
            raise error("close")

    camera = Stuck(frames(3), live=live)
    recognizer = Recognizer(detector="whole", backend=FakeBackend())
    sensor = EmotionSensor(camera, recognizer=recognizer)
    assert sensor.wait(timeout=5)
    assert list(sensor.observations()) is not None
    assert sensor.health().state == State.ENDED
    with pytest.raises(error):
        sensor.close()
    camera.close = lambda: None  # type: ignore[method-assign]  # so that the program's end is quiet


@pytest.mark.parametrize(
    "odd",
    [
        {"view": None},
        {"view": "x"},
        {"size": (0, 0)},
        {"size": "640x480"},
        {"size": None},
        {"detect_every": 1.5},
        {"detect_every": "2"},
        {"fps": "5"},
        {"stall": None},
        {"frozen": "1"},
    ],
)
def test_options_of_an_odd_kind_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        SensorOptions(**odd)


def test_the_largest_faces_of_very_many_are_read() -> None:
    boxes = [Box(i % 16, i % 8, 8 + i % 40, 8 + i % 40) for i in range(2000)]
    recognizer = Recognizer(detector=FakeDetector(boxes), backend=FakeBackend())
    with EmotionSensor(FakeCamera(frames(2)), recognizer=recognizer, faces="all") as sensor:
        seen = [observation.readings for observation in sensor.observations()]
    assert [len(readings) for readings in seen] == [MOST_FACES, MOST_FACES]
    assert {r.box.width for readings in seen for r in readings if r.box} <= {46, 47}


def test_pictures_of_a_folder_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), frames(1)[0])
    (tmp_path / "b.png").write_bytes(b"no picture")
    recognizer = Recognizer(detector="whole", backend=FakeBackend())
    with EmotionSensor(tmp_path, recognizer=recognizer) as sensor:
        assert len(list(sensor)) == 1
        health = sensor.health()
    assert (health.frames, health.bad_frames) == (1, 1)
    with pytest.raises(CameraError, match="1 of 2 pictures could not be read"):
        _check_end(health, live=False)
