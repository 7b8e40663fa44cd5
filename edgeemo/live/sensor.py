"""The main job on a device: a camera, watched for months; emotions become readings and calls."""

import logging
import os
from collections.abc import Callable, Iterator
from types import TracebackType

from edgeemo.cameras import Camera, choose_camera, missing_parts
from edgeemo.cameras.common.redact import redacted
from edgeemo.cameras.files import Paced, Pictures
from edgeemo.cameras.sampled import Sampled
from edgeemo.cameras.turned import is_stills, turned
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.labels import match_label
from edgeemo.errors import EdgeemoError, InvalidInput
from edgeemo.faces import SMALLEST_FACE, Detector, open_detector
from edgeemo.live.events import Events, Handler, Happening
from edgeemo.live.feed.feed import as_camera_error
from edgeemo.live.feed.frame_reader import FrameReader
from edgeemo.live.health import Health
from edgeemo.live.options import SensorOptions
from edgeemo.live.readings_queue import Seen
from edgeemo.live.watcher import Source, Watcher
from edgeemo.models import DEFAULT_MODEL
from edgeemo.recognizer import Recognizer
from edgeemo.results import Reading

FACES = ("largest", "all")

log = logging.getLogger("edgeemo.live.sensor")


class EmotionSensor:
    """A camera with a model behind it: an iterator of readings, and a caller of handlers.

    A context manager.

    Most need no more than the model's name and a hold time; who wants another artifact, more
    threads, an NVIDIA GPU or a detector of their own opens the recognizer, and passes it on:

        EmotionSensor(hold_time=0.8)
        EmotionSensor("rtsp://door/live", model="small", detector="haar", faces="all")
        EmotionSensor("csi", recognizer=Recognizer("visitors.edgeemo", threads=2))
        EmotionSensor("0", options=SensorOptions(fps=5, size=(1280, 720)))

    The camera is opened at once. A thread of its own looks at the newest frame of a live camera,
    from the first handler, wait or iteration on; each frame of a recording in turn, from the first
    wait or iteration on. A camera that is gone, hangs or comes back with another size is opened
    again, with growing pauses; readings say `camera_ok` meanwhile. A frame or a face that fails is
    counted and skipped; 10 s of nothing else end the sensor.

    A sensor that nobody refers to any more ends, as if it were closed; keep it while handlers are
    to be called.

    Labels are the recognizer's (`labels`), which are its bundle's: sensors of different labels live
    side by side.

    Args:
        camera: a word such as "auto", "0", "rtsp://…", "csi" or a path
            (edgeemo.cameras.open_camera), or any object with the protocol of
            edgeemo.cameras.Camera, such as a FakeCamera.
        recognizer: opened; stays the caller's, who closes it after the sensor. By default one is
            opened for `model` and `detector`, and closed with the sensor.
        model: name of a shipped bundle, path of a .edgeemo file, an opened Bundle, or "slot" for
            the installed one; by default "small".
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
        owns_recognizer = recognizer is None
        self._recognizer = _recognizer(recognizer, model, detector)
        try:
            options.smoothing_of(self._recognizer.bundle, hold_time)  # before a camera is opened
            opened = _opened(camera, options)
        except BaseException:
            if owns_recognizer:
                self._recognizer.close()  # a model on trial is not to blame
            raise
        stills = is_stills(opened)
        smoothing = options.smoothing_of(self._recognizer.bundle, hold_time, stills=stills)
        heal = opened.live
        if options.realtime and not opened.live:
            opened = Paced(opened)
        reader = FrameReader(
            self._recognizer,
            smoothing,
            faces=faces,
            detect_every=options.detect_every or (None if opened.live else 1),
            view=options.view,
            stills=stills,
        )
        self._watcher = Watcher(
            Source(opened, options, heal),
            reader,
            Events(smoothing.hold_time, self.labels),
            self._recognizer.close if owns_recognizer else _nothing,
            owner=self,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that readings can bring: the recognizer's, in the order of its scores."""
        return self._recognizer.labels

    @property
    def recognizer(self) -> Recognizer:
        """What looks for faces and names their emotions: the caller's, or the sensor's own."""
        return self._recognizer

    @property
    def live(self) -> bool:
        """Whether frames come by themselves, so that only the newest counts, as of a camera."""
        return self._watcher.live

    def __enter__(self) -> "EmotionSensor":
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
            InvalidInput: the sensor is closed, or a handler iterates, which only its own return
                could feed.
            EdgeemoError: what ended the sensor; and whatever a handler raised.
        """
        for seen in self.observations():
            yield from seen.readings

    def observations(self) -> Iterator[Seen]:
        """Like iterating, with each frame's pixels, for those who want to show them."""
        watcher = self._watcher
        watcher.refuse_in_a_handler("iterating")
        with watcher.queue.attached():
            watcher.start()
            while (seen := watcher.take()) is not None:
                yield seen
        watcher.raise_failure()

    def start(self) -> None:
        """Start looking, if nothing else has. Handlers, waiting and iterating do it by themselves.

        Raises:
            InvalidInput: the sensor is closed.
        """
        self._watcher.start()

    def when(
        self, label: str, handler: Handler | None, *, otherwise: Handler | None = None
    ) -> None:
        """Call `handler`, without arguments or with the Reading, when the emotion becomes `label`,
        and `otherwise` when it is that no longer: another one, or nobody's.

        `sensor.when("happy", lamp.on, otherwise=lamp.off)`. Handlers run on the sensor's thread,
        one at a time. The first reading sets the state and calls nobody. Other handlers for the
        same label replace these; None removes. What a handler raises ends the sensor, and is raised
        again by `wait`, `wait_for`, iterating or `close`.

        Raises:
            UnknownLabel: a word for none of `labels`; the message lists them.
            InvalidInput: a handler that takes neither nothing nor one argument.
        """
        self._watcher.set_handler(match_label(label, self.labels), handler, otherwise)

    @property
    def when_changed(self) -> Callable[[Handler | None], None]:
        """Call a handler each time that the emotion changes, to None too.

        `sensor.when_changed = show`, or as a call.
        """
        return lambda handler: self._watcher.set_handler(Happening.CHANGED, handler)

    @when_changed.setter
    def when_changed(self, handler: Handler | None) -> None:
        self._watcher.set_handler(Happening.CHANGED, handler)

    @property
    def when_no_face(self) -> Callable[[Handler | None], None]:
        """Call a handler when the last face has gone, or the camera.

        `sensor.when_no_face = lamp.off`, or as a call.
        """
        return lambda handler: self._watcher.set_handler(Happening.NO_FACE, handler)

    @when_no_face.setter
    def when_no_face(self, handler: Handler | None) -> None:
        self._watcher.set_handler(Happening.NO_FACE, handler)

    def wait_for(self, label: str, timeout: float | None = None) -> Reading | None:
        """Wait until the emotion is `label`, and give the reading that brought it.

        None after `timeout` seconds, or at the end.

        Raises:
            UnknownLabel: a word for none of `labels`.
            InvalidInput: the sensor is closed, or a handler waits for what only its return could
                bring.
        """
        label = match_label(label, self.labels)
        self._watcher.refuse_in_a_handler("wait_for")
        reading = self._watcher.wait_for(label, timeout)
        if reading is None:
            self._watcher.raise_failure()
        return reading

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end: of a recording, or by `close` in another thread.

        False after `timeout` seconds without it.

        Raises:
            EdgeemoError: what ended the sensor; and whatever a handler raised.
        """
        self._watcher.refuse_in_a_handler("wait")
        self._watcher.start()
        over = self._watcher.wait(timeout)
        self._watcher.raise_failure()
        return over

    def health(self) -> Health:
        """State, counters since the start, memory and temperature. Of a closed sensor too."""
        return self._watcher.health()

    def close(self) -> None:
        """End the thread, close the camera and what the sensor opened itself. Does no harm twice.

        Raises:
            EdgeemoError: what ended the sensor, and whatever a handler raised, unless it was raised
                already; or whatever somebody else's camera raises when it is closed.
        """
        self._watcher.close()


def _nothing() -> None:
    """A caller's recognizer stays open."""


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
    is_word = isinstance(camera, str | os.PathLike)
    if not is_word and (missing := missing_parts(camera)):
        number = isinstance(camera, int) and not isinstance(camera, bool)
        raise InvalidInput(
            "expected a camera's name, a path or an object with name, live, open, read and "
            f"close; received {str(camera)[:80]!r}, which has no {missing}"
            + (f'; a camera\'s number is written as text: EmotionSensor("{camera}")' * number)
        )
    try:
        if isinstance(camera, str | os.PathLike):
            opened = choose_camera(
                os.fspath(camera), size=options.size, fps=options.fps, stall=options.patience
            )[0]
        else:
            camera.open()
            opened = camera
    except EdgeemoError:
        raise
    except OSError as error:  # of somebody else's camera
        name = camera if isinstance(camera, str | os.PathLike) else camera.name
        raise as_camera_error(redacted(os.fspath(name)), error) from error
    if options.fps and isinstance(opened, Pictures) and opened.stills:
        opened.close()  # stills have no times to sample by
        raise InvalidInput(
            f"expected a live camera with fps, or a recording; received the stills of {opened.name}"
        )
    sequence = isinstance(opened, Pictures)
    if options.fps and not (opened.live or options.realtime or sequence):
        opened = Sampled(opened, options.fps)
    return turned(opened, options.view)
