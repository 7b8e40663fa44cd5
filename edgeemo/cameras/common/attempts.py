"""A camera that is the first of several that opens; the others are explained."""

import logging
from collections.abc import Callable, Sequence

from edgeemo.cameras import Camera, Frame
from edgeemo.errors import (
    BrokenDependency,
    CameraError,
    EdgeemoError,
    InvalidInput,
    MissingDependency,
)

log = logging.getLogger("edgeemo.camera")

Attempt = tuple[str, Callable[[], Camera]]
"""What messages call it, and what makes the closed camera."""


class FirstThatOpens:
    """The first that opens of several cameras; which one is decided by `open`, each time.

    Args:
        name: what messages call it until it is open; then it has the chosen camera's.
        attempts: best first; all of them live.
        failure: how the message begins where none opens.
        notes: why others were not even tried.
    """

    live = True

    def __init__(
        self, name: str, attempts: Sequence[Attempt], failure: str, notes: Sequence[str] = ()
    ) -> None:
        self.name, self._attempts, self._failure = name, list(attempts), failure
        self._notes = list(notes)
        self.chosen: Camera | None = None
        self.reason = ""

    def open(self) -> None:
        """Try each; `chosen` and `reason` say which one was taken, and why not those before it.

        Raises:
            CameraError: none opens; the message says why of each.
        """
        self.close()
        refused = list(self._notes)
        for name, make in self._attempts:
            try:
                camera = make()
                camera.open()
            except (CameraError, MissingDependency, BrokenDependency, InvalidInput) as error:
                # Broken is no reason to stop: pip's numpy breaks the system's picamera2, and
                # rpicam-vid still works.
                broken = isinstance(error, BrokenDependency)
                log.log(logging.WARNING if broken else logging.INFO, "not taken: %s", error)
                refused.append(_with_name(name, error))
                continue
            self.reason = "; ".join(["the first that works", *refused])
            self.chosen, self.name = camera, camera.name
            log.info("%s taken: %s", camera.name, self.reason)
            return
        raise CameraError(f"{self._failure}. Tried: {'; '.join(refused)}")

    def read(self) -> Frame | None:
        """The chosen camera's next frame. Raises CameraError like it, or when none is open."""
        if self.chosen is None:
            raise CameraError(f"{self.name} is not open; call open() first")
        return self.chosen.read()

    def close(self) -> None:
        """Close the chosen camera. Does no harm twice."""
        chosen, self.chosen = self.chosen, None
        if chosen:
            chosen.close()


def _with_name(name: str, error: EdgeemoError) -> str:
    return str(error) if str(error).startswith(name) else f"{name}: {error}"
