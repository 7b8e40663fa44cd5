"""Writes frames as a video: by ffmpeg, a program of its own, or else by OpenCV."""

import shutil
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.files import for_c, translated, written_beside
from edgeemo.errors import MissingDependency, StorageError
from edgeemo.optional import is_installed, need

ENDINGS = (".avi", ".mkv", ".mp4")
_CODES = {".avi": "MJPG", ".mkv": "XVID", ".mp4": "mp4v"}  # OpenCV's, which it can always write
_SLOWEST, _FASTEST, _USUAL = 1.0, 60.0, 10.0  # frames a second
_LONGEST_STILL = (
    10.0  # seconds for which the last frame stands where none comes, as of a lost camera
)

Frame = NDArray[np.uint8]


class _Encoder(Protocol):
    def write(self, frame: Frame) -> None:
        """Encode uint8 (H, W, 3) RGB."""

    def close(self) -> None:
        """End the file."""


class VideoWriter:
    """A video of frames that come at times of their own. A context manager: what came is kept,
    whatever ends it.

    Args:
        path: the file, whose ending is one of ENDINGS.
        fps: frames a second that were asked for; by default, and where fewer come, the rate of the
            first two.

    Raises:
        MissingDependency: neither ffmpeg nor OpenCV is there.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path = path
        self._asked = fps
        self.frames = 0
        """Frames of the video."""
        self.left_out = 0
        """Frames of another size than the first one."""
        self._ffmpeg = shutil.which("ffmpeg")
        if not self._ffmpeg and not is_installed("cv2"):
            raise MissingDependency(
                "ffmpeg is needed to write a video and is not installed; run: sudo apt install"
                " ffmpeg"
            )
        self._stack = ExitStack()
        self._encoder: _Encoder | None = None
        self._first: tuple[Frame, float] | None = None
        self._begin, self._fps = 0.0, _USUAL

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()

    def add(self, frame: Frame, at: float) -> None:
        """The frame uint8 (H, W, 3) RGB of a time in seconds.

        Raises:
            StorageError: the file cannot be written.
        """
        if self._encoder is None:
            if self._first is None:
                self._first = frame, at
                return
            self._open(at)
        self._put(frame, at)

    def finish(self) -> None:
        """End the file, and put it in its place. Does no harm twice.

        Raises:
            StorageError: it cannot be written.
        """
        if self._encoder is None and self._first is not None:
            self._open(self._first[1])
        self._first = None
        with translated(self.path, "--annotate"):
            self._stack.close()

    def _open(self, second: float) -> None:
        assert self._first is not None
        frame, first = self._first
        apart = second - first
        self._fps = 1 / apart if apart > 0 else _USUAL
        # Frames that are sampled are not always equally far apart.
        if self._asked and self._asked < 1.5 * self._fps:
            self._fps = self._asked
        self._fps = min(max(self._fps, _SLOWEST), _FASTEST)
        self._begin = first
        with translated(self.path, "--annotate"):
            part = self._stack.enter_context(written_beside(self.path))
        kind = _ByFfmpeg if self._ffmpeg else _ByOpenCV
        self._encoder = kind(self.path, part, frame.shape[:2], self._fps)
        self._shape = frame.shape
        self._stack.callback(self._encoder.close)
        self._put(frame, first)

    def _put(self, frame: Frame, at: float) -> None:
        """Write the frame as often as its time asks for, so that the video runs as life did."""
        assert self._encoder is not None
        if frame.shape != self._shape:
            self.left_out += 1
            return
        due = round((at - self._begin) * self._fps) + 1 - self.frames
        most = round(_LONGEST_STILL * self._fps)
        if due > most:
            self._begin += (due - most) / self._fps
        for _ in range(min(due, most)):
            self._encoder.write(frame)
            self.frames += 1


class _ByFfmpeg:
    """H.264 where this ffmpeg has it, which browsers play."""

    def __init__(self, path: Path, part: Path, shape: tuple[int, ...], fps: float) -> None:
        height, width = shape
        self._path = path
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        command = [
            "ffmpeg", "-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{width}x{height}", "-r", f"{fps:.6f}", "-i", "pipe:0", "-an",
            # Chroma of half the size needs even sides.
            "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p",
            *(("-movflags", "+faststart") if path.suffix.lower() == ".mp4" else ()),
            "-y", f"file:{part}",
        ]  # fmt: skip
        # In a session of its own: Ctrl-C is for us, and ffmpeg ends its file when the pipe ends.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )

    def write(self, frame: Frame) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            self._process.wait()
            raise self._refused() from None

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its return code says so
            self._process.stdin.close()
        with self._said:
            if self._process.wait():
                raise self._refused()

    def _refused(self) -> StorageError:
        self._said.seek(0)
        said = self._said.read(4096).decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(said) if line.strip()), "it does not say why")
        return StorageError(
            f"{self._path}: cannot be written (ffmpeg: {last.strip()[:200]}); choose another"
            " --annotate"
        )


class _ByOpenCV:
    """MPEG-4 or JPEG pictures, which players show and few browsers do."""

    def __init__(self, path: Path, part: Path, shape: tuple[int, ...], fps: float) -> None:
        self._cv2: Any = need("cv2", "opencv", "to write a video without ffmpeg")
        code = self._cv2.VideoWriter.fourcc(*_CODES[path.suffix.lower()])
        height, width = shape
        self._writer = self._cv2.VideoWriter(for_c(part), code, fps, (width, height))
        if not self._writer.isOpened():
            raise StorageError(
                f"{path}: cannot be written (OpenCV has no encoder for it); install ffmpeg, or "
                "choose another --annotate"
            )

    def write(self, frame: Frame) -> None:
        self._writer.write(self._cv2.cvtColor(frame, self._cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()
