"""Frames from a camera to the sensor: in turn from a recording, the newest from a live camera.

A live camera that is gone is opened again.
"""

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from edgeemo.cameras import FPS, STALL, Camera, Frame
from edgeemo.cameras.common.timestamps import seconds
from edgeemo.errors import CameraError, EdgeemoError
from edgeemo.live.failures import FAILING
from edgeemo.live.feed.picture_watch import PictureWatch, is_picture

# Seconds until a camera that is gone is opened again; doubled after each vain attempt, up to
RETRY = 0.5
_LONGEST_WAIT = 4.0

log = logging.getLogger("edgeemo.camera")


@dataclass(frozen=True)
class Taken:
    """A frame on its way to the sensor."""

    frame: Frame
    """The picture, with its own time."""
    number: int
    """Position among all frames that came, from 0."""
    captured: float
    """When it was captured (a recording's: read), seconds of `time.monotonic()`."""


@dataclass
class Counters:
    """What came from the camera so far."""

    frames: int = 0
    """Frames that were taken, those that were dropped, and at most one that waits."""
    dropped: int = 0
    """Frames that nobody took in time."""
    bad: int = 0
    """Frames that were no picture, or one of the wrong kind; not among `frames`."""
    bad_times: int = 0
    """Frames whose time of capture could not be; among `frames`."""
    losses: int = 0
    """Times that the camera was gone."""
    reconnects: int = 0
    """Times that it came back."""
    last_at: float | None = None
    """When the last of `frames` came, seconds of `time.monotonic()`; None before the first."""


class Feed(Protocol):
    """Where the sensor gets its frames from."""

    counters: Counters
    """What came so far."""
    lost: CameraError | None
    """Why the camera is gone, while it is."""
    over: bool
    """Whether no more frames will come."""
    interval: float
    """Time between two frames, seconds."""

    def next(self, timeout: float) -> Taken | None:
        """The next frame.

        None if none came within `timeout` seconds, the camera is gone, or all is over.

        Raises:
            EdgeemoError: a recording that cannot be read on.
        """

    def check(self) -> None:
        """Give up a camera that hangs.

        For whoever does not call `next` for a while, which does it too.
        """

    def close(self) -> None:
        """End it, and close the camera. Does no harm twice."""


class InTurn:
    """The frames of an opened recording, each of them, when they are asked for."""

    def __init__(self, camera: Camera) -> None:
        self.counters = Counters()
        self.lost: CameraError | None = None
        self.over = False
        self.interval = 1 / FPS
        self._camera, self._odd = camera, 0
        self._last = -math.inf

    def next(self, timeout: float) -> Taken | None:
        """The next frame, however long reading it takes; None when the recording is over.

        Raises CameraError.
        """
        frame = self._read()
        while frame is not None and not is_picture(frame):
            self._odd += 1
            frame = self._read()
        self.counters.bad = self._odd + getattr(self._camera, "skipped", 0)
        if frame is None:
            self.over = True
            return None
        at = seconds(frame.time)
        if not math.isfinite(at) or at < self._last:
            self.counters.bad_times += 1
            at = max(self._last, 0.0)
        elif self._last < at < self._last + 10:
            self.interval = at - self._last
        self._last = at
        self.counters.frames += 1
        self.counters.last_at = now = time.monotonic()
        return Taken(Frame(frame.pixels, at), self.counters.frames - 1, now)

    def _read(self) -> Frame | None:
        try:
            return self._camera.read()
        except OSError as error:
            raise as_camera_error(self._camera.name, error) from None

    def check(self) -> None:
        """Nothing: who reads a recording waits for it."""

    def close(self) -> None:
        """Close the camera."""
        self._camera.close()


