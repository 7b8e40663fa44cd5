"""The main job on a device: a camera, watched for months; emotions become readings and calls."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from edgeemo.cameras import Camera, choose_camera, missing_parts
from edgeemo.cameras.files import Paced, Pictures
from edgeemo.cameras.turned import is_stills, turned
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.labels import match_label
from edgeemo.errors import EdgeemoError, InvalidInput
from edgeemo.faces import SMALLEST_FACE, Detector, open_detector
from edgeemo.live.events import Event, Events, Handler, Happening
from edgeemo.live.feed import Feed, InTurn, Newest, Taken
from edgeemo.live.frame_reader import FrameReader
from edgeemo.live.health import Health, rss_mb, temperature_c
from edgeemo.live.options import SensorOptions
from edgeemo.live.readings_queue import ReadingsQueue, Seen
from edgeemo.live.systemd import Notifier
from edgeemo.models import DEFAULT_MODEL
from edgeemo.recognizer import Recognizer
from edgeemo.results import Reading

FACES = ("largest", "all")
_TICK = 0.2  # seconds in which the thread notices that it is to end
_LOSS_EVERY = 1.0  # seconds between two readings that say that the camera is gone
_HEALTH_EVERY = 60.0  # seconds between two lines about the health

log = logging.getLogger("edgeemo.live.sensor")


class EmotionSensor:
    """A camera with a model behind it: an iterator of readings, and a caller of handlers.

    A context manager.

    Most need no more than the model's name and a hold time; who wants another artifact, more
    threads,
    an NVIDIA GPU or a detector of their own opens the recognizer, and passes it on:

        EmotionSensor(hold_time=0.8)
        EmotionSensor("rtsp://door/live", model="small", detector="haar", faces="all")
        EmotionSensor("csi", recognizer=Recognizer("visitors.edgeemo", threads=2))
        EmotionSensor("0", options=SensorOptions(fps=5, size=(1280, 720)))

    The camera is opened at once. A thread of its own looks at the newest frame of a live camera,
    from the first handler, wait or iteration on; each frame of a recording in turn, from the first
    wait or iteration on. A camera that is gone, hangs or comes back with another size is opened
    again, with growing pauses; readings say `camera_ok` meanwhile.

    Labels are the recognizer's (`labels`), which are its bundle's: sensors of different labels live
    side by side.

    Args:
        camera: a word such as "auto", "0", "rtsp://…", "csi" or a path
            (edgeemo.cameras.open_camera), or any object with the protocol of
            edgeemo.cameras.Camera, such as a FakeCamera.
        recognizer: opened; stays the caller's, who closes it after the sensor. By default one is
            opened for `model` and `detector`, and closed with the sensor.
        model: name of a shipped bundle, path of a .edgeemo file, or an opened Bundle; by default
            "small".
        detector: its name, or an object (see `Recognizer`); by default "auto". A name is opened for
            faces of a sixth of the frame's shorter side and more (edgeemo.faces.SMALLEST_FACE).
        faces: "largest", or "all" for a reading a face; handlers hear of the largest alone.
        hold_time: seconds that another label, a new face or no face must last before it counts; by
            default the bundle's.
        options: what few need, see `SensorOptions`.

    Raises:
        CameraError: no camera, or one that cannot be opened, with the reason and what to do.
        InvalidInput: an argument that does not fit, or a recognizer together with model or
            detector.
        EdgeemoError: of another kind where model or detector cannot be opened.
    """

    def __init__(
        self,
        camera: str | os.PathLike[str] | Camera = "auto",
        *,
        recognizer: Recognizer | None = None,
        model: str | os.PathLike[str] | Bundle | None = None,
        detector: str | Detector | None = None,
        faces: str = "largest",
        hold_time: float | None = None,
        options: SensorOptions = SensorOptions(),  # noqa: B008 - frozen
    ) -> None:
        if faces not in FACES:
            raise InvalidInput(f"expected faces {' or '.join(FACES)}, received {faces!r}")
        if not isinstance(options, SensorOptions):
            raise InvalidInput(f"expected options of SensorOptions, received {options!r}")
        self._owns_recognizer = recognizer is None
        self._recognizer = _recognizer(recognizer, model, detector)
        options.smoothing_of(self._recognizer.bundle, hold_time)  # before a camera is opened
        opened = _opened(camera, options)
        stills = is_stills(opened)
        smoothing = options.smoothing_of(self._recognizer.bundle, hold_time, stills=stills)
        self._camera: Camera = opened
        if options.realtime and not opened.live:
            self._camera = Paced(opened)
        self._live, self._options, self._heal = self._camera.live, options, opened.live
        every = options.detect_every or (None if self._live else 1)
        self._reader = FrameReader(
            self._recognizer,
            smoothing,
            faces=faces,
            detect_every=every,
            view=options.view,
            stills=stills,
        )
        self._events = Events(smoothing.hold_time, self.labels)
        self._pause = 1 / options.fps if options.fps and self._live else 0.0
        self._queue = ReadingsQueue(self._live)
        self._feed: Feed | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._news = threading.Condition()  # guards the state that `wait_for` looks at
        self._frame = -1  # number of the last frame that was looked at
        self._failure: BaseException | None = None
        self._started = time.monotonic()
        self._closed = False
        atexit.register(self.close)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that readings can bring: the recognizer's, in the order of its scores."""
        return self._recognizer.labels

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except Exception as second:
            log.error("while closing after %r: %r", error, second)

    def __iter__(self) -> Iterator[Reading]:
        """Readings as they come, until a recording ends or `close`; of a live camera the newest.

        Raises:
            EdgeemoError: what ended the sensor; and whatever a handler raised.
        """
        for seen in self.observations():
            yield from seen.readings

    def observations(self) -> Iterator[Seen]:
        """Like iterating, with each frame's pixels, for those who want to show them."""
        with self._queue.attached():
            self.start()
            while (seen := self._queue.take()) is not None:
                yield seen
        self._raise_failure()

    def start(self) -> None:
        """Start looking, if nothing else has. Handlers, waiting and iterating do it by themselves.

        Raises:
            InvalidInput: the sensor is closed.
        """
        with self._lock:
            if self._closed:
                raise InvalidInput("the sensor is closed; open a new one")
            if self._thread is None:
                if self._live:
                    self._feed = Newest(
                        self._camera,
                        stall=self._options.patience,
                        frozen=self._options.frozen,
                        heal=self._heal,
                    )
                else:
                    self._feed = InTurn(self._camera)
                self._thread = threading.Thread(
                    target=self._run, args=(self._feed,), name="edgeemo-sensor", daemon=True
                )
                self._thread.start()

    def when(self, label: str, handler: Handler | None) -> None:
        """Call `handler`, without arguments or with the Reading, when the emotion becomes `label`.

        Handlers run on the sensor's thread, one at a time. The first reading sets the state and
        calls nobody. Another handler for the same label replaces the first; None removes it. What a
        handler raises ends the sensor, and is raised again by `wait`, `wait_for`, iterating or
        `close`.

        Raises:
            UnknownLabel: a word for none of `labels`; the message lists them.
            InvalidInput: a handler that takes neither nothing nor one argument.
        """
        self._set(match_label(label, self.labels), handler)

    @property
    def when_changed(self) -> Callable[[Handler | None], None]:
        """Call a handler each time that the emotion changes, to None too.

        `sensor.when_changed = show`, or as a call.
        """
        return lambda handler: self._set(Happening.CHANGED, handler)

    @when_changed.setter
    def when_changed(self, handler: Handler | None) -> None:
        self._set(Happening.CHANGED, handler)

    @property
    def when_no_face(self) -> Callable[[Handler | None], None]:
        """Call a handler when the last face has gone, or the camera.

        `sensor.when_no_face = lamp.off`, or as a call.
        """
        return lambda handler: self._set(Happening.NO_FACE, handler)

    @when_no_face.setter
    def when_no_face(self, handler: Handler | None) -> None:
        self._set(Happening.NO_FACE, handler)

    def wait_for(self, label: str, timeout: float | None = None) -> Reading | None:
        """Wait until the emotion is `label`, and give the reading that brought it.

        None after `timeout` seconds, or at the end.

        Raises:
            UnknownLabel: a word for none of `labels`.
            InvalidInput: the sensor is closed, or a handler waits for what only its return could
                bring.
        """
        label = match_label(label, self.labels)
        self._not_from_a_handler("wait_for")
        with self._news:
            since = self._frame
        self.start()

        def there() -> Reading | None:
            reading = self._events.entered.get(label)
            return (
                reading
                if reading and (reading.frame > since or self._events.emotion == label)
                else None
            )

        with self._news:
            self._news.wait_for(lambda: there() or self._queue.over, timeout)
            reading = there()
        if reading is None:
            self._raise_failure()
        return reading

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end: of a recording, or by `close` in another thread.

        False after `timeout` seconds without it.

        Raises:
            EdgeemoError: what ended the sensor; and whatever a handler raised.
        """
        self._not_from_a_handler("wait")
        self.start()
        with self._news:
            over = self._news.wait_for(lambda: self._queue.over, timeout)
        self._raise_failure()
        return over

    def health(self) -> Health:
        """Counters since the start, memory and temperature."""
        reader, feed = self._reader, self._feed
        counters = feed.counters if feed else None
        return Health(
            uptime_s=time.monotonic() - self._started,
            camera_ok=not self._closed and (feed is None or feed.lost is None),
            frames=counters.frames if counters else 0,
            looked_at=reader.looked_at,
            dropped=counters.dropped if counters else 0,
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
        """End the thread, close the camera and what the sensor opened itself. Does no harm twice.

        Raises:
            EdgeemoError: what ended the sensor, and whatever a handler raised, unless it was raised
                already.
        """
        with self._lock:
            self._closed = True
            self._stop.set()
            self._queue.finish()
            if self._feed:
                self._feed.close()
            self._camera.close()
        thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join(10.0)
            if thread.is_alive():
                log.error("a handler has not come back for 10 s; it is left to itself")
                return
        if thread is not threading.current_thread() and self._owns_recognizer:
            self._recognizer.close()
        atexit.unregister(self.close)
        with self._news:
            self._news.notify_all()
        if thread is not threading.current_thread():
            self._raise_failure()

    def _set(self, event: Event, handler: Handler | None) -> None:
        self._events.set(event, handler)
        if self._live and handler is not None:
            self.start()

    def _run(self, feed: Feed) -> None:
        notifier = Notifier()
        try:
            self._watch(feed, notifier)
        except BaseException as error:
            if not self._stop.is_set() or not isinstance(error, EdgeemoError):
                log.error("the sensor ends: %s: %s", type(error).__name__, error)
                self._failure = error
        finally:
            notifier.stopping()
            try:
                feed.close()
            except Exception as error:  # whatever somebody else's camera raises
                log.error("%s: cannot be closed (%r)", self._camera.name, error)
            self._queue.finish()
            with self._news:
                self._news.notify_all()

    def _watch(self, feed: Feed, notifier: Notifier) -> None:
        lost_at, came = 0.0, 0
        health_at = due = time.monotonic()
        while not self._stop.is_set():
            resting = time.monotonic() < due
            taken = None if resting else feed.next(_TICK)
            now = time.monotonic()
            if resting:  # frames pass that are not to be looked at, but the camera stays in sight
                self._stop.wait(max(0.0, min(_TICK, due - now)))
                feed.check()
            elif taken is not None:
                self._look(taken, feed)
                due = max(due + self._pause, now)
            elif feed.over:
                break
            if feed.lost:
                if now - lost_at >= _LOSS_EVERY:
                    self._tell_loss(feed, notifier, first=not lost_at)
                    lost_at = now
            elif taken is not None or (resting and feed.counters.frames > came):
                if lost_at:
                    notifier.status("frames come again")
                notifier.alive()
                lost_at = 0.0
            came = feed.counters.frames
            if now - health_at >= _HEALTH_EVERY:
                health_at = now
                log.info("%s", self.health())

    def _look(self, taken: Taken, feed: Feed) -> None:
        wall_time = (
            time.time() - (time.monotonic() - taken.captured) if self._live else taken.frame.time
        )
        readings = self._reader.read(
            taken,
            interval=max(feed.interval, self._pause),
            dropped=feed.counters.dropped,
            wall_time=wall_time,
        )
        self._tell(readings[0], taken.frame.time)
        self._queue.put(Seen(taken.frame, tuple(readings)), self._stop)

    def _tell_loss(self, feed: Feed, notifier: Notifier, *, first: bool) -> None:
        if first:
            notifier.status(str(feed.lost))
            self._reader.forget()
        number, dropped = max(self._frame, 0), feed.counters.dropped
        gone = Reading(time.time(), number, dropped=dropped, fps=self._reader.fps, camera_ok=False)
        self._tell(gone, time.monotonic())
        self._queue.put(Seen(None, (gone,)), self._stop)

    def _tell(self, reading: Reading, frame_time: float) -> None:
        self._events.update(reading, frame_time)
        with self._news:
            self._frame = reading.frame
            self._news.notify_all()

    def _raise_failure(self) -> None:
        with self._lock:
            failure, self._failure = self._failure, None
        if failure:
            raise failure

    def _not_from_a_handler(self, what: str) -> None:
        if threading.current_thread() is self._thread:
            raise InvalidInput(
                f"{what} was called in a handler, which runs on the thread that it would wait for"
            )


def _recognizer(
    recognizer: Recognizer | None,
    model: str | os.PathLike[str] | Bundle | None,
    detector: str | Detector | None,
) -> Recognizer:
    """The caller's, or one opened for a live camera's frames. Raises InvalidInput for both."""
    if recognizer is not None:
        if not isinstance(recognizer, Recognizer):
            raise InvalidInput(
                f"expected a Recognizer, received {recognizer!r}; a model's name is model="
            )
        if model is not None or detector is not None:
            raise InvalidInput(
                "expected a recognizer, or a model and a detector, received both; the recognizer "
                "brings its own: Recognizer(model, detector=...)"
            )
        return recognizer
    detector = "auto" if detector is None else detector
    if isinstance(detector, str):
        detector = open_detector(detector, smallest_face=SMALLEST_FACE)
    return Recognizer(DEFAULT_MODEL if model is None else model, detector=detector)


def _opened(camera: str | os.PathLike[str] | Camera, options: SensorOptions) -> Camera:
    """The camera, opened. Raises InvalidInput, CameraError and what else opening raises."""
    if isinstance(camera, str | os.PathLike):
        opened = choose_camera(
            os.fspath(camera), size=options.size, fps=options.fps, stall=options.patience
        )[0]
    else:
        if missing := missing_parts(camera):
            raise InvalidInput(
                "expected a camera's name, a path or an object with name, live, open, read and "
                f"close; received {str(camera)[:80]!r}, which has no {missing}"
            )
        camera.open()
        opened = camera
    sequence = isinstance(opened, Pictures) and not opened.stills
    if options.fps and not (opened.live or options.realtime or sequence):
        opened.close()
        raise InvalidInput(
            f"expected a live camera with fps, received {opened.name}; add realtime (--realtime)"
        )
    return turned(opened, options.view)
