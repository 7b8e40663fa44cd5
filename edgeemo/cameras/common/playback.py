"""A video that is being played: its frames and their times, past what is damaged in it."""

import logging
import math
import os

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import FPS, Frame
from edgeemo.cameras.common.container import Container, container_of
from edgeemo.cameras.common.opencv import Capture
from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import CameraError

# Frames a second that a container may claim; others are the stuff of broken headers.
_SLOWEST, _FASTEST = 0.1, 300.0
# Reads that may fail in a row. OpenCV says the same of a damaged frame as of the end: no frame;
# the next read goes on behind it. A read at the end takes some 40 microseconds.
_VAIN, _MOST_VAIN = 256, 100_000
_NEAR = 3  # frames that the end may be away from where the container has it
_PASSED_OVER = 0.1  # share of the frames from which on they are missing at the end

log = logging.getLogger("edgeemo.camera")


class Playback:
    """A video that is being played, from the first frame on. Raises CameraError where it is none.

    Frames that cannot be decoded are skipped, and counted in a warning at the end.

    Args:
        path: the file.
        loop: begin again at the end.
    """

    def __init__(self, path: str, loop: bool) -> None:
        self._path, self._loop = path, loop
        self._capture = self._opened()
        self._clock = Clock(self._capture.get("FPS"))
        self._played = self._over = False
        self._read = self._lost = 0  # frames of this round
        self._position = 0.0  # seconds, the container's, of the last frame

    def next(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            CameraError: a loop finds no frames again; or the video ends long before its time, with
                how many of how many frames were read.
        """
        frame = self._take()
        if frame is None and self._loop and self._played:
            # Opened anew: whether OpenCV finds the way back to the first frame depends on the
            # container.
            anew = self._opened()
            self._capture.close()
            self._capture = anew
            self._read = self._lost = 0
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
        if self._over and not self._loop:
            return None
        vain = 0
        while (taken := self._decoded()) is None:
            vain += 1
            if vain > max(_VAIN, min(self._counted() - self._read - self._lost, _MOST_VAIN)):
                if self._read:
                    self._judge()
                return None
        self._lost += vain
        self._read += 1
        self._position = max(self._position, taken[1])
        return Frame(taken[0], self._clock.time_of(taken[1]))

    def _decoded(self) -> tuple[NDArray[np.uint8], float] | None:
        try:
            return self._capture.read()
        except CameraError as error:  # of one frame
            log.info("%s", error)
            return None

    def _counted(self) -> int:
        """Frames that the container counts, or that its duration has room for; 0 where unknown."""
        counted = self._capture.get("FRAME_COUNT")
        return round(counted) if math.isfinite(counted) and 0 < counted < 1e9 else 0

    def _judge(self) -> None:
        """Say at the end, once, what was lost. Raises CameraError where the end comes too early."""
        if self._over:
            return
        self._over = True
        container = container_of(self._path)
        counted = round(self._counted() * container.shown)
        short = self._is_short(counted, container)
        if not short and not self._lost:
            return
        # A demuxer passes over damage in the middle without a word; then the end is the end.
        gone = counted - self._read - self._lost
        early = short and (container.missing > 0 or gone > _PASSED_OVER * counted)
        total = max(self._counted(), self._read + self._lost)
        said = f"{self._path}: read {self._read:,} of {count_of(total, 'frame')}"
        if not early or self._loop:
            log.warning("%s; the others are damaged, and were skipped", said)
            return
        why = (
            f"{container.missing:,} bytes are missing at the end of the file"
            if container.missing
            else "the rest of the file is damaged"
        )
        raise CameraError(f"{said}; {why}; copy or convert it again")

    def _is_short(self, counted: int, container: Container) -> bool:
        seen = self._read + self._lost + _NEAR
        if seen >= counted:
            return False
        if 0 < self._position >= (counted - _NEAR) / self._clock.fps:
            return False
        # Elsewhere the count is an estimate, in which a longer sound track counts too.
        return container.counts or container.missing > 0 or self._packets() > seen

    def _packets(self) -> int:
        """Frames in the file, none of them decoded."""
        packets = Capture(self._path, os.path.abspath(self._path), "CAP_FFMPEG", {"FORMAT": -1})
        try:
            return sum(1 for _ in iter(packets.skip, False))
        finally:
            packets.close()

    def _opened(self) -> Capture:
        # An absolute path, so that no name is taken for a protocol or a device.
        try:
            return Capture(self._path, os.path.abspath(self._path), "CAP_FFMPEG")
        except CameraError as error:
            raise CameraError(
                f"{error}; it is no video, or damaged, or of a kind that OpenCV has no decoder for"
            ) from None


class Clock:
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
