"""From the camera to the sensor.

Newest frame, losses and their healing, impossible frames and times, counters that add up.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.cameras import Frame
from edgeemo.cameras.fake import FakeCamera
from edgeemo.cameras.turned import turned
from edgeemo.data.view import View
from edgeemo.errors import CameraError, InvalidInput
from edgeemo.live.feed.feed import Feed, InTurn, Newest, Taken
from edgeemo.live.health import rss_mb

PATIENCE = 20.0  # seconds until a test gives up waiting for what must come


def picture(value: int = 0, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): noise of its own for each value."""
    return np.random.default_rng(value).integers(0, 255, (height, width, 3), dtype=np.uint8)


@contextmanager
def newest(events: Any, **options: Any) -> Iterator[tuple[Newest, FakeCamera]]:
    camera = FakeCamera(events, live=True, fps=options.pop("fps", 200))
    camera.open()
    feed = Newest(camera, **options)
    try:
        yield feed, camera
    finally:
        feed.close()


def until(feed: Feed, wanted: Callable[[Taken | None], object]) -> list[Taken]:
    """What the feed gives until `wanted` is true of it."""
    taken: list[Taken] = []
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        got = feed.next(0.05)
        if got:
            taken.append(got)
        if wanted(got):
            return taken
    raise AssertionError(
        f"not within {PATIENCE} s; lost {feed.lost}, over {feed.over}, {feed.counters}"
    )


def endless() -> Iterator[NDArray[np.uint8]]:
    number = 0
    while True:
        yield picture(number)
        number += 1


def test_recording_gives_each_frame_in_turn_with_its_time() -> None:
    camera = FakeCamera([picture(i) for i in range(5)], fps=10)
    camera.open()
    feed = InTurn(camera)
    taken = until(feed, lambda _: feed.over)
    assert [t.number for t in taken] == [0, 1, 2, 3, 4]
    assert [t.frame.time for t in taken] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert all((t.frame.pixels == picture(i)).all() for i, t in enumerate(taken))
    assert (feed.counters.frames, feed.counters.dropped) == (5, 0)


HUGE = [10**400, Fraction(10**400)]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -5.0, *HUGE])
def test_recordings_impossible_times_are_counted_and_replaced_by_the_last(odd: float) -> None:
    camera = FakeCamera([Frame(picture(i), time) for i, time in enumerate([1.0, 2.0, odd, 3.0])])
    camera.open()
    feed = InTurn(camera)
    assert [t.frame.time for t in until(feed, lambda _: feed.over)] == [1, 2, 2, 3]
    assert feed.counters.bad_times == 1


BAD = [
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((48, 0, 3), np.uint8),
    np.zeros((48, 64), np.uint8),
    np.zeros((48, 64, 4), np.uint8),
    np.zeros((48, 64, 3), np.float32),
]


def test_frames_that_are_no_picture_are_skipped_and_counted() -> None:
    camera = FakeCamera([picture(0), *BAD, picture(1)])
    camera.open()
    recorded = InTurn(camera)
    assert [t.number for t in until(recorded, lambda _: recorded.over)] == [0, 1]
    assert (recorded.counters.frames, recorded.counters.bad) == (2, len(BAD))
    with newest([picture(0), *BAD, picture(1)]) as (feed, _):
        until(feed, lambda _: feed.over)
        assert (feed.counters.frames, feed.counters.bad, feed.counters.losses) == (2, len(BAD), 0)


def test_newest_frame_wins_and_the_others_are_counted() -> None:
    hundred = threading.Event()
    go_on = threading.Event()

    def events() -> Iterator[Any]:
        yield from (picture(i) for i in range(100))
        yield hundred.set
        yield lambda: go_on.wait(PATIENCE) and None
        yield picture(100)

    with newest(events(), fps=2000) as (feed, _):
        assert hundred.wait(PATIENCE)
        go_on.set()
        taken = until(feed, lambda _: feed.over)
    assert taken[-1].number == 100
    assert len(taken) <= 2
    assert feed.counters.frames == 101 == len(taken) + feed.counters.dropped


