"""A resource that one thread uses and any thread may close, such as an OpenCV capture."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from edgeemo.errors import CameraError

T = TypeVar("T")


class SharedResource(Generic[T]):
    """A resource that is released exactly once: by `close`, or by the thread that uses it then.

    It must not be released under the feet of a thread that reads from it, so who closes it
    meanwhile leaves the release to that thread, when it is done.

    Args:
        resource: what is shared.
        release: releases it.
        name: of the camera, for messages.
    """

    def __init__(self, resource: T, release: Callable[[T], None], name: str) -> None:
        self._resource, self._release, self._name = resource, release, name
        # Reentrant: a signal handler may close what its own thread is reading from.
        self._lock = threading.RLock()
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
            yield self._resource
        finally:
            with self._lock:
                self._users -= 1
                last = self._closed and not self._users
            if last:
                self._release(self._resource)

    def close(self) -> None:
        """Release the resource, or leave that to the thread that uses it. Does no harm twice."""
        with self._lock:
            last = not self._closed and not self._users
            self._closed = True
        if last:
            self._release(self._resource)
