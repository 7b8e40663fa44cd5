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
    """A frame that was looked at, and what was read from it."""

    frame: Frame | None
    """None where the camera is gone."""
    readings: tuple[Reading, ...]
    """One a face, or one without a face."""


class ReadingsQueue:
    """Between the sensor's thread and who iterates.

    Of a live camera it gives the newest, of a recording one after the other.
    """

    def __init__(self, live: bool) -> None:
        self._live = live
        self._news = threading.Condition()
        self._waiting: deque[Seen] = deque(maxlen=1)
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
        """Offer the next.

        Of a recording, waits until the one before was taken, nobody takes, or `stop` is set.
        """
        with self._news:
            if not self._live:
                self._news.wait_for(lambda: not self._waiting or not self._takers or stop.is_set())
            self._waiting.append(seen)
            self._news.notify_all()

    def take(self) -> Seen | None:
        """The next; None when all is over."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self.over)
            seen = self._waiting.popleft() if self._waiting else None
            self._news.notify_all()
            return seen

    def finish(self) -> None:
        """Nothing comes any more; what waits may still be taken."""
        with self._news:
            self.over = True
            self._news.notify_all()
