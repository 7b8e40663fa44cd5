"""edgeemo watch"""

import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from edgeemo.cameras.select import forms
from edgeemo.cli.options import artifact_option, detector_options, model_option, threads_option
from edgeemo.cli.shell import log_to_stderr, say
from edgeemo.contract.checked import strict
from edgeemo.errors import EdgeemoError, StorageError
from edgeemo.faces import SMALLEST_FACE

if TYPE_CHECKING:
    from edgeemo.cli.window import Window
    from edgeemo.live.health import Health
    from edgeemo.live.options import SensorOptions
    from edgeemo.live.sensor import EmotionSensor
    from edgeemo.recognizer import Recognizer
    from edgeemo.results import Reading

_REDRAW = 0.1  # seconds between two live lines


_HELP = """Watch a camera, or read a video, folder or picture (SOURCE), and say who looks how.

\b
edgeemo watch                            the first camera that works; a live line
edgeemo watch --camera 0 --json          one JSON object a frame and face
edgeemo watch visit.mp4 --json           each frame of a file, none dropped
edgeemo watch rtsp://camera/stream --fps 5 --record day.jsonl

A camera that is unplugged or hangs is opened again by itself; JSON lines say "camera_ok": false
meanwhile. Ctrl-C and SIGTERM end it: the exit code is 0.
"""


def _size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(16 <= side <= 8192 for side in size):
        raise click.BadParameter(
            f"expected WIDTHxHEIGHT of 16 to 8192 pixels, such as 640x480; received {value!r}"
        )
    return size