def test_frame_that_waited_for_more_than_two_frame_times_is_dropped() -> None:
    hold = threading.Event()
    with newest(
        [picture(0), picture(1), lambda: hold.wait(PATIENCE) and None, picture(2)], fps=100
    ) as (feed, _):
        end = time.monotonic() + PATIENCE
        while feed.counters.frames < 2 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2)  # 20 frame times of the camera, or 6 of what the feed assumes at first
        assert feed.next(0.0) is None
        hold.set()
        assert [t.number for t in until(feed, lambda _: feed.over)] == [2]
        assert feed.counters.dropped == 2


def test_unplugged_camera_is_reported_opened_again_and_healed() -> None:
    with newest([picture(0), CameraError("unplugged"), picture(1), picture(2)]) as (feed, camera):
        until(feed, lambda _: feed.lost)
        assert str(feed.lost) == "unplugged"
        until(feed, lambda taken: taken)
        assert feed.lost is None
        assert camera.opened == 2
        assert (feed.counters.losses, feed.counters.reconnects) == (1, 1)


def test_camera_that_cannot_be_opened_again_is_tried_again_with_growing_pauses() -> None:
    tries: list[float] = []

    class Stubborn(FakeCamera):
        def open(self) -> None:
            tries.append(time.monotonic())
            if 1 < len(tries) < 4:
                raise CameraError("still not there")
            super().open()

    camera = Stubborn([picture(0), CameraError("unplugged"), picture(1)], live=True)
    camera.open()
    feed = Newest(camera)
    until(feed, lambda _: feed.lost)
    until(feed, lambda taken: taken)
    feed.close()
    pauses = np.diff(tries[1:])
    assert len(tries) == 4
    assert pauses[0] >= 1.0
    assert pauses[1] >= 2.0


class Hanging(FakeCamera):
    """Hangs at its third frame, until it is closed from outside.

    Or, `deaf`, for as long as the test wants.
    """

    def __init__(self, deaf: threading.Event | None = None) -> None:
        super().__init__(endless(), live=True, fps=200)
        self.closed_now = threading.Event()
        self.reads = 0
        self.deaf = deaf

    def read(self) -> Frame | None:
        self.reads += 1
        if self.reads == 3:
            self.closed_now.clear()
            (self.deaf or self.closed_now).wait(PATIENCE)
            if not self.deaf:
                raise CameraError("was closed")
        return super().read()

    def close(self) -> None:
        self.closed_now.set()
        super().close()


def test_hanging_camera_is_given_up_and_opened_again() -> None:
    camera = Hanging()
    camera.open()
    feed = Newest(camera, stall=0.3)
    until(feed, lambda _: feed.lost)
    assert str(feed.lost) == "fake: no frame for 0.3 s"
    until(feed, lambda taken: taken)
    assert (camera.opened, feed.counters.losses, feed.counters.reconnects) == (2, 1, 1)
    feed.close()


def test_camera_that_hangs_deaf_to_closing_is_healed_once_its_driver_comes_back() -> None:
    driver = threading.Event()
    camera = Hanging(driver)
    camera.open()
    feed = Newest(camera, stall=0.3)
    until(feed, lambda _: feed.lost)
    assert [feed.next(0.05) for _ in range(10)] == [None] * 10
    assert threading.active_count() < 10
    driver.set()
    until(feed, lambda taken: taken)
    assert (camera.opened, feed.counters.losses) == (2, 1)
    feed.close()


def test_camera_that_hangs_again_right_after_it_came_back_is_given_up_again() -> None:
    class Twice(Hanging):
        def read(self) -> Frame | None:
            if self.opened == 2:
                self.reads = 2
            return super().read()

    camera = Twice()
    camera.open()
    feed = Newest(camera, stall=0.2)
    until(feed, lambda _: camera.opened == 3)
    until(feed, lambda taken: taken)
    assert (feed.counters.losses, feed.counters.reconnects) == (1, 1)
    feed.close()


