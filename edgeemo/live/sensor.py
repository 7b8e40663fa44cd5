"""The main job on a device: a camera, watched for months, whose faces' emotions become readings and calls."""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from edgeemo.backends import Backend, Providers
from edgeemo.cameras import FPS, SIZE, Camera, open_camera
from edgeemo.cameras.files import Paced
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.labels import parse_label
from edgeemo.contract.manifest import Smoothing
from edgeemo.errors import EdgeemoError, InvalidInput
from edgeemo.faces import SMALLEST_FACE, Detector
from edgeemo.live.events import CHANGED, NO_FACE, Events, Handler
from edgeemo.live.feed import STALL, Feed, InTurn, Newest, Taken
from edgeemo.live.frame_reader import FrameReader
from edgeemo.live.health import Health, rss_mb, temperature_c
from edgeemo.live.readings_queue import Outlet, Seen
from edgeemo.live.smoothing import OFF, check
from edgeemo.live.systemd import Notifier
from edgeemo.models import DEFAULT_MODEL
from edgeemo.recognizer import Recognizer
from edgeemo.results import Reading

DEFAULT_SMOOTHING = Smoothing(
    window=0.5, hold_time=0.8, floor=0.4
)  # where no bundle brings its own
FACES = ("largest", "all")
_TICK = 0.2  # seconds in which the thread notices that it is to end
_LOSS_EVERY = 1.0  # seconds between two readings that say that the camera is gone
_HEALTH_EVERY = 60.0  # seconds between two lines about the health

log = logging.getLogger("edgeemo.live.sensor")


