"""Tells systemd that all is well, over the socket that it names (sd_notify(3)), if any."""

import os
import socket
import time


class Notifier:
    """READY=1 at the first `alive`, WATCHDOG=1 at each further one, at most once a second.

    `stopping` comes at the end.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._notified_at = -1.0

    def alive(self) -> None:
        """A frame was looked at."""
        now = time.monotonic()
        if self._address and (self._notified_at < 0 or now - self._notified_at >= 1):
            self._send("READY=1\nWATCHDOG=1" if self._notified_at < 0 else "WATCHDOG=1")
            self._notified_at = now

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={' '.join(text.split())}")

    def stopping(self) -> None:
        """The end was asked for."""
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