def test_other_frame_size_is_a_loss_and_is_taken_when_it_comes_again() -> None:
    small = [picture(i, 24, 32) for i in range(3)]
    with newest([picture(0), *small]) as (feed, camera):
        until(feed, lambda _: feed.lost)
        assert str(feed.lost) == "fake: frames of 32x24 where they were 64x48 before"
        (taken,) = until(feed, lambda taken: taken)
        assert taken.frame.pixels.shape == (24, 32, 3)
        assert camera.opened == 2


def test_very_same_picture_for_long_is_a_loss_unless_it_is_flat() -> None:
    def still(frame: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        while True:
            yield frame

    with newest(still(picture(0)), frozen=0.2) as (feed, _):
        until(feed, lambda _: feed.lost)
        assert str(feed.lost) == "fake: the very same picture for 0.2 s"
    with newest(still(np.full((48, 64, 3), 16, np.uint8)), frozen=0.2) as (feed, _):
        until(feed, lambda _: feed.counters.frames > 100)
        assert feed.counters.losses == 0


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 0.0, *HUGE])
def test_live_cameras_impossible_time_is_counted_and_becomes_that_of_arrival(odd: float) -> None:
    with newest([picture(0), Frame(picture(1), odd), picture(2)], fps=20) as (feed, _):
        taken = until(feed, lambda _: feed.over)
        assert feed.counters.bad_times == 1
        assert all(time.monotonic() - 10 < t.captured <= time.monotonic() for t in taken)
        assert [t.captured for t in taken] == sorted(t.captured for t in taken)


@pytest.mark.parametrize(
    "error", [OSError(19, "No such device"), TimeoutError(), BrokenPipeError()]
)
def test_camera_of_others_that_raises_any_oserror_is_healed_like_ours(error: OSError) -> None:
    class Theirs(FakeCamera):
        refusals = 1

        def open(self) -> None:
            if self.opened and self.refusals:
                self.refusals -= 1
                raise error
            super().open()

        def close(self) -> None:
            super().close()
            if self.opened == 1:
                raise OSError("device busy")

    def unplug() -> None:
        raise error

    camera = Theirs([picture(0), unplug, picture(1)], live=True)
    camera.open()
    feed = Newest(camera, retry=0.01)
    until(feed, lambda _: feed.lost)
    assert str(feed.lost) == f"fake: {str(error) or type(error).__name__}"
    until(feed, lambda taken: taken)
    assert (camera.opened, feed.counters.losses, feed.counters.reconnects) == (2, 1, 1)
    feed.close()


def test_camera_that_hangs_and_cannot_be_closed_ends_nothing() -> None:
    class Stuck(Hanging):
        def close(self) -> None:
            super().close()
            if self.opened == 1:
                raise OSError("device busy")

    camera = Stuck()
    camera.open()
    feed = Newest(camera, stall=0.2, retry=0.01)
    until(feed, lambda _: feed.lost)
    until(feed, lambda taken: taken)
    feed.close()


def test_what_is_no_frame_at_all_counts_as_a_bad_frame() -> None:
    class Raw(FakeCamera):
        """Gives its first three events bare."""

        def read(self) -> Frame | None:
            for event in self._events:
                if isinstance(event, np.ndarray):
                    return self._frame(event)
                return event  # type: ignore[return-value]
            return None

    for live in (False, True):
        camera = Raw(["", 7, Frame(picture(0), None), picture(1)], live=live)  # type: ignore
        camera.open()
        feed: Feed = Newest(camera) if live else InTurn(camera)
        (taken,) = until(feed, lambda _, feed=feed: feed.over)  # type: ignore[misc]
        assert (taken.number, feed.counters.bad) == (0, 3)
        feed.close()


def test_recording_at_its_own_pace_is_not_healed_and_its_fault_is_raised() -> None:
    with newest([picture(0), CameraError("damaged")], heal=False) as (feed, camera):
        with pytest.raises(CameraError, match="damaged"):
            until(feed, lambda _: False)
        assert feed.over
        assert camera.opened == 1


