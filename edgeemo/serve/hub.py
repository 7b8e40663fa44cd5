"""Readings from the sensor's thread to every client: each has a short queue of its own, so that a
slow one hurts nobody.
"""

import asyncio
import itertools
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgeemo.cameras import Frame
from edgeemo.contract.checked import strict
from edgeemo.live.readings_queue import Seen
from edgeemo.results import Reading
from edgeemo.serve.request import Refusal

MOST_CLIENTS = 200
"""Clients that follow events, of both kinds together."""
WAITING = 64
"""Events that may wait for a client, two seconds at 30 a second; one that has more is dropped."""
MOST_RETAINED = 4096
"""Events that are kept at most, whatever `--retain` says."""


@dataclass(frozen=True)
class Event:
    """A reading on its way to the clients."""

    id: str
    """Of this start of the server, and a number: `k3x9-17`."""
    at: float
    """When it was told, seconds of `time.monotonic()`."""
    text: str
    """The reading as `watch --json` prints it."""
    changed: bool
    """Whether it is of a frame whose faces, emotions or camera are others than in the one
    before."""


@dataclass
class Counts:
    """What became of events and clients since the start."""

    events: int = 0
    """Readings that were told."""
    sent: int = 0
    """Events that were handed to clients' connections."""
    clients: int = 0
    """Clients that have followed events."""
    slow: int = 0
    """Clients that were dropped because they did not keep up."""
    refused: int = 0
    """Clients that were refused because there were too many."""


class Subscriber:
    """One client's events, newest last."""

    def __init__(self, changes: bool, retained: Sequence[Event]) -> None:
        self.changes, self.slow, self.over = changes, False, False
        self._retained = deque(retained)
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()

    def put(self, event: Event) -> None:
        """Add an event. A client that has WAITING already is slow, and gets none any more."""
        if self.changes and not event.changed:
            return
        if len(self._waiting) >= WAITING:
            self.slow = True
        else:
            self._waiting.append(event)
        self._news.set()

    def end(self) -> None:
        """Wake whoever waits: nothing comes any more."""
        self.over = True
        self._news.set()

    async def next(self, timeout: float) -> Event | None:
        """The next event; None after `timeout` seconds without one, or when it is `over` or
        `slow`.
        """
        if not (self._retained or self._waiting or self.over or self.slow):
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), timeout)
            except asyncio.TimeoutError:
                return None
        if self.over or self.slow:
            return None
        queue = self._retained or self._waiting
        return queue.popleft() if queue else None


class Hub:
    """The newest reading and frame, and who follows them.

    `tell` may be called by any thread; all else belongs to the event loop's.

    Args:
        frames: keep the newest frame, for those that may see it.
        retain: seconds that events are kept in memory for clients that come back; 0: none is.
    """

    def __init__(self, *, frames: bool = False, retain: float = 0.0) -> None:
        self.counts = Counts()
        self.reading: Reading | None = None
        """The last of the largest face; None before the first."""
        self.frame: tuple[int, Frame, tuple[Reading, ...]] | None = None
        """The newest, its number and readings; None while there is none, or none is kept."""
        self._frames, self._retain = frames, retain
        self._start = secrets.token_hex(3)
        self._numbers, self._frame_numbers = itertools.count(1), itertools.count(1)
        self._clients: set[Subscriber] = set()
        self._retained: deque[Event] = deque(maxlen=MOST_RETAINED)
        self._newest: Event | None = None
        self._state: object = None
        self._frame_news = asyncio.Event()
        self.over = False
        """Whether nothing comes any more."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = threading.Event()

    def open(self) -> None:
        """Take what is told, from the running event loop on."""
        self._loop = asyncio.get_running_loop()
        self._opened.set()

    def tell(self, seen: Seen) -> None:
        """Hand a frame's readings to the event loop; what comes before it runs is not kept."""
        if not self._opened.is_set() or self._loop is None:
            return
        texts = [strict.dumps_line(reading.to_dict()) for reading in seen.readings]
        try:
            self._loop.call_soon_threadsafe(self._told, seen, texts)
        except RuntimeError:  # the loop has ended
            self._opened.clear()

    def _told(self, seen: Seen, texts: Sequence[str]) -> None:
        state = [(reading.face_id, reading.emotion, reading.camera_ok) for reading in seen.readings]
        changed, self._state = state != self._state, state
        now = time.monotonic()
        self.reading = seen.readings[0]
        for text in texts:
            event = Event(f"{self._start}-{next(self._numbers)}", now, text, changed)
            self._newest = event
            self.counts.events += 1
            if self._retain:
                self._retained.append(event)
                if len(self._retained) == 1:
                    self._forget()
            for client in self._clients:
                client.put(event)
        if self._frames:
            number = next(self._frame_numbers)
            self.frame = (number, seen.frame, tuple(seen.readings)) if seen.frame else None
            self._frame_news.set()
            self._frame_news = asyncio.Event()

    def _forget(self) -> None:
        """Drop what was retained for long enough, and come back for the rest, also where nothing is
        told any more."""
        now = time.monotonic()
        while self._retained and now - self._retained[0].at >= self._retain:
            self._retained.popleft()
        if self._retained and self._loop:
            self._loop.call_later(self._retained[0].at + self._retain - now, self._forget)

    @contextmanager
    def following(self, *, changes: bool = False, after: str = "") -> Iterator[Subscriber]:
        """A client's events from now on, begun with the newest.

        Args:
            changes: only those of frames where something changed.
            after: the id of the last event that the client has seen: what is retained of those
                that followed comes first, and the newest not again.

        Raises:
            Refusal: 503 while there are MOST_CLIENTS.
        """
        if len(self._clients) >= MOST_CLIENTS or self.over:
            self.counts.refused += 1
            raise Refusal(
                503, f"{MOST_CLIENTS} clients follow already; try again", {"retry-after": "5"}
            )
        client = Subscriber(changes, self._missed(changes, after))
        self._clients.add(client)
        self.counts.clients += 1
        try:
            yield client
        finally:
            self._clients.discard(client)
            self.counts.slow += client.slow

    def _missed(self, changes: bool, after: str) -> list[Event]:
        newest = [self._newest] if self._newest and self._newest.id != after else []
        ids = [event.id for event in self._retained]
        if after not in ids:
            return newest
        missed = list(self._retained)[ids.index(after) + 1 :]
        return [event for event in missed if event.changed or not changes]

    @property
    def following_now(self) -> int:
        """Clients that follow events now."""
        return len(self._clients)

    async def next_frame(self, after: int, timeout: float) -> int | None:
        """The number of the newest frame once it is not `after`; None after `timeout` seconds or at
        the end.
        """
        deadline = time.monotonic() + timeout
        while not self.over:
            if self.frame and self.frame[0] != after:
                return self.frame[0]
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            try:
                await asyncio.wait_for(self._frame_news.wait(), left)
            except asyncio.TimeoutError:
                return None
        return None

    def close(self) -> None:
        """End every client's events, and forget what is retained."""
        self.over = True
        self._opened.clear()
        self._retained.clear()
        self._frame_news.set()
        for client in self._clients:
            client.end()
