"""edgeemo watch"""

import logging
import os
import re
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeemo.cli.following import Following, following_options
from edgeemo.cli.options import PlainPath, language_option
from edgeemo.cli.progress import on_terminal, progress
from edgeemo.cli.sensing import Sensing, sensing_options
from edgeemo.cli.shell import log_to_stderr, say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.outputs import Words, check_apart, check_output
from edgeemo.errors import CameraError

if TYPE_CHECKING:
    from edgeemo.cli.kept import Wanted
    from edgeemo.cli.live_line import LiveLine
    from edgeemo.cli.progress import Bar
    from edgeemo.live.health import Health
    from edgeemo.live.readings_queue import Seen
    from edgeemo.live.record.recorder import Recorded, Recorder


_STEPS = 1000  # of a recording's bar

_HELP = """Watch a camera, or read a video, folder or picture (SOURCE), and say who looks how.

\b
edgeemo watch                            the first camera that works
edgeemo watch --camera 0 --json          one JSON object a frame and face
edgeemo watch visit.mp4 --json           each frame of a file, none dropped
edgeemo watch pictures/                  each picture by itself, 2 before 10
edgeemo watch rtsp://camera/stream --fps 5 --record day.jsonl
edgeemo watch 0 --rotate 180 --region 0.25,0,0.5,1
edgeemo watch visit.mp4 --fps 5 --summary visit.html
edgeemo watch visit.mp4 --annotate marked.mp4 --lang es

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
    "--summary",
    type=PlainPath(),
    metavar="OUT.html|.csv|.png",
    help="Write at the end how long each emotion of each face lasted, and its share over time.",
)
@click.option(
    "--annotate",
    type=PlainPath(),
    metavar="OUT.mp4",
    help="Write the frames with their faces marked as a video, with ffmpeg or OpenCV.",
)
@language_option()
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
    summary: Path | None,
    annotate: Path | None,
    language: str,
    verbose: bool,
) -> None:
    """The command; its text is _HELP."""
    if source is not None and sensing.camera is not None:
        raise click.UsageError("name either SOURCE or --camera, not both")
    if (record_rotate and not record) or (keep and not record_rotate):
        raise click.UsageError("--record-keep needs --record-rotate, and that needs --record")
    camera = sensing.camera or source or "auto"
    inputs = (camera, sensing.model, sensing.detector_model)
    if record:
        check_apart(record, inputs)
    _check_outputs(camera, sensing.fps, summary, annotate, inputs)
    log_to_stderr("edgeemo", logging.INFO if verbose else logging.WARNING)
    output = _Output(
        as_json, show, record, record_rotate, keep, summary=summary, annotate=annotate,
        language=language,
    )  # fmt: skip
    _run(sensing, source or "auto", realtime, following, output)


def _check_outputs(
    camera: str, fps: float | None, summary: Path | None, annotate: Path | None, inputs: Words
) -> None:
    """Look at what is to be written before anything is read. Raises UsageError, InvalidInput,
    StorageError.
    """
    from edgeemo.cli.summary.files import ENDINGS
    from edgeemo.cli.video_writer import ENDINGS as VIDEO_ENDINGS
    from edgeemo.data.pictures import SUFFIXES

    for option, path, endings in (
        ("--summary", summary, ENDINGS),
        ("--annotate", annotate, VIDEO_ENDINGS),
    ):
        if path and path.suffix.lower() not in endings:
            raise click.UsageError(
                f"{option}: expected an ending of {', '.join(endings)}; received {path}"
            )
        if path:
            check_output(path, inputs, option=option)
    picture = os.path.isfile(camera) and Path(camera).suffix.lower() in SUFFIXES
    if (summary or annotate) and (picture or (os.path.isdir(camera) and fps is None)):
        raise click.UsageError(
            "--summary and --annotate need frames that follow each other: take a folder's "
            "pictures for a sequence with --fps, or run: edgeemo predict --csv"
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
    rotate: int | str | None
    """Bytes of a full file, or "daily"."""
    keep: int | None
    """Full files that stay."""
    summary: Path | None
    """Emotion over time, at the end."""
    annotate: Path | None
    """A video with faces marked."""
    language: str
    """Of what people read."""

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
    from edgeemo.cli.kept import Kept, length_of
    from edgeemo.cli.live_line import LiveLine
    from edgeemo.cli.window import Window

    try:
        with ExitStack() as stack:
            recorder = output.recorder()
            if recorder:
                stack.callback(lambda: _say_lost(recorder.recorded))
                stack.enter_context(recorder)
            window = stack.enter_context(Window(output.language)) if output.show else None
            sensor = stack.enter_context(sensing.open(source, realtime=realtime))
            stack.callback(lambda: say(f"edgeemo: {summary(sensor.health())}", err=True))
            camera = sensing.camera or source
            followers = stack.enter_context(following.open(sensor))
            kept = stack.enter_context(Kept(_wanted(output, camera, sensing.fps), sensor))
            length = length_of(camera, sensing.fps) if on_terminal() and not realtime else None
            # A live line on a terminal shows by itself how far it is.
            shown = bool(length) and not (sys.stdout and sys.stdout.isatty())
            bar = stack.enter_context(progress(Path(camera).name[:24], _STEPS, shown=shown))
            live = stack.enter_context(closing(LiveLine(output.language, length)))
            how_far = _HowFar(bar, length)
            for seen in sensor.observations():
                kept.add(seen)
                followers.tell(seen)
                _say_readings(seen, output, recorder, live)
                how_far.show(seen.readings[0].time)
                if window and seen.frame and not window.show(seen.frame.pixels, seen.readings):
                    break
        _check_end(sensor.health(), live=sensor.live)
    except KeyboardInterrupt:
        pass  # Ctrl-C, SIGTERM and SIGHUP are how this usually ends


def _wanted(output: _Output, camera: str, fps: float | None) -> "Wanted":
    from edgeemo.cameras.common.redact import redacted
    from edgeemo.cli.kept import Wanted

    title = Path(camera).name if os.path.exists(camera) else redacted(camera)
    return Wanted(output.summary, output.annotate, output.language, title or camera, fps)


class _HowFar:
    """Moves a bar to the position in a recording."""

    def __init__(self, bar: "Bar", length: float | None) -> None:
        self._bar, self._length, self._done = bar, length, 0

    def show(self, at: float) -> None:
        """Show that the frames up to the time `at`, in seconds, are done."""
        if self._length:
            done = min(_STEPS, round(_STEPS * at / self._length))
            self._bar.advance(max(0, done - self._done))
            self._done = max(done, self._done)


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


def _say_readings(
    seen: "Seen", output: _Output, recorder: "Recorder | None", live: "LiveLine"
) -> None:
    for reading in seen.readings:
        line = strict.dumps_line(reading.to_dict())
        if recorder:
            recorder.write(line)
        if output.as_json:
            say(line)
    if not output.as_json:
        live.show(seen.readings)


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
