"""Recordings: a video, a folder of pictures, one picture; and one played as if it were live."""

import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edgeemo.cameras import FPS, Camera, Frame
from edgeemo.cameras.common.playback import Playback
from edgeemo.cameras.common.source import Source
from edgeemo.cameras.common.timestamps import seconds
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.reading import open_regular
from edgeemo.data.pictures import (
    MAX_PIXELS,
    MAX_PIXELS_OF_MANY,
    SUFFIXES,
    pixel_bound,
    read_picture,
)
from edgeemo.errors import CameraError, MissingFile, PictureError

log = logging.getLogger("edgeemo.camera")


class Video(Source[Playback]):
    """A video file, through OpenCV's FFmpeg backend.

    `Frame.time` is the container's position in seconds; where that is missing or runs backwards,
    number / fps. Opening raises MissingFile where nothing lies at the path. Frames that are damaged
    are skipped, with a warning at the end; a video that ends long before its time raises
    CameraError there, with how many of how many frames were read.

    Args:
        path: the file.
        loop: play it again and again, without end; the time runs on.
    """

    live = False
    without_frames = "the video has no frames that can be decoded; copy or convert it again"

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False) -> None:
        super().__init__(os.fspath(path))
        self._loop = loop

    def _start(self) -> Playback:
        expect_video(self.name)
        return Playback(self.name, self._loop)

    def _take(self, playback: Playback) -> Frame | None:
        return playback.next()

    def _release(self, playback: Playback) -> None:
        playback.close()


class Pictures(Source[Iterator[Path]]):
    """A folder of pictures, or one picture; each is one frame, number / fps its time.

    A folder's are in natural order of their names: 2 before 10. Without `fps` they are stills that
    have nothing to do with each other (`stills`), with it a sequence of frames.

    Opening raises MissingFile where nothing lies at the path, and PictureError where the one
    picture cannot be read.

    Args:
        path: a folder, whose pictures that cannot be read are skipped with a warning, or a file.
        fps: pictures a second of a sequence, for `Frame.time`; of stills it is 30.
    """

    live = False

    def __init__(self, path: str | os.PathLike[str], *, fps: float | None = None) -> None:
        super().__init__(os.fspath(path), fps=FPS if fps is None else fps)
        self.stills = fps is None
        self._is_folder = False
        self._number = 0
        self.skipped = 0
        """Pictures that could not be read since it was opened."""

    def _start(self) -> Iterator[Path]:
        path = Path(self.name)
        self._number, self.skipped, self._is_folder = 0, 0, path.is_dir()
        pictures = _pictures_in(path) if self._is_folder else [path]
        reason = (
            f"none of its {count_of(len(pictures), 'picture')} can be read"
            if pictures
            else "no pictures in it"
        )
        self.without_frames = f"{reason}; expected {', '.join(sorted(SUFFIXES))} files"
        return iter(pictures)

    def _take(self, pictures: Iterator[Path]) -> Frame | None:
        most = pixel_bound(MAX_PIXELS_OF_MANY if self._is_folder else MAX_PIXELS)
        for path in pictures:
            try:
                frame = Frame(read_picture(path, most), self._number / self._fps)
            except (PictureError, MissingFile) as error:
                if not self._is_folder:
                    raise
                self.skipped += 1
                log.warning("skipped: %s", error)
                continue
            self._number += 1
            return frame
        return None

    def _release(self, pictures: Iterator[Path]) -> None:
        """Nothing: no file stays open."""


class Paced:
    """A recording that behaves like a live camera.

    Its frames come at their time, and bear the time at which they came. Every frame is given, one
    that is late at once.

    Args:
        recording: a camera that is not live; opened and closed with this one.
    """

    live = True

    def __init__(self, recording: Camera) -> None:
        self.name = recording.name
        self._recording = recording
        self._begin: float | None = None
        self._shut = threading.Event()

    def open(self) -> None:
        """Open the recording; its time begins to run with the first `read`.

        Raises what it raises.
        """
        self._begin = None
        self._recording.open()
        self._shut.clear()

    def read(self) -> Frame | None:
        """The next frame when its time has come; None at the end.

        Raises:
            CameraError: it was closed meanwhile.
        """
        frame = self._recording.read()
        if frame is None:
            return None
        at = seconds(frame.time) if isinstance(frame, Frame) else math.nan
        if math.isfinite(at):
            if self._begin is None:
                self._begin = time.monotonic() - at
            wait = self._begin + at - time.monotonic()
            self._shut.wait(min(max(0.0, wait), threading.TIMEOUT_MAX))
        if self._shut.is_set():
            raise CameraError(f"{self.name} was closed")
        return Frame(frame.pixels, time.monotonic()) if isinstance(frame, Frame) else frame

    def close(self) -> None:
        """End a `read` that waits, and close the recording. Does no harm twice."""
        self._shut.set()
        self._recording.close()


def natural(name: str) -> tuple[list[str | int], str]:
    """A key that puts names in the order in which people count: 2 before 10."""
    parts = re.split("([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _pictures_in(folder: Path) -> list[Path]:
    try:
        pictures = [
            path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
        return sorted(pictures, key=lambda path: natural(path.name))
    except OSError as error:
        raise CameraError(
            f"{folder}: cannot be listed ({error.strerror}); check its permissions"
        ) from None


def expect_video(name: str) -> None:
    """Raises MissingFile, CameraError for what FFmpeg and GStreamer must not see.

    It draws a text as video, and follows playlists.
    """
    try:
        with open_regular(name) as file:
            head = file.read(512)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(f"{name}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise CameraError(
            f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    if not head:
        raise CameraError(f"{name}: the file is empty; copy it again")
    printable = not any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
    if printable and not head.startswith(b"YUV4MPEG2"):
        raise CameraError(
            f"{name}: a text, not a video; name a video file, a picture or a folder of pictures"
        )
