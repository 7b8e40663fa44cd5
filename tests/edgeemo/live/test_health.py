"""Health: memory as the kernel tells it, temperature from zones that may lie, a line for the log.

And systemd's socket.
"""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeemo.live.health import temperature_c
from edgeemo.live.systemd import Notifier


def test_memory_is_what_the_kernels_own_table_says_and_sees_what_is_allocated() -> None:
    # In a process of its own, where nothing else is freed meanwhile.
    code = """
import numpy as np
from edgeemo.live.health import rss_mb
before = rss_mb()
block = np.ones(50_000_000, np.uint8)
print(before, rss_mb(), open("/proc/self/status").read())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, status = done.stdout.split(maxsplit=2)
    (line,) = re.findall(r"VmRSS:\s*(\d+) kB", status)
    assert float(after) == pytest.approx(int(line) * 1024 / 1e6, abs=3)
    assert float(after) - float(before) == pytest.approx(50, abs=5)


def test_temperature_is_that_of_the_hottest_zone_and_nonsense_does_not_count(
    tmp_path: Path,
) -> None:
    assert temperature_c(tmp_path) is None
    for number, text in enumerate(["41500\n", "68250\n", "not a number", "999000", "-273000", ""]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    (tmp_path / "thermal_zone9").mkdir()
    assert temperature_c(tmp_path) == 68.25


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(0.2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield channel


def test_ready_comes_first_and_the_watchdog_hears_at_most_once_a_second(
    heard: socket.socket,
) -> None:
    notifier = Notifier()
    for _ in range(100):
        notifier.alive()
    notifier.status("camera\ngone")
    notifier.stopping()
    assert [heard.recv(100) for _ in range(3)] == [
        b"READY=1\nWATCHDOG=1",
        b"STATUS=camera gone",
        b"STOPPING=1",
    ]
    with pytest.raises(TimeoutError):
        heard.recv(100)


def test_abstract_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0edgeemo-test-notify")
        channel.settimeout(0.2)
        monkeypatch.setenv("NOTIFY_SOCKET", "@edgeemo-test-notify")
        Notifier().alive()
        assert channel.recv(100) == b"READY=1\nWATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@"])
def test_nobody_to_tell_is_no_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.alive()
    notifier.stopping()
