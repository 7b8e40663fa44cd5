"""What `edgeemo watch` keeps of a run beside readings: a summary, and a video with faces marked."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edgeemo.cli.shell import say
from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import EdgeemoError

if TYPE_CHECKING:
    from edgeemo.live.readings_queue import Seen
    from edgeemo.live.sensor import EmotionSensor


@dataclass(frozen=True)
class Wanted:
    """What is to be kept."""

    summary: Path | None
    """Emotion over time: .html, .csv or .png."""
    annotate: Path | None
    """A video."""
    language: str
    """Of what people read."""
    title: str
    """What is watched, as people name it."""
    fps: float | None
    """Frames a second that are looked at; None: all."""


class Kept:
    """Takes in what is seen, and writes it at the end, whatever ends it. A context manager.

    Args:
        wanted: what is to be kept.
        sensor: whose readings come.

    Raises:
        MissingDependency: a video, and nothing that writes one.
    """

    def __init__(self, wanted: Wanted, sensor: "EmotionSensor") -> None:
        from edgeemo.cli.video_writer import VideoWriter
        from edgeemo.live.summary import SummaryWriter

        self._wanted, self._live = wanted, sensor.live
        gap = 2 / wanted.fps if wanted.fps else 0.0
        self._summary = (
            SummaryWriter(sensor.labels, live=sensor.live, longest_gap=gap)
            if wanted.summary
            else None
        )
        self._video = VideoWriter(wanted.annotate, wanted.fps) if wanted.annotate else None

    def __enter__(self) -> "Kept":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:  # the one is written where the other cannot be
            stack.callback(self._finish_video)
            stack.callback(self._finish_summary)

    def add(self, seen: "Seen") -> None:
        """Take in a frame and its readings."""
        if self._summary:
            self._summary.add(seen.readings)
        if self._video and seen.frame:
            from edgeemo.drawing import annotate

            at = seen.readings[0].monotonic if self._live else seen.readings[0].time
            marked = annotate(seen.frame.pixels, seen.readings, self._wanted.language)
            self._video.add(marked, at)

    def _finish_summary(self) -> None:
        summary = self._summary.finish() if self._summary else None
        if summary and self._wanted.summary:
            from edgeemo.cli.summary.files import write_summary

            write_summary(self._wanted.summary, summary, self._wanted.title, self._wanted.language)
            say(f"wrote {self._wanted.summary}", err=True)

    def _finish_video(self) -> None:
        if self._video:
            self._video.finish()
            if self._video.frames:
                left_out = self._video.left_out
                sizes = f"; {count_of(left_out, 'frame')} of another size left out" * bool(left_out)
                say(f"wrote {self._video.path}{sizes}", err=True)


def length_of(source: str, fps: float | None) -> float | None:
    """How long a recording at a path lasts, in seconds of its own time, as far as that is told
    before it is read; None for anything else.

    It opens a video, so a sensor has to have done so first, which refuses what is none.
    """
    from edgeemo.data.pictures import SUFFIXES

    if os.path.isdir(source):
        names: Sequence[str] = os.listdir(source)
        count = sum(Path(name).suffix.lower() in SUFFIXES for name in names)
        return count / fps if fps else None
    if not os.path.isfile(source):
        return None
    from edgeemo.cameras.common.opencv import Capture

    try:
        capture = Capture(source, os.path.abspath(source), "CAP_FFMPEG")
    except EdgeemoError:
        return None
    try:
        frames, rate = capture.get("FRAME_COUNT"), capture.get("FPS")
    finally:
        capture.close()
    return frames / rate if 0 < frames < 1e9 and 0.1 <= rate <= 300 else None
