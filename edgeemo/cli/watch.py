"""edgeemo watch"""

import logging
import re
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeemo.cli.following import Followers, Following, following_options
from edgeemo.cli.options import PlainPath
from edgeemo.cli.sensing import Sensing, sensing_options
from edgeemo.cli.shell import log_to_stderr, say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.outputs import check_apart
from edgeemo.errors import CameraError

if TYPE_CHECKING:
    from edgeemo.cli.window import Window
    from edgeemo.live.health import Health
    from edgeemo.live.record.recorder import Recorded, Recorder
    from edgeemo.live.sensor import EmotionSensor
    from edgeemo.results import Reading

_REDRAW = 0.1  # seconds between two live lines


_HELP = """Watch a camera, or read a video, folder or picture (SOURCE), and say who looks how.

\b
edgeemo watch                            the first camera that works
edgeemo watch --camera 0 --json          one JSON object a frame and face
edgeemo watch visit.mp4 --json           each frame of a file, none dropped
edgeemo watch pictures/                  each picture by itself, 2 before 10
edgeemo watch rtsp://camera/stream --fps 5 --record day.jsonl
edgeemo watch 0 --rotate 180 --region 0.25,0,0.5,1

A camera that is unplugged or hangs is opened again by itself; JSON lines say "camera_ok": false
meanwhile. Ctrl-C, SIGTERM and SIGHUP end it: the exit code is 0. It is 1 where the sensor died, and
where frames of a file could not be read.
"""


def _rotate(ctx: click.Context, param: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value == "daily":
        return value
    match = re.fullmatch(r"(\d{1,12})([KMG]?)", value)
    size = int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]] if match else 0
    if size < 1024:
        raise click.BadParameter(
            f"expected daily, or a size of 1K or more such as 500K, 10M or 1G; received {value!r}"
        )
    return size


@click.command(help=_HELP)
@click.argument("source", required=False)
@sensing_options()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a frame and face on stdout.")
@click.option("--show", is_flag=True, help="Also show the frames with their faces in a window.")
@click.option(
    "--record",
    type=PlainPath(),
    metavar="OUT.jsonl",
    help="Also append the JSON lines to a file, or write them to a pipe or a device.",
)
@click.option(
    "--record-rotate",
    "record_rotate",
    callback=_rotate,
    metavar="SIZE|daily",
    help="Go on in a new file at this size, such as 10M, or each day; OUT.000001.jsonl is full.",
)
@click.option(
    "--record-keep",
    "keep",
    type=click.IntRange(1),
    metavar="N",
    help="Keep the N newest full files  [default: all]",
)
@click.option(
    "--realtime",
    is_flag=True,
    help="Play a file at its own pace and drop what comes too fast, as a camera would.",
)
@following_options()
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Log what the camera does, and each minute how all is, on stderr.",
)
def watch(
    source: str | None,
    sensing: Sensing,
    following: Following,
    as_json: bool,
    show: bool,
    record: Path | None,
    record_rotate: int | str | None,
    keep: int | None,
    realtime: bool,
    verbose: bool,
) -> None:
    """The command; its text is _HELP."""
    if source is not None and sensing.camera is not None:
        raise click.UsageError("name either SOURCE or --camera, not both")
    if (record_rotate and not record) or (keep and not record_rotate):
        raise click.UsageError("--record-keep needs --record-rotate, and that needs --record")
    if record:
        check_apart(record, (sensing.camera or source, sensing.model, sensing.detector_model))
    log_to_stderr("edgeemo", logging.INFO if verbose else logging.WARNING)
    output = _Output(as_json, show, record, record_rotate, keep)
    _run(sensing, source or "auto", realtime, following, output)


@dataclass(frozen=True)
class _Output:
    """Where readings go."""

    as_json: bool
    """JSON lines on stdout, instead of a live line."""
    show: bool
    """Frames in a window."""
    record: Path | None
    """JSON lines into a file."""
    rotate: int | str | None
    """Bytes of a full file, or "daily"."""
    keep: int | None
    """Full files that stay."""

    def recorder(self) -> "Recorder | None":
        """What records, opened; None where nothing is recorded."""
        if self.record is None:
            return None
        from edgeemo.live.record.recorder import Recorder, Rotation

        size = self.rotate if isinstance(self.rotate, int) else None
        rotation = Rotation(size, self.rotate == "daily", self.keep) if self.rotate else None
        return Recorder(self.record, rotation)


def _run(
    sensing: Sensing, source: str, realtime: bool, following: Following, output: _Output
) -> None:
    from edgeemo.cli.window import Window

    try:
        with ExitStack() as stack:
            recorder = output.recorder()
            if recorder:
                stack.callback(lambda: _say_lost(recorder.recorded))
                stack.enter_context(recorder)
            window = stack.enter_context(Window()) if output.show else None
            sensor = stack.enter_context(sensing.open(source, realtime=realtime))
            stack.callback(lambda: say(f"edgeemo: {summary(sensor.health())}", err=True))
            followers = stack.enter_context(following.open(sensor))
            live = stack.enter_context(closing(_LiveLine()))
            _watch(sensor, output.as_json, window, recorder, live, followers)
        _check_end(sensor.health(), live=sensor.live)
    except KeyboardInterrupt:
        pass  # Ctrl-C, SIGTERM and SIGHUP are how this usually ends


def _check_end(health: "Health", *, live: bool) -> None:
    """Raise CameraError where a recording was not read whole. A live camera has no whole."""
    if health.bad_frames and not live:
        pictures = count_of(health.frames + health.bad_frames, "picture")
        raise CameraError(
            f"{health.bad_frames:,} of {pictures} could not be read; the log says which"
        )
    if health.frame_errors and not live:
        raise CameraError(
            f"{health.frame_errors:,} of {count_of(health.frames, 'frame')} could not be read; the "
            "log says why of some (--verbose)"
        )


def _watch(
    sensor: "EmotionSensor",
    as_json: bool,
    window: "Window | None",
    recorder: "Recorder | None",
    live: "_LiveLine",
    followers: Followers,
) -> None:
    for seen in sensor.observations():
        followers.tell(seen)
        for reading in seen.readings:
            line = strict.dumps_line(reading.to_dict())
            if recorder:
                recorder.write(line)
            if as_json:
                say(line)
        if not as_json:
            live.show(seen.readings)
        if window and seen.frame and not window.show(seen.frame.pixels, seen.readings):
            break


class _LiveLine:
    """One line that changes in place on a terminal; elsewhere a line for each change."""

    def __init__(self) -> None:
        self._in_place = sys.stdout is not None and sys.stdout.isatty()  # None: closed
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


def summary(health: "Health") -> str:
    """What a sensor has done, in a line."""
    per_second = health.looked_at / health.uptime_s
    losses = (
        f", camera lost {health.losses} and back {count_of(health.reconnects, 'time')}"
        if health.losses
        else ""
    )
    bad = f", {health.bad_frames} unusable" if health.bad_frames else ""
    bad += f", {health.frame_errors} failed" if health.frame_errors else ""
    if health.state == "camera lost":
        losses += f", gone now ({health.error})"
    return (
        f"looked at {health.looked_at:,} of {count_of(health.frames, 'frame')} in "
        f"{health.uptime_s:.1f} s ({per_second:.1f} a second), "
        f"{count_of(health.inferences, 'face')}{bad}{losses}"
    )


def _say_lost(recorded: "Recorded") -> None:
    if recorded.lost:
        say(
            f"edgeemo: recorded {count_of(recorded.lines, 'line')}, lost {recorded.lost:,}",
            err=True,
        )
