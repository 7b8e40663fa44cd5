"""Health: memory as the kernel tells it, temperature from zones that may lie, a line for the log.

And systemd's socket.
"""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.errors import BackendError
from edgeemo.live.health import State, temperature_c
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


def test_dead_sensor_is_not_hidden_from_the_watchdog_by_a_live_one(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    dead, alive = Notifier(), Notifier()
    alive.alive()
    assert heard.recv(100) == b"READY=1"  # the other has not read a frame yet
    now += 2
    dead.alive()
    assert heard.recv(100) == b"READY=1\nWATCHDOG=1"
    for _ in range(5):
        now += 2
        alive.alive()
    with pytest.raises(TimeoutError):
        heard.recv(100)
    dead.forget()  # its sensor is closed
    now += 2
    alive.alive()
    assert heard.recv(100) == b"WATCHDOG=1"
    dead.stopping()
    with pytest.raises(TimeoutError):  # the process goes on
        heard.recv(100)
    alive.stopping()
    assert heard.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("failing", [False, True])
def test_watchdog_hears_of_a_sensors_readings_and_not_of_frames_that_fail(
    heard: socket.socket, failing: bool
) -> None:
    class Broken(FakeBackend):
        def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise BackendError("out of memory")

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            yield np.zeros((48, 48, 3), np.uint8)

    backend = Broken() if failing else FakeBackend()
    camera = FakeCamera(endless(), live=True, fps=100)
    with EmotionSensor(camera, recognizer=Recognizer(detector="whole", backend=backend)) as sensor:
        sensor.start()
        end = time.monotonic() + 20
        while sensor.health().looked_at < 50 and time.monotonic() < end:
            time.sleep(0.01)
        if failing:
            with pytest.raises(TimeoutError):
                heard.recv(100)
        else:
            assert heard.recv(100) == b"READY=1\nWATCHDOG=1"


def test_health_line_keeps_words_together() -> None:
    health = EmotionSensor(FakeCamera([]), detector="whole").health()
    lost = replace(health, state=State.CAMERA_LOST, error="usb: no frame")
    assert str(health).startswith("state=starting uptime_s=")
    assert str(lost).startswith('state="camera lost" error="usb: no frame" uptime_s=')
    assert lost.to_dict()["state"] == "camera lost"
    assert json.loads(json.dumps(lost.to_dict()))["frame_age_s"] is None


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@"])
def test_nobody_to_tell_is_no_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notifier = Notifier()
    notifier.alive()
    notifier.stopping()
