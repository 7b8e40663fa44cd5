"""What one thread uses and any thread may close: an OpenCV capture, a program, a camera of libcamera."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from edgeemo.errors import CameraError

T = TypeVar("T")


class Held(Generic[T]):
    """A resource that is let go exactly once: by `close`, or, while another thread uses it, by that thread when it is done.

    Such a resource must not be released under the feet of a thread that reads from it.

    Args:
        thing: the resource.
        let_go: releases it.
        name: of the camera, for messages.
    """

    def __init__(self, thing: T, let_go: Callable[[T], None], name: str) -> None:
        self._thing, self._let_go, self._name = thing, let_go, name
        self._lock = (
            threading.RLock()
        )  # reentrant: a signal handler may close what its own thread is reading from
        self._users = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called, though a reader may still be at work."""
        return self._closed

    @contextmanager
    def use(self) -> Iterator[T]:
        """The resource, which stays until the block ends. Raises CameraError when it was closed."""
        with self._lock:
            if self._closed:
                raise CameraError(f"{self._name} was closed")
            self._users += 1
        try:
            yield self._thing
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed and not self._users
            if last:
                self._let_go(self._thing)

    def close(self) -> None:
        """Let the resource go, or leave that to the thread that uses it. Does no harm twice."""
        with self._lock:
            last = not self._closed and not self._users
            self._closed = True
        if last:
            self._let_go(self._thing)


def not_open(name: str) -> CameraError:
    """What `read` raises on a camera that is closed."""
    return CameraError(f"{name} is not open; call open() first")