class Newest:
    """The newest frame of an opened live camera, read by a thread of its own.

    The thread opens the camera again when it is gone.

    Gone is a camera that says so (by whatever exception), gives no frame for `stall` seconds,
    another size than before, or where `frozen` is given the very same picture for so many seconds.
    A frame that waited for longer than two frame times is dropped.

    Args:
        camera: opened; closed in the end.
        retry: seconds until a camera that is gone is opened again.
        heal: open it again; without, as for a recording at its own pace, nothing is taken for a
            fault but what the camera raises, and `next` raises that.
        failing: seconds of exceptions that are no OSError, and no frame, after which `next` raises
            the last: a mistake in somebody else's camera, which opening it does not cure.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        stall: float = STALL,
        frozen: float | None = None,
        retry: float = RETRY,
        heal: bool = True,
        failing: float = FAILING,
    ) -> None:
        self.counters = Counters()
        self.lost: CameraError | None = None
        self.over = False
        self.interval = 1 / FPS
        self._camera, self._stall, self._frozen = camera, stall, frozen
        self._retry, self._heal = retry, heal
        self._failing = failing
        self._failing_since: float | None = None  # the first such exception, and no frame since
        self._failure: BaseException | None = None
        self._news = threading.Condition()
        self._waiting: Taken | None = None
        self._stop = threading.Event()
        # Whether the sensor no longer waits for the frame that the thread is waiting for.
        self._given_up = False
        self._reading_since: float | None = time.monotonic()  # None while the camera is not open
        self._last = -math.inf
        self._arrived = 0.0
        self._thread = threading.Thread(target=self._run, name="edgeemo-camera", daemon=True)
        self._thread.start()

    def next(self, timeout: float) -> Taken | None:
        """The newest frame, if one comes within `timeout` seconds.

        Raises what ended a feed that does not heal.
        """
        with self._news:
            self._news.wait_for(lambda: self._waiting or self.over, timeout)
            taken, self._waiting = self._waiting, None
            if taken and time.monotonic() - self._arrived > 2 * self.interval:
                self.counters.dropped += 1
                taken = None
            if self.over and not taken and self._failure:
                failure, self._failure = self._failure, None
                raise failure
        if taken is None:
            self.check()
        return taken

    def check(self) -> None:
        """Give up a camera that gave no frame for too long.

        The thread that waits for it cannot say so itself.
        """
        since = self._reading_since
        if (
            since is None
            or self._given_up
            or not self._heal
            or time.monotonic() - since < self._stall
        ):
            return
        self._given_up = True
        self._lose(CameraError(f"{self._camera.name}: no frame for {self._stall:g} s"))
        self._let_go()  # ends the wait, where the camera allows that

    def close(self) -> None:
        """End the thread and close the camera.

        A camera that hangs in its driver is left to its thread.
        """
        self._stop.set()
        try:
            self._camera.close()
        finally:  # whatever somebody else's camera raises
            if threading.current_thread() is not self._thread:
                self._thread.join(5.0)
                if self._thread.is_alive():
                    log.warning(
                        "%s: still hangs while it is closed; left to itself", self._camera.name
                    )
            with self._news:
                self.counters.dropped += self._waiting is not None
                self._waiting, self.over = None, True
                self._news.notify_all()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    self._read_frames()
                    break
                except Exception as error:  # others' cameras may raise any
                    if self._stop.is_set():
                        break
                    self._give_up_if_it_stays(error)
                    gone = as_camera_error(self._camera.name, error)
                    if not self._heal:
                        raise gone from None
                    self._lose(gone)
                self._open_again()
        except BaseException as error:
            self._failure = error
        finally:
            self._let_go()
            with self._news:
                self.over = True
                self._news.notify_all()

    def _give_up_if_it_stays(self, error: Exception) -> None:
        """Raise what is no OSError, once it has come for `failing` seconds or nothing is healed."""
        if isinstance(error, OSError):  # the usual words of a camera that is gone
            self._failing_since = None
            return
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if not self._heal or now - self._failing_since >= self._failing:
            raise error

    def _read_frames(self) -> None:
        """Read until the end. Raises CameraError where the camera is gone."""
        watch = PictureWatch(self._camera.name, self._frozen) if self._heal else None
        while not self._stop.is_set():
            frame = self._camera.read()
            if self._given_up:
                raise CameraError(
                    f"{self._camera.name}: came back to life after it had been given up"
                )
            if frame is None:
                return
            if not is_picture(frame):
                self.counters.bad += 1
                self._stop.wait(0.005)
                continue
            now = time.monotonic()
            if watch:
                watch.check(frame, now)
            self._publish(frame, now)

    def _publish(self, frame: Frame, now: float) -> None:
        counters = self.counters
        # A camera's own time counts if it can be one: not before the last frame's, not to come, not
        # of long ago.
        at = seconds(frame.time)
        captured = at if max(self._last, now - 10) <= at <= now else now
        with self._news:
            counters.bad_times += captured != at
            if math.isfinite(self._last) and 0.001 < captured - self._last < 1:
                self.interval += 0.1 * (captured - self._last - self.interval)
            counters.dropped += self._waiting is not None
            self._waiting, self._arrived = (
                Taken(Frame(frame.pixels, captured), counters.frames, captured),
                now,
            )
            counters.frames += 1
            counters.last_at = now
            self._last = captured
            self._reading_since, self._failing_since = now, None
            if self.lost:
                counters.reconnects += 1
                log.warning("%s: frames come again", self._camera.name)
                self.lost = None
            self._news.notify_all()

    def _lose(self, error: CameraError) -> None:
        # It would keep the last frame alive, for as long as the camera is gone.
        error.__traceback__ = None
        with self._news:
            if self.lost is None:
                self.lost = error
                self.counters.losses += 1
                self.counters.dropped += self._waiting is not None
                self._waiting = None
                log.warning("%s; trying to open it again", error)
            self._news.notify_all()

    def _open_again(self) -> None:
        wait = self._retry
        self._reading_since = None
        self._let_go()
        while not self._stop.wait(wait):
            wait = min(2 * wait, _LONGEST_WAIT)
            try:
                self._camera.open()
            except (EdgeemoError, OSError) as error:
                self._failing_since = None
                log.info("%s; next attempt in %.1f s", error, wait)
                continue
            except Exception as error:  # of somebody else's camera
                self._give_up_if_it_stays(error)
                log.info("%s; next attempt in %.1f s", _words(error), wait)
                continue
            self._given_up = False
            self._reading_since = time.monotonic()
            return

    def _let_go(self) -> None:
        try:
            self._camera.close()
        except BaseException as error:  # whatever somebody else's camera raises
            log.error("%s: cannot be closed (%r)", self._camera.name, error)


def as_camera_error(name: str, error: Exception) -> CameraError:
    """What somebody else's camera raised, as one of ours raises it."""
    if isinstance(error, CameraError):
        return error
    return CameraError(f"{name}: {_words(error)}")


def _words(error: Exception) -> str:
    """An exception in one line: an OSError says enough itself, others need their name."""
    text, kind = " ".join(str(error).split()), type(error).__name__
    if not text:
        return kind
    return text if isinstance(error, OSError) else f"{kind}: {text}"
