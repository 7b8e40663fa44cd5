"""What the tests of the cameras share.

Red pictures, programs that stand in for others, and a look at what is left behind.
"""

import os
import stat
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from edgeemo.cameras import Camera, Frame

RED, BLUE = (255, 0, 0), (0, 0, 255)  # RGB


def red_video(
    path: Path,
    *,
    codec: str = "MJPG",
    frames: int = 5,
    fps: float = 10,
    size: tuple[int, int] = (64, 48),
    colour: tuple[int, int, int] = RED,
) -> Path:
    """A video of one colour."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for _ in range(frames):
        writer.write(np.full((size[1], size[0], 3), colour[::-1], np.uint8))
    writer.release()
    return path


def red_jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG file's bytes."""
    done, data = cv2.imencode(".jpg", np.full((size[1], size[0], 3), RED[::-1], np.uint8))
    assert done
    return bytes(data.tobytes())


def assert_red(frame: Frame | None, size: tuple[int, int] = (64, 48)) -> Frame:
    """The frame, which is one, of this size, uint8, and red from edge to edge."""
    assert frame is not None
    assert frame.pixels.shape == (size[1], size[0], 3)
    assert frame.pixels.dtype == np.uint8
    assert frame.pixels[..., 0].min() > 220
    assert frame.pixels[..., 1:].max() < 40
    return frame


def rest(camera: Camera) -> list[Frame]:
    """All frames up to the end."""
    return list(iter(camera.read, None))  # type: ignore[arg-type]


def stand_in(path: Path, body: str) -> Path:
    """An executable Python program."""
    path.write_text(f"#!{sys.executable} -S\n" + textwrap.dedent(body))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Reader(threading.Thread):
    """Reads one frame in a thread of its own, and keeps what came of it."""

    def __init__(self, camera: Camera) -> None:
        super().__init__(daemon=True)
        self.camera = camera
        self.result: Frame | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.camera.read()
        except Exception as error:
            self.result = error

    def outcome(self) -> Frame | Exception | None:
        """What the read gave or raised; it must end."""
        self.join(30)
        assert not self.is_alive()
        return self.result


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that happens in another thread or process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def children() -> set[int]:
    """Our child processes, zombies too."""
    processes = set()
    for about in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = about.read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == os.getpid():
            processes.add(int(about.parent.name))
    return processes


@contextmanager
def nothing_is_left() -> Iterator[None]:
    """No descriptor, thread or child that was not there before.

    Other ends of connections may take a moment to notice.
    """
    descriptors, threads, before = _descriptors(), threading.active_count(), children()
    yield
    until(
        lambda: (
            _descriptors() <= descriptors
            and threading.active_count() <= threads
            and children() <= before
        )
    )


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
