"""A camera without a camera, for applications' tests."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import Frame
from edgeemo.errors import CameraError

Event = NDArray[np.uint8] | Frame | CameraError | Callable[[], None]


class FakeCamera:
    """Gives the frames that it was told to give.

    Args:
        events: frames, uint8 (H, W, 3) RGB, given in turn. Other things can stand between them: a
            `CameraError` is raised, as when a plug is pulled, and reading goes on behind it once
            the camera is opened again; a `Frame` brings its own time; a function is called, for
            instance to wait.
        live: frames come at `fps` and only the newest counts, as from a real camera; else each is
            read in turn.
        fps: frames a second; of a recording too, whose positions it gives.

    `opened` and `closed` count calls.
    """

    def __init__(
        self, events: Iterable[Event], *, live: bool = False, fps: float = 30.0, name: str = "fake"
    ) -> None:
        self.name, self.live, self.fps = name, live, fps
        self.opened = self.closed = 0
        self._events: Iterator[Event] = iter(events)
        self._shut = threading.Event()
        self._number = 0
        self._next = 0.0

    def open(self) -> None:
        """Count, and give frames from here on."""
        self._shut.clear()
        self._next = time.monotonic()
        self.opened += 1

    def read(self) -> Frame | None:
        """The next frame; None when there are no more. Raises the CameraError that is due."""
        for event in self._events:
            if self._shut.is_set():
                break
            if isinstance(event, CameraError):
                raise event
            if callable(event):
                event()
                continue
            return self._frame(event)
        if self._shut.is_set():
            raise CameraError(f"{self.name} was closed")
        return None

    def _frame(self, event: NDArray[np.uint8] | Frame) -> Frame:
        number, self._number = self._number, self._number + 1
        if self.live:
            self._next += 1 / self.fps
            self._shut.wait(max(0.0, self._next - time.monotonic()))
        if isinstance(event, Frame):
            return event
        return Frame(event, time.monotonic() if self.live else number / self.fps)

    def close(self) -> None:
        """Count, and end a `read` that waits for its time."""
        self.closed += 1
        self._shut.set()