@click.command(help=_HELP)
@click.argument("source", required=False)
@click.option(
    "--camera",
    metavar="CAMERA",
    help=f"{forms()}  [default: auto]",
)
@model_option()
@artifact_option()
@detector_options()
@threads_option()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame and face on stdout.")
@click.option("--show", is_flag=True, help="Also show the frames with their faces in a window.")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="OUT.jsonl",
    help="Also write the JSON lines to a file.",
)
@click.option(
    "--faces", type=click.Choice(["largest", "all"]), default="largest", help="Which faces to read."
)
@click.option(
    "--fps",
    type=click.FloatRange(0.01, 1000),
    metavar="N",
    help="Look at no more than N frames a second.",
)
@click.option(
    "--realtime",
    is_flag=True,
    help="Play a file at its own pace and drop what comes too fast, as a camera would.",
)
@click.option(
    "--smoothing",
    type=click.Choice(["on", "off"]),
    default="on",
    help="off: the network's answer to each frame alone.",
)
@click.option(
    "--hold-time",
    type=click.FloatRange(0, 3600),
    metavar="SECONDS",
    help="How long another emotion must last before it is reported  [default: the bundle's]",
)
@click.option(
    "--floor",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Confidence below which no emotion is reported  [default: the bundle's]",
)
@click.option(
    "--detect-every",
    type=click.IntRange(1, 1000),
    metavar="K",
    help=(
        "Let the detector look at every K-th frame and follow faces between  "
        "[default: each of a file; as the frame rate allows]"
    ),
)
@click.option(
    "--smallest-face",
    type=click.FloatRange(0, 1, min_open=True),
    default=SMALLEST_FACE,
    show_default=f"{SMALLEST_FACE:.2f}",
    metavar="SHARE",
    help=(
        "The smallest face to be found, as a share of the frame's shorter side; "
        "smaller takes longer."
    ),
)
@click.option(
    "--size",
    callback=_size,
    default="640x480",
    metavar="WxH",
    help="Frame size that a camera is asked for.",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Log what the camera does, and each minute how all is, on stderr.",
)
def watch(
    source: str | None,
    camera: str | None,
    model: str,
    artifact: str | None,
    detector: str,
    detector_model: str | None,
    threads: int,
    as_json: bool,
    show: bool,
    record: Path | None,
    faces: str,
    fps: float | None,
    realtime: bool,
    smoothing: str,
    hold_time: float | None,
    floor: float | None,
    detect_every: int | None,
    smallest_face: float,
    size: tuple[int, int],
    verbose: bool,
) -> None:
    """The command; its text is _HELP."""
    from edgeemo.live.options import SensorOptions

    if source is not None and camera is not None:
        raise click.UsageError("name either SOURCE or --camera, not both")
    _start_log(verbose)
    recognizer = _Recognizer(model, artifact, detector, detector_model, threads, smallest_face)
    options = SensorOptions(
        smoothing == "on",
        floor=floor,
        detect_every=detect_every,
        fps=fps,
        size=size,
        realtime=realtime,
    )
    output = _Output(as_json, show, record)
    _run(camera or source or "auto", recognizer, faces, hold_time, options, output)


@dataclass(frozen=True)
class _Recognizer:
    """The recognizer that the command line asks for."""

    model: str
    """Name or path of the bundle."""
    artifact: str | None
    """Model file in it."""
    detector: str
    """One of DETECTORS."""
    detector_model: str | None
    """The detector's model file."""
    threads: int
    """Threads of one inference."""
    smallest_face: float
    """Share of the frame's shorter side."""

    def open(self) -> "Recognizer":
        from edgeemo.faces import open_detector
        from edgeemo.recognizer import Recognizer

        detector = open_detector(
            self.detector, self.detector_model, smallest_face=self.smallest_face
        )
        return Recognizer(
            self.model, detector=detector, artifact=self.artifact, threads=self.threads
        )


@dataclass(frozen=True)
class _Output:
    """Where readings go."""

    as_json: bool
    """JSON lines on stdout, instead of a live line."""
    show: bool
    """Frames in a window."""
    record: Path | None
    """JSON lines into a file."""


def _run(
    camera: str,
    recognizer: _Recognizer,
    faces: str,
    hold_time: float | None,
    options: "SensorOptions",
    output: _Output,
) -> None:
    from edgeemo.cli.window import Window
    from edgeemo.live.sensor import EmotionSensor

    try:
        with ExitStack() as stack:
            lines = stack.enter_context(_recording(output.record)) if output.record else None
            window = stack.enter_context(Window()) if output.show else None
            sensor = stack.enter_context(
                EmotionSensor(
                    camera,
                    recognizer=stack.enter_context(recognizer.open()),
                    faces=faces,
                    hold_time=hold_time,
                    options=options,
                )
            )
            stack.callback(lambda: say(f"edgeemo: {_summary(sensor.health())}", err=True))
            live = stack.enter_context(closing(_LiveLine()))
            _watch(sensor, output.as_json, window, lines, live)
    except KeyboardInterrupt:
        pass  # Ctrl-C and SIGTERM are how this usually ends


def _watch(
    sensor: "EmotionSensor",
    as_json: bool,
    window: "Window | None",
    lines: IO[str] | None,
    live: "_LiveLine",
) -> None:
    for seen in sensor.observations():
        for reading in seen.readings:
            line = strict.dumps_line(reading.to_dict())
            if lines:
                lines.write(line + "\n")
            if as_json:
                say(line)
        if not as_json:
            live.show(seen.readings)
        if window and seen.frame and not window.show(seen.frame.pixels, seen.readings):
            break


class _LiveLine:
    """One line that changes in place on a terminal; elsewhere a line for each change."""

    def __init__(self) -> None:
        self._in_place = sys.stdout.isatty()
        self._drawn = 0.0
        self._shown: object = None

    def show(self, readings: Sequence["Reading"]) -> None:
        now = time.monotonic()
        state = [(reading.face_id, reading.emotion, reading.camera_ok) for reading in readings]
        changed, self._shown = state != self._shown, state
        if not changed and (not self._in_place or now - self._drawn < _REDRAW):
            return
        self._drawn = now
        text = " | ".join(map(_words, readings)) + _rates(readings[0])
        if self._in_place:
            width = shutil.get_terminal_size().columns - 1
            click.echo("\r", nl=False)
            say(f"{text[:width]:<{width}}", end="")
        else:
            say(text)

    def close(self) -> None:
        """Leave the line as it is, and let what follows begin on another."""
        if self._in_place and self._drawn:
            say()


def _words(reading: "Reading") -> str:
    if not reading.camera_ok:
        return "camera gone, trying again"
    if reading.face_id is None:
        return "no face"
    bar = "#" * round(10 * reading.confidence)
    emotion = reading.emotion or "unsure"
    return f"face {reading.face_id}  {emotion:<8} {reading.confidence:>4.0%} {bar:<10}"


def _rates(reading: "Reading") -> str:
    return f"  {reading.latency_ms:.0f} ms  {reading.fps:.0f} fps  {reading.dropped} dropped"


def _summary(health: "Health") -> str:
    per_second = health.looked_at / health.uptime_s
    losses = (
        f", camera lost {health.losses} and back {health.reconnects} times" if health.losses else ""
    )
    bad = f", {health.bad_frames} unusable" if health.bad_frames else ""
    return (
        f"looked at {health.looked_at:,} of {health.frames:,} frames in {health.uptime_s:.1f} s "
        f"({per_second:.1f} a second), {health.inferences:,} faces{bad}{losses}"
    )


@contextmanager
def _recording(path: Path) -> Iterator[IO[str]]:
    """OUT.jsonl, written as OUT.jsonl.part line by line and renamed, whatever ends it."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", buffering=1) as file:
            yield file
    except OSError as error:
        if isinstance(error, EdgeemoError | BrokenPipeError) or error.filename not in (
            None,
            str(part),
        ):
            raise
        raise StorageError(
            f"{part}: cannot be written ({error.strerror or error}); choose another --record"
        ) from None
    finally:
        if part.exists():
            part.replace(path)


def _start_log(verbose: bool) -> None:
    log_to_stderr("edgeemo", logging.INFO if verbose else logging.WARNING)
