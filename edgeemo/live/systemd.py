"""Tells systemd that all is well, over the socket that it names (sd_notify(3)), if any."""

import os
import socket
import threading
import time
import weakref
from typing import ClassVar

_EVERY = 1.0  # seconds between two WATCHDOG=1


class Notifier:
    """READY=1 at the first `alive`, WATCHDOG=1 at further ones, at most once a second.

    One for each sensor that was started. Where a process has several, WATCHDOG=1 comes only while
    each of them is alive: a dead one is not hidden by the others.
    """

    _all: ClassVar["weakref.WeakSet[Notifier]"] = weakref.WeakSet()
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._ready = self._alive = False
        self._notified_at = -1.0
        if self._address:
            with Notifier._lock:
                Notifier._all.add(self)

    def alive(self) -> None:
        """A frame was read."""
        if not self._address:
            return
        self._alive = True
        now = time.monotonic()
        if self._ready and now - self._notified_at < _EVERY:
            return
        with Notifier._lock:
            all_alive = all(other._alive for other in Notifier._all)
            if all_alive:
                for other in Notifier._all:
                    other._alive, other._notified_at = False, now
        words = [] if self._ready else ["READY=1"]
        self._ready = True
        if words or all_alive:
            self._send("\n".join([*words, *(["WATCHDOG=1"] if all_alive else [])]))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def forget(self) -> None:
        """Its sensor was closed: the others are alive without it."""
        with Notifier._lock:
            Notifier._all.discard(self)

    def stopping(self) -> None:
        """The end was asked for, or all is over. The last sensor's is taken for the process's."""
        with Notifier._lock:
            Notifier._all.discard(self)
            others = len(Notifier._all)
        if not others:
            self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(0.1)
                channel.sendto(message.encode(), name)
        except OSError:
            pass  # then systemd restarts us, which is all that it can do anyway