class Theirs(FakeCamera):
    """Raises `error` at its second read, and `refusals` times when it is opened again."""

    def __init__(self, error: Exception, refusals: int = 0, faults: int = 1) -> None:
        super().__init__(endless(), live=True, fps=200)
        self.error, self.refusals, self.faults, self.reads = error, refusals, faults, 0

    def open(self) -> None:
        if self.opened and self.refusals:
            self.refusals -= 1
            raise self.error
        super().open()

    def read(self) -> Frame | None:
        self.reads += 1
        if self.reads > 1 and self.faults:
            self.faults -= 1
            raise self.error
        return super().read()


@pytest.mark.parametrize(
    "error",
    [InvalidInput("a bug"), RuntimeError("a bug"), MemoryError("a bug"), cv2.error("a\nbug")],
)
def test_any_exception_of_one_frame_is_a_loss_that_heals(error: Exception) -> None:
    camera = Theirs(error, refusals=2)
    camera.open()
    feed = Newest(camera, retry=0.01)
    until(feed, lambda _: feed.lost)
    assert str(feed.lost) == f"fake: {type(error).__name__}: {' '.join(str(error).split())}"
    until(feed, lambda taken: taken)
    assert (camera.opened, feed.counters.losses, feed.counters.reconnects) == (2, 1, 1)
    feed.close()


@pytest.mark.parametrize(("refusals", "faults"), [(0, 10_000), (10_000, 1)])
def test_exceptions_that_stay_end_the_feed_with_their_own(refusals: int, faults: int) -> None:
    camera = Theirs(RuntimeError("a bug"), refusals, faults)
    camera.open()
    feed, began = Newest(camera, retry=0.01, failing=0.2), time.monotonic()
    with pytest.raises(RuntimeError, match="a bug"):
        until(feed, lambda _: False)
    assert feed.over
    assert time.monotonic() - began >= 0.2
    feed.close()


def test_frame_whose_properties_raise_is_a_bad_one() -> None:
    class Evil:
        time = 1.0

        @property
        def pixels(self) -> NDArray[np.uint8]:
            raise RuntimeError("evil")

    class Raw(FakeCamera):
        def _frame(self, event: Any) -> Any:
            return event if isinstance(event, Evil) else super()._frame(event)

    for live in (False, True):
        given: Any = [picture(0), Evil(), picture(1)]
        camera = turned(Raw(given, live=live), View(flip=True))
        camera.open()
        feed: Feed = Newest(camera) if live else InTurn(camera)
        until(feed, lambda _, feed=feed: feed.over)  # type: ignore[misc]
        counters = feed.counters
        assert (counters.frames, counters.bad, counters.losses) == (2, 1, 0)
        feed.close()


def test_closing_twice_does_no_harm_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with newest(endless()) as (feed, camera):
        until(feed, lambda taken: taken)
        feed.close()
    assert threading.active_count() == before
    assert camera.closed >= 1
    assert feed.next(0.0) is None
    assert feed.counters.frames >= 1


def lose(feed: Feed, losses: int) -> None:
    """Take frames, and keep none, until the camera was lost so often."""
    end = time.monotonic() + 3 * PATIENCE
    while feed.counters.losses < losses:
        assert time.monotonic() < end, feed.counters
        feed.next(0.01)


def test_a_thousand_losses_leave_no_thread_no_descriptor_and_no_memory() -> None:
    def events() -> Iterator[Any]:
        for number in range(2100):
            yield picture(number % 20, 240, 320)
            yield CameraError(f"loss {number}")

    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    logging.getLogger("edgeemo.camera").setLevel(logging.CRITICAL)
    with newest(events(), fps=10_000, retry=0.0005) as (feed, camera):
        lose(feed, 50)
        early = rss_mb() or 0.0
        lose(feed, 1050)
        late = rss_mb() or 0.0
        assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads + 1, files)
    logging.getLogger("edgeemo.camera").setLevel(logging.NOTSET)
    assert camera.opened >= 1050
    assert feed.counters.losses - feed.counters.reconnects <= 1
    assert late - early < 5
    assert threading.active_count() == threads
