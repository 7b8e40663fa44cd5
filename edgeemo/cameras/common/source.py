"""What our cameras share: a resource, a first frame that proves it, reading and closing."""

import contextlib
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from edgeemo.cameras import FPS, SIZE, Frame
from edgeemo.cameras.common.shared import SharedResource
from edgeemo.errors import CameraError, EdgeemoError

T = TypeVar("T")


class Source(ABC, Generic[T]):
    """A camera made of one resource `T`: an OpenCV capture, a running program, a list of files.

    A source says how its resource is made, read and released; opening, closing from another thread
    and the first frame are here.

    Args:
        name: what messages call it, without users and passwords.
        size: width and height in pixels that are asked for.
        fps: frames a second that are asked for; of a recording without times, those of its own
            time.
    """

    live = True
    without_frames = "gives no frame; is it empty?"
    """What a source says that opens, and ends without a frame."""

    def __init__(self, name: str, *, size: tuple[int, int] = SIZE, fps: float = FPS) -> None:
        self.name, self._size, self._fps = name, size, fps
        self._resource: SharedResource[T] | None = None
        self._first: Frame | None = None

    def open(self) -> None:
        """Make the resource, and wait for a first frame, which `read` will give.

        Raises:
            MissingDependency: what it needs is not installed; the message says how to install it.
            CameraError: it cannot be opened or gives no frame, with the reason; or it was closed
                meanwhile.
            EdgeemoError: of another kind, as the source says.
        """
        self.close()
        resource = None
        try:
            self._resource = resource = SharedResource(self._start(), self._release, self.name)
            with resource.use() as thing:
                self._prepare(thing)
            self._first = self._next(resource)
        except EdgeemoError as error:
            interrupted = resource is not None and resource.closed
            self.close()
            if interrupted or not isinstance(error, CameraError):
                raise
            raise self._explained(error) from None
        if self._first is None:
            self.close()
            raise CameraError(f"{self.name}: {self.without_frames}")

    def read(self) -> Frame | None:
        """The next frame, as soon as it is there; None at the end of a recording.

        Raises:
            CameraError: the source is gone or hangs, or it was closed.
        """
        resource = self._resource
        if resource is None:
            raise CameraError(f"{self.name} is not open; call open() first")
        first, self._first = self._first, None
        return first or self._next(resource)

    def close(self) -> None:
        """Let the source go, at once or when the `read` that is under way returns.

        Does no harm twice, and may be called from any thread.
        """
        resource, self._resource, self._first = self._resource, None, None
        if resource:
            with contextlib.suppress(CameraError), resource.use() as thing:
                resource.close()  # first, so that no reader takes the interruption for a failure
                self._interrupt(thing)

    def _next(self, resource: SharedResource[T]) -> Frame | None:
        closed = CameraError(f"{self.name} was closed")
        with resource.use() as thing:
            try:
                frame = self._take(thing)
            except CameraError:
                if resource.closed:
                    raise closed from None
                raise
        if resource.closed:
            raise closed
        return frame

    @abstractmethod
    def _start(self) -> T:
        """Make the resource. Raises EdgeemoError where that fails."""

    def _prepare(self, thing: T) -> None:
        """Configure a new resource; it is released where this raises CameraError."""

    @abstractmethod
    def _take(self, thing: T) -> Frame | None:
        """The next frame of the resource; None at the end. Raises CameraError where none comes."""

    def _interrupt(self, thing: T) -> None:
        """End a `_take` that waits in another thread, where the resource allows that."""

    @abstractmethod
    def _release(self, thing: T) -> None:
        """Let the resource go; called once, when nobody uses it."""

    def _explained(self, error: CameraError) -> CameraError:
        """An error of opening, with the reason where the resource itself gives none."""
        return error
