"""The sensor's thread, and all that it works with.

It knows the sensor by a weak reference alone, so that a sensor that is dropped ends.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from edgeemo.cameras import Camera
from edgeemo.errors import EdgeemoError, InvalidInput
from edgeemo.live.endings import close_when_dropped, closed_at_exit
from edgeemo.live.events import Event, Events, Handler
from edgeemo.live.feed.feed import Feed, InTurn, Newest, Taken
from edgeemo.live.feed.frame_reader import FrameReader
from edgeemo.live.health import Health, State, rss_mb, temperature_c
from edgeemo.live.options import SensorOptions
from edgeemo.live.readings_queue import ReadingsQueue, Seen
from edgeemo.live.systemd import Notifier
from edgeemo.results import Reading

_TICK = 0.2  # seconds in which the thread notices that it is to end
_LOSS_EVERY = 1.0  # seconds between two readings that say that the camera is gone
_HEALTH_EVERY = 60.0  # seconds between two lines about the health

log = logging.getLogger("edgeemo.live.sensor")


@dataclass(frozen=True)
class Source:
    """An opened camera, and how frames are taken from it."""

    camera: Camera
    """The camera."""
    options: SensorOptions
    """When it counts as gone, and how many frames a second are looked at."""
    heal: bool
    """Whether it is opened again when it is gone."""

    @property
    def pause(self) -> float:
        """Seconds between two frames that are looked at, at least."""
        return 1 / self.options.fps if self.options.fps and self.camera.live else 0.0


class Watcher:
    """Looks at frames in a thread of its own: readings go to the queue, events to handlers.

    Args:
        source: the camera; closed in the end.
        reader: makes readings of frames.
        events: calls handlers.
        release: called once at the end, when nothing is looked at any more.
        owner: whose watcher it is; it ends when that is no more.
    """

    def __init__(
        self,
        source: Source,
        reader: FrameReader,
        events: Events,
        release: Callable[[], None],
        owner: object,
    ) -> None:
        self.live = source.camera.live
        self.queue = ReadingsQueue(self.live)
        self.events = events
        self.feed: Feed | None = None
        self._source, self._reader, self._release = source, reader, release
        self._owner = weakref.ref(owner)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._news = threading.Condition()  # guards the state that `wait_for` looks at
        self._frame = -1  # number of the last frame that was read
        self._failure: BaseException | None = None
        self._ended_by: str | None = None
        self._notifier: Notifier | None = None
        self._began = time.monotonic()
        self._closed = False
        self._in_care = threading.Event()  # started or closed: nothing is left to a finalizer
        closed_at_exit().add(self)
        # Not this watcher, whose handlers may refer to the owner.
        close_when_dropped(owner, (source.camera.close, release), unless=self._in_care)

    def start(self) -> None:
        """Start the thread, if it has not been.

        Raises:
            InvalidInput: it is closed.
        """
        with self._lock:
            if self._closed:
                raise InvalidInput("the sensor is closed; open a new one")
            if self._thread is None:
                self._in_care.set()
                self._notifier = Notifier()
                source = self._source
                if self.live:
                    self.feed = Newest(
                        source.camera,
                        stall=source.options.patience,
                        frozen=source.options.frozen,
                        heal=source.heal,
                    )
                else:
                    self.feed = InTurn(source.camera)
                self._thread = threading.Thread(
                    target=self._run,
                    args=(self.feed, self._notifier),
                    name="edgeemo-sensor",
                    daemon=True,
                )
                self._thread.start()

    @property
    def failure(self) -> BaseException | None:
        """What ended it, until `raise_failure` has raised it."""
        return self._failure

    def set_handler(
        self, event: Event, handler: Handler | None, otherwise: Handler | None = None
    ) -> None:
        """Set handlers (see `Events.set`), and start for them where the camera is live."""
        self.events.set(event, handler, otherwise)
        if self.live and (handler is not None or otherwise is not None):
            self.start()

    def take(self) -> Seen | None:
        """The next of the queue; None at the end. Raises InvalidInput in a handler."""
        self.refuse_in_a_handler("iterating")
        return self.queue.take()

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end; False after `timeout` seconds without it."""
        with self._news:
            return self._news.wait_for(lambda: self.queue.over, timeout)

    def wait_for(self, label: str, timeout: float | None) -> Reading | None:
        """The reading that brought `label`, from now on; None after `timeout` or at the end."""
        with self._news:
            since = self._frame
        self.start()

        def there() -> Reading | None:
            reading = self.events.entered.get(label)
            new = reading and (reading.frame > since or self.events.emotion == label)
            return reading if new else None

        with self._news:
            self._news.wait_for(lambda: there() or self.queue.over, timeout)
            return there()

    def raise_failure(self) -> None:
        """Raise what ended it, the first time."""
        with self._lock:
            failure, self._failure = self._failure, None
        if failure:
            raise failure

    def refuse_in_a_handler(self, what: str) -> None:
        """Raise InvalidInput on the thread that calls handlers."""
        if threading.current_thread() is self._thread:
            raise InvalidInput(
                f"{what} was called in a handler, which runs on the thread that it would wait for"
            )

    def health(self) -> Health:
        """State, counters since the start, memory and temperature."""
        reader, feed, now = self._reader, self.feed, time.monotonic()
        counters = feed.counters if feed else None
        state, lost = self._state(), feed.lost if feed else None
        error = str(lost) if lost and state is State.CAMERA_LOST else reader.failures.last
        return Health(
            state=state,
            error=self._ended_by if state is State.ENDED else error,
            uptime_s=now - self._began,
            frame_age_s=_age(counters.last_at if counters else None, now),
            reading_age_s=_age(reader.read_at, now),
            camera_ok=state in (State.STARTING, State.RUNNING),
            frames=counters.frames if counters else 0,
            looked_at=reader.looked_at,
            dropped=counters.dropped if counters else 0,
            frame_errors=reader.failures.frames,
            bad_frames=counters.bad if counters else 0,
            bad_times=counters.bad_times if counters else 0,
            detections=reader.detections,
            detect_every=reader.cadence.every,
            inferences=reader.inferences,
            losses=counters.losses if counters else 0,
            reconnects=counters.reconnects if counters else 0,
            fps=reader.fps,
            latency_ms=reader.latency_ms,
            rss_mb=rss_mb(),
            temperature_c=temperature_c(),
        )

    def close(self) -> None:
        """End the thread, close the camera and release the rest. Does no harm twice.

        Raises:
            BaseException: what closing the camera raised, or else what ended the thread, the first
                time.
        """
        problem: BaseException | None = None
        with self._lock:
            self._closed = True
            self._in_care.set()
            self._stop.set()
            self.queue.finish()
            for source in (self.feed, self._source.camera):
                try:
                    if source:
                        source.close()
                except BaseException as error:  # whatever somebody else's camera raises
                    problem = problem or error
        thread, own = self._thread, threading.current_thread() is self._thread
        if thread and not own:
            thread.join(10.0)
            if thread.is_alive():
                log.error("a handler has not come back for 10 s; it is left to itself")
                return
        if self._notifier:
            self._notifier.forget()
        if not own:
            self._release()
        with self._news:
            self._news.notify_all()
        if problem:
            raise problem
        if not own:
            self.raise_failure()

    def _state(self) -> State:
        if self._closed or self.queue.over:
            return State.ENDED
        if self.feed and self.feed.lost:
            return State.CAMERA_LOST
        return State.STARTING if self._reader.read_at is None else State.RUNNING

    def _is_to_end(self) -> bool:
        return self._stop.is_set() or self._owner() is None

    def _run(self, feed: Feed, notifier: Notifier) -> None:
        try:
            self._watch(feed, notifier)
        except BaseException as error:
            if not self._stop.is_set() or not isinstance(error, EdgeemoError):
                log.error("the sensor ends: %s: %s", type(error).__name__, error)
                self._failure = error
                self._ended_by = f"{type(error).__name__}: {error}"
                notifier.status(f"ended by {self._ended_by}")
        finally:
            if not self._ended_by:  # else the watchdog is to hear no more of this process
                notifier.stopping()
            try:
                feed.close()
            except BaseException as error:  # whatever somebody else's camera raises
                log.error("the camera cannot be closed (%r)", error)
            finally:
                self.queue.finish()
                with self._news:
                    self._news.notify_all()
            if self._owner() is None:
                self._release()

    def _watch(self, feed: Feed, notifier: Notifier) -> None:
        lost_at, came, read = 0.0, 0, False
        health_at = due = time.monotonic()
        while not self._is_to_end():
            resting = time.monotonic() < due
            taken = None if resting else feed.next(_TICK)
            now = time.monotonic()
            if resting:  # frames pass that are not to be looked at, but the camera stays in sight
                self._stop.wait(max(0.0, min(_TICK, due - now)))
                feed.check()
            elif taken is not None:
                read = self._look(taken, feed)
                due = max(due + self._source.pause, now)
            elif feed.over:
                self._reader.failures.at_the_end()
                break
            if feed.lost:
                if now - lost_at >= _LOSS_EVERY:
                    self._tell_loss(feed, notifier, first=not lost_at)
                    lost_at = now
            elif taken is not None or (resting and feed.counters.frames > came):
                if lost_at:
                    notifier.status("frames come again")
                if read:
                    notifier.alive()
                    self._reader.alive()
                lost_at = 0.0
            came = feed.counters.frames
            if now - health_at >= _HEALTH_EVERY:
                health_at = now
                log.info("%s", self.health())

    def _look(self, taken: Taken, feed: Feed) -> bool:
        """Whether readings came of it."""
        wall_time = (
            time.time() - (time.monotonic() - taken.captured) if self.live else taken.frame.time
        )
        readings = self._reader.read(
            taken,
            interval=max(feed.interval, self._source.pause),
            dropped=feed.counters.dropped,
            wall_time=wall_time,
        )
        if readings:
            self._tell(readings[0], taken.frame.time)
            self.queue.put(Seen(taken.frame, tuple(readings)), self._stop)
        return bool(readings)

    def _tell_loss(self, feed: Feed, notifier: Notifier, *, first: bool) -> None:
        if first:
            notifier.status(str(feed.lost))
            self._reader.forget()
        now = time.monotonic()
        gone = Reading(
            time.time(),
            max(self._frame, 0),
            dropped=feed.counters.dropped,
            fps=self._reader.fps,
            camera_ok=False,
            monotonic=now,
        )
        self._tell(gone, now)
        self.queue.put(Seen(None, (gone,)), self._stop)

    def _tell(self, reading: Reading, frame_time: float) -> None:
        self.events.update(reading, frame_time)
        with self._news:
            self._frame = reading.frame
            self._news.notify_all()


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, now - at)
