"""Recordings: a video file, a folder of pictures, one picture; and a recording played as if it were a live camera."""

import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeemo.cameras import FPS, Camera, Frame
from edgeemo.cameras.opencv import Capture
from edgeemo.cameras.shared import not_open
from edgeemo.data.pictures import SUFFIXES, read_picture
from edgeemo.errors import CameraError, MissingFile, PictureError

_SLOWEST, _FASTEST = (
    0.1,
    300.0,
)  # frames a second that a container may claim; others are the stuff of broken headers

log = logging.getLogger("edgeemo.camera")


class Video:
    """A video file, through OpenCV's FFmpeg backend.

    `Frame.time` is the container's position in seconds; where that is missing or runs backwards, number / fps.

    Args:
        path: the file.
        loop: play it again and again, without end; the time runs on.
    """

    live = False

    def __init__(self, path: str | os.PathLike[str], *, loop: bool = False) -> None:
        self.name = os.fspath(path)
        self._loop = loop
        self._capture: Capture | None = None
        self._waiting: Frame | None = None
        self._clock = _Clock(FPS)

    def open(self) -> None:
        """Open the file at its beginning.

        Raises:
            MissingDependency: OpenCV is not installed.
            MissingFile: nothing at the path.
            CameraError: not a video, or one without frames.
        """
        self.close()
        _expect_video(self.name)
        self._capture = self._start()
        self._clock = _Clock(self._capture.get("FPS"))
        self._waiting = self._take(self._capture)
        if self._waiting is None:
            self.close()
            raise CameraError(
                f"{self.name}: the video has no frames that can be decoded; copy or convert it again"
            )

    def read(self) -> Frame | None:
        """The next frame; None at the end. Raises CameraError when it is closed, or a loop finds no frames any more."""
        capture = self._capture
        if capture is None:
            raise not_open(self.name)
        waiting, self._waiting = self._waiting, None
        frame = waiting or self._take(capture)
        if frame is None and self._loop:
            frame = self._again(capture)
        return frame

    def close(self) -> None:
        """Close the file. Does no harm twice."""
        capture, self._capture, self._waiting = self._capture, None, None
        if capture:
            capture.close()

    def _start(self) -> Capture:
        # An absolute path, so that no name is taken for a protocol or a device.
        try:
            return Capture(self.name, os.path.abspath(self.name), "CAP_FFMPEG")
        except CameraError as error:
            raise CameraError(
                f"{error}; it is no video, or damaged, or of a kind that OpenCV has no decoder for"
            ) from None

    def _take(self, capture: Capture) -> Frame | None:
        taken = capture.read()
        return None if taken is None else Frame(taken[0], self._clock.time_of(taken[1]))

    def _again(self, capture: Capture) -> Frame:
        # Opened anew: whether OpenCV finds the way back to the first frame depends on the container.
        anew = self._start()
        if self._capture is not capture:
            anew.close()
            raise CameraError(f"{self.name} was closed")
        self._capture = anew
        capture.close()
        self._clock.start_again()
        frame = self._take(anew)
        if frame is None:
            raise CameraError(f"{self.name}: has no frames any more; was the file changed?")
        return frame


class Pictures:
    """A folder of pictures, by name, or one picture; each is one frame, number / fps its time.

    Args:
        path: a folder, whose pictures that cannot be read are skipped with a warning, or a file.
        fps: pictures a second, for `Frame.time`.
    """

    live = False

    def __init__(self, path: str | os.PathLike[str], *, fps: float = FPS) -> None:
        self.name = os.fspath(path)
        self._fps = fps
        self._left: Iterator[Path] | None = None
        self._waiting: Frame | None = None
        self._number = 0

    def open(self) -> None:
        """Look the pictures up, and read the first.

        Raises:
            MissingDependency: OpenCV is not installed.
            MissingFile: nothing at the path.
            PictureError: the one picture cannot be read.
            CameraError: a folder without a picture that can be read.
        """
        self.close()
        path = Path(self.name)
        self._number = 0
        if not path.is_dir():
            self._waiting = self._frame(path)
            self._left = iter(())
            return
        pictures = _pictures_in(path)
        self._left = iter(pictures)
        self._waiting = self._take(self._left)
        if self._waiting is None:
            self.close()
            reason = (
                f"none of its {len(pictures)} pictures can be read"
                if pictures
                else "no pictures in it"
            )
            raise CameraError(
                f"{self.name}: {reason}; expected {', '.join(sorted(SUFFIXES))} files"
            )

    def read(self) -> Frame | None:
        """The next picture; None behind the last. Raises CameraError when it is closed."""
        left = self._left
        if left is None:
            raise not_open(self.name)
        waiting, self._waiting = self._waiting, None
        return waiting or self._take(left)

    def close(self) -> None:
        """Forget the pictures. Does no harm twice."""
        self._left = self._waiting = None

    def _take(self, left: Iterable[Path]) -> Frame | None:
        for path in left:
            try:
                return self._frame(path)
            except (PictureError, MissingFile) as error:
                log.warning("skipped: %s", error)
        return None

    def _frame(self, path: Path) -> Frame:
        frame = Frame(read_picture(path), self._number / self._fps)
        self._number += 1
        return frame


class Paced:
    """A recording that behaves like a live camera: its frames come at their time, and bear the time at which they came.

    Every frame is given, one that is late at once.

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
        """Open the recording; its time begins to run with the first `read`. Raises what the recording raises."""
        self._begin = None
        self._recording.open()
        self._shut.clear()

    def read(self) -> Frame | None:
        """The next frame when its time has come; None at the end. Raises CameraError when it is closed meanwhile."""
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
        """The time of the next frame, in seconds; `position` is what the container says, from its beginning."""
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
    """Raises MissingFile, CameraError for what FFmpeg must not see: it draws a text as video, and follows playlists."""
    try:
        with open(name, "rb") as file:
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