class EmotionSensor:
    """A camera with a model behind it. A context manager, an iterator of readings, and a caller of handlers.

    The camera is opened at once. A thread of its own looks at the newest frame of a live camera, from the first handler, wait
    or iteration on; each frame of a recording in turn, from the first wait or iteration on. A camera that is gone, hangs
    or comes back with another size is opened again, with growing pauses; readings say `camera_ok` meanwhile.

    Args:
        camera: "auto", "0", "/dev/video0", "rtsp://…", "csi", "gst:PIPELINE", the path of a video, folder or picture, or any
            object with the protocol of edgeemo.cameras.Camera, such as a FakeCamera.
        model, detector, detector_model, artifact, threads, providers, backend: as of `Recognizer`.
        faces: "largest", or "all" for a reading a face; handlers are told of the largest alone.
        smoothing: False gives the network's answer on each frame.
        window: seconds over which scores are averaged; by default the bundle's.
        hold_time: seconds that another label, a new face or no face must last before it counts; by default the bundle's.
        floor: probability 0..1 below which the emotion is None; by default the bundle's.
        detect_every: the detector looks at every so many frames and faces are followed between; by default at each frame
            of a recording, and of a live camera as often as its frame rate allows.
        smallest_face: the smallest face to be found, as a share of the frame's shorter side.
        size: width and height in pixels that a camera is asked for.
        fps: frames a second to look at; by default all that a live camera gives. A recording needs `realtime` with it.
        realtime: play a recording at its own pace, as if it were a live camera.
        stall: seconds without a frame after which a live camera counts as gone.

    Raises:
        CameraError: no camera, or one that cannot be opened, with the reason and what to do.
        InvalidInput: an argument that does not fit.
        EdgeemoError: of another kind where model or detector cannot be opened.
    """

    def __init__(
        self,
        camera: str | os.PathLike[str] | Camera = "auto",
        *,
        model: str | os.PathLike[str] | Bundle = DEFAULT_MODEL,
        detector: str | Detector = "auto",
        detector_model: str | os.PathLike[str] | None = None,
        artifact: str | None = None,
        threads: int = 1,
        providers: Providers = None,
        backend: Backend | None = None,
        faces: str = "largest",
        smoothing: bool = True,
        window: float | None = None,
        hold_time: float | None = None,
        floor: float | None = None,
        detect_every: int | None = None,
        smallest_face: float = SMALLEST_FACE,
        size: tuple[int, int] = SIZE,
        fps: float | None = None,
        realtime: bool = False,
        stall: float = STALL,
    ) -> None:
        _check(faces, detect_every, fps, stall)
        self._recognizer = Recognizer(
            model,
            detector=detector,
            detector_model=detector_model,
            artifact=artifact,
            threads=threads,
            providers=providers,
            backend=backend,
            smallest_face=smallest_face,
        )
        settings = _smoothing(self._recognizer.bundle, smoothing, window, hold_time, floor)
        opened = _opened(camera, size, fps or FPS)
        recorded = not opened.live
        if fps and recorded and not realtime:
            opened.close()
            raise InvalidInput(
                f"expected a live camera with fps, received {opened.name}; add realtime (--realtime)"
            )
        self._camera: Camera = Paced(opened) if recorded and realtime else opened
        self._live, self._stall, self._heal = self._camera.live, stall, not recorded
        every = detect_every or (None if self._live else 1)
        self._reader = FrameReader(self._recognizer, settings, faces=faces, detect_every=every)
        self._events = Events(settings.hold_time)
        self._pause = 1 / fps if fps else 0.0
        self._outlet = Outlet(self._live)
        self._feed: Feed | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._told = threading.Condition()  # guards the state that `wait_for` looks at
        self._frame = -1  # number of the last frame that was looked at
        self._failure: BaseException | None = None
        self._started = time.monotonic()
        self._closed = False
        atexit.register(self.close)

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
        """Readings as they come, until the end of a recording or `close`; of a live camera always the newest.

        Raises:
            EdgeemoError: what ended the sensor; and whatever a handler raised.
        """
        for seen in self.observations():
            yield from seen.readings

    def observations(self) -> Iterator[Seen]:
        """Like iterating, frame by frame, with each frame's pixels, for those who want to show them."""
        with self._outlet.attached():
            self.start()
            while (seen := self._outlet.take()) is not None:
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
                    self._feed = Newest(self._camera, stall=self._stall, heal=self._heal)
                else:
                    self._feed = InTurn(self._camera)
                self._thread = threading.Thread(
                    target=self._run, args=(self._feed,), name="edgeemo-sensor", daemon=True
                )
                self._thread.start()

    def when(self, label: str, handler: Handler | None) -> None:
        """Call `handler`, without arguments or with the Reading, each time that the emotion becomes `label`.

        Handlers run on the sensor's thread, one at a time. The first reading sets the state and calls nobody. Another
        handler for the same label replaces the first; None removes it. What a handler raises ends the sensor, and is
        raised again by `wait`, `wait_for`, iterating or `close`.

        Raises:
            UnknownLabel: a word that is none of the seven; the message lists them.
            InvalidInput: a handler that takes neither nothing nor one argument.
        """
        self._set(parse_label(label), handler)

    @property
    def when_changed(self) -> Callable[[Handler | None], None]:
        """Call a handler each time that the emotion changes, to None too: `sensor.when_changed = show`, or as a call."""
        return lambda handler: self._set(CHANGED, handler)

    @when_changed.setter
    def when_changed(self, handler: Handler | None) -> None:
        self._set(CHANGED, handler)

    @property
    def when_no_face(self) -> Callable[[Handler | None], None]:
        """Call a handler when the last face has gone, or the camera: `sensor.when_no_face = lamp.off`, or as a call."""
        return lambda handler: self._set(NO_FACE, handler)

    @when_no_face.setter
    def when_no_face(self, handler: Handler | None) -> None:
        self._set(NO_FACE, handler)

    def wait_for(self, label: str, timeout: float | None = None) -> Reading | None:
        """Wait until the emotion is `label`, and give the reading that brought it; None after `timeout` seconds or at the end.

        Raises:
            UnknownLabel: a word that is none of the seven.
            InvalidInput: the sensor is closed, or a handler waits for what only its return could bring.
        """
        label = parse_label(label)
        self._not_from_a_handler("wait_for")
        with self._told:
            since = self._frame
        self.start()

        def there() -> Reading | None:
            reading = self._events.entered.get(label)
            return (
                reading
                if reading and (reading.frame > since or self._events.emotion == label)
                else None
            )

        with self._told:
            self._told.wait_for(lambda: there() or self._outlet.over, timeout)
            found = there()
        if found is None:
            self._raise_failure()
        return found

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end: of a recording, or by `close` in another thread. False after `timeout` seconds without it.

        Raises:
            EdgeemoError: what ended the sensor; and whatever a handler raised.
        """
        self._not_from_a_handler("wait")
        self.start()
        with self._told:
            over = self._told.wait_for(lambda: self._outlet.over, timeout)
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
        """End the thread, close camera and model. Does no harm twice.

        Raises:
            EdgeemoError: what ended the sensor, and whatever a handler raised, unless it was raised already.
        """
        with self._lock:
            self._closed = True
            self._stop.set()
            self._outlet.finish()
            if self._feed:
                self._feed.close()
            self._camera.close()
        thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join(10.0)
            if thread.is_alive():
                log.error("a handler has not come back for 10 s; it is left to itself")
                return
            self._recognizer.close()
        elif thread is None:
            self._recognizer.close()
        atexit.unregister(self.close)
        with self._told:
            self._told.notify_all()
        if thread is not threading.current_thread():
            self._raise_failure()

    def _set(self, event: str, handler: Handler | None) -> None:
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
            feed.close()
            self._outlet.finish()
            with self._told:
                self._told.notify_all()

    def _watch(self, feed: Feed, notifier: Notifier) -> None:
        lost_told, came = 0.0, 0
        health_told = due = time.monotonic()
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
                if now - lost_told >= _LOSS_EVERY:
                    self._tell_loss(feed, notifier, first=not lost_told)
                    lost_told = now
            elif taken is not None or (resting and feed.counters.frames > came):
                if lost_told:
                    notifier.status("frames come again")
                notifier.alive()
                lost_told = 0.0
            came = feed.counters.frames
            if now - health_told >= _HEALTH_EVERY:
                health_told = now
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
        self._outlet.put(Seen(taken.frame, tuple(readings)), self._stop)

    def _tell_loss(self, feed: Feed, notifier: Notifier, *, first: bool) -> None:
        if first:
            notifier.status(str(feed.lost))
            self._reader.forget()
        number, dropped = max(self._frame, 0), feed.counters.dropped
        gone = Reading(time.time(), number, dropped=dropped, fps=self._reader.fps, camera_ok=False)
        self._tell(gone, time.monotonic())
        self._outlet.put(Seen(None, (gone,)), self._stop)

    def _tell(self, reading: Reading, frame_time: float) -> None:
        self._events.update(reading, frame_time)
        with self._told:
            self._frame = reading.frame
            self._told.notify_all()

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


def _opened(camera: str | os.PathLike[str] | Camera, size: tuple[int, int], fps: float) -> Camera:
    if isinstance(camera, str | os.PathLike):
        return open_camera(os.fspath(camera), size=size, fps=fps)
    try:
        camera.open()
    except AttributeError:
        raise InvalidInput(
            f"expected a camera's name, a path or a Camera, received {camera!r}"
        ) from None
    return camera


def _smoothing(
    bundle: Bundle | None,
    wanted: bool,
    window: float | None,
    hold_time: float | None,
    floor: float | None,
) -> Smoothing:
    """The bundle's smoothing, or none, with what was asked for in its place. Raises InvalidInput."""
    base = (bundle.manifest.smoothing if bundle else DEFAULT_SMOOTHING) if wanted else OFF
    given = {"window": window, "hold_time": hold_time, "floor": floor}
    smoothing = replace(base, **{key: value for key, value in given.items() if value is not None})
    check(smoothing)
    return smoothing


def _check(faces: str, detect_every: int | None, fps: float | None, stall: float) -> None:
    if faces not in FACES:
        raise InvalidInput(f"expected faces {' or '.join(FACES)}, received {faces!r}")
    if detect_every is not None and not 1 <= detect_every <= 1000:
        raise InvalidInput(f"expected detect_every of 1 to 1000 frames, received {detect_every}")
    if fps is not None and not 0.01 <= fps <= 1000:
        raise InvalidInput(f"expected fps of 0.01 to 1000 frames a second, received {fps}")
    if not 0.1 <= stall <= 3600:
        raise InvalidInput(f"expected a stall of 0.1 to 3600 seconds, received {stall}")
