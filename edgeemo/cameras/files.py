"""Recordings: a video, a folder of pictures, one picture; and one played as if it were live."""

import logging
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edgeemo.cameras import FPS, Camera, Frame
from edgeemo.cameras.common.opencv import Capture
from edgeemo.cameras.common.source import Source
from edgeemo.contract.checked.reading import open_regular
from edgeemo.data.pictures import (
    MAX_PIXELS,
    MAX_PIXELS_OF_MANY,
    SUFFIXES,
    pixel_bound,
    read_picture,
)
from edgeemo.errors import CameraError, MissingFile, PictureError

# Frames a second that a container may claim; others are the stuff of broken headers.
_SLOWEST, _FASTEST = 0.1, 300.0

log = logging.getLogger("edgeemo.camera")


class Video(Source["_Playback"]):
    """A video file, through OpenCV's FFmpeg backend.

    `Frame.time` is the container's position in seconds; where that is missing or runs backwards,
    number / fps. Opening raises MissingFile where nothing lies at the path.

    Args:
        path: the file.
        loop: play it again and again, without end; the time runs on.
    """

    live = False
    without_frames = "the video has no frames that can be decoded; copy or convert it again"

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False) -> None:
        super().__init__(os.fspath(path))
        self._loop = loop

    def _start(self) -> "_Playback":
        _expect_video(self.name)
        return _Playback(self.name, self._loop)

    def _take(self, playback: "_Playback") -> Frame | None:
        return playback.next()

    def _release(self, playback: "_Playback") -> None:
        playback.close()


class _Playback:
    """A video that is being played. Raises CameraError where it is none."""

    def __init__(self, path: str, loop: bool) -> None:
        self._path, self._loop = path, loop
        self._capture = self._opened()
        self._clock = _Clock(self._capture.get("FPS"))
        self._played = False

    def next(self) -> Frame | None:
        """The next frame; None at the end.

        Raises CameraError where a loop finds no frames again.
        """
        frame = self._take()
        if frame is None and self._loop and self._played:
            # Opened anew: whether OpenCV finds the way back to the first frame depends on the
            # container.
            anew = self._opened()
            self._capture.close()
            self._capture = anew
            self._clock.start_again()
            frame = self._take()
            if frame is None:
                raise CameraError(f"{self._path}: has no frames any more; was the file changed?")
        self._played = True
        return frame

    def close(self) -> None:
        """Close the file."""
        self._capture.close()

    def _take(self) -> Frame | None:
        taken = self._capture.read()
        return None if taken is None else Frame(taken[0], self._clock.time_of(taken[1]))

    def _opened(self) -> Capture:
        # An absolute path, so that no name is taken for a protocol or a device.
        try:
            return Capture(self._path, os.path.abspath(self._path), "CAP_FFMPEG")
        except CameraError as error:
            raise CameraError(
                f"{error}; it is no video, or damaged, or of a kind that OpenCV has no decoder for"
            ) from None


class Pictures(Source[Iterator[Path]]):
    """A folder of pictures, by name, or one picture; each is one frame, number / fps its time.

    Opening raises MissingFile where nothing lies at the path, and PictureError where the one
    picture cannot be read.

    Args:
        path: a folder, whose pictures that cannot be read are skipped with a warning, or a file.
        fps: pictures a second, for `Frame.time`.
    """

    live = False

    def __init__(self, path: str | os.PathLike[str], *, fps: float = FPS) -> None:
        super().__init__(os.fspath(path), fps=fps)
        self._is_folder = False
        self._number = 0

    def _start(self) -> Iterator[Path]:
        path = Path(self.name)
        self._number, self._is_folder = 0, path.is_dir()
        pictures = _pictures_in(path) if self._is_folder else [path]
        reason = (
            f"none of its {len(pictures)} pictures can be read" if pictures else "no pictures in it"
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
        if self._begin is None:
            self._begin = time.monotonic() - frame.time
        self._shut.wait(max(0.0, self._begin + frame.time - time.monotonic()))
        if self._shut.is_set():
            raise CameraError(f"{self.name} was closed")
        return Frame(frame.pixels, time.monotonic())

    def close(self) -> None:
        """End a `read` that waits, and close the recording. Does no harm twice."""
        self._shut.set()
        self._recording.close()


class _Clock:
    """Positions of a video's frames: the container's where they make sense, and never backwards."""

    def __init__(self, fps: float) -> None:
        self.fps = fps if math.isfinite(fps) and _SLOWEST <= fps <= _FASTEST else FPS
        self._start = 0.0  # seconds, of this round of a loop
        self._number = 0
        self._last = -1.0

    def time_of(self, position: float) -> float:
        """The time of the next frame in seconds.

        `position` is the container's, from its beginning.
        """
        counted = self._start + self._number / self.fps
        claimed = self._start + position
        later = math.isfinite(claimed) and claimed > self._last and position >= 0
        self._last = claimed if later else max(counted, self._last)
        self._number += 1
        return self._last

    def start_again(self) -> None:
        """The next frame is the first again, one frame time behind the last."""
        self._start, self._number = self._last + 1 / self.fps, 0


def _pictures_in(folder: Path) -> list[Path]:
    try:
        return sorted(
            path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()
        )
    except OSError as error:
        raise CameraError(
            f"{folder}: cannot be listed ({error.strerror}); check its permissions"
        ) from None


def _expect_video(name: str) -> None:
    """Raises MissingFile, CameraError for what FFmpeg must not see.

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
