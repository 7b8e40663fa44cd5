"""Between the sensor's thread and who iterates over its readings."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgeemo.cameras import Frame
from edgeemo.results import Reading


@dataclass(frozen=True)
class Seen:
    """A frame that was looked at, and what was read from it; no frame where the camera is gone."""

    frame: Frame | None
    readings: tuple[Reading, ...]


class Outlet:
    """Between the sensor's thread and who iterates: of a live camera the newest, of a recording one after the other."""

    def __init__(self, live: bool) -> None:
        self._live = live
        self._news = threading.Condition()
        self._held: deque[Seen] = deque(maxlen=1)
        self._takers = 0
        self.over = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        """While somebody takes, a recording waits for him."""
        self._attach(1)
        try:
            yield
        finally:
            self._attach(-1)

    def _attach(self, by: int) -> None:
        with self._news:
            self._takers += by
            self._news.notify_all()

    def put(self, seen: Seen, stop: threading.Event) -> None:
        """Offer the next; of a recording, once the one before was taken, if anybody takes, or `stop` is set."""
        with self._news:
            if not self._live:
                self._news.wait_for(lambda: not self._held or not self._takers or stop.is_set())
            self._held.append(seen)
            self._news.notify_all()

    def take(self) -> Seen | None:
        """The next; None when all is over."""
        with self._news:
            self._news.wait_for(lambda: self._held or self.over)
            seen = self._held.popleft() if self._held else None
            self._news.notify_all()
            return seen

    def finish(self) -> None:
        """Nothing comes any more; what is held may still be taken."""
        with self._news:
            self.over = True
            self._news.notify_all()
