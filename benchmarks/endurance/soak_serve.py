"""A server with everything that goes wrong around it, for an hour.

python -m benchmarks.endurance.soak_serve [--minutes 60]

Serves a camera of drawn frames (15 a second) that is gone for some seconds in each minute, to 50
clients of events and one of frames, and publishes readings at a real mosquitto that is killed and
started again each minute. The clients are a process of their own. At the end each of them has to
have had events until the last, what they had has to add up to what the server has sent, and nothing
may be left: no thread, no descriptor, no memory (at most 2 MB more than after the first fifth).

Prints a JSON line; exit code 1 where that is not so.
"""

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.broker import parse_broker
from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.errors import CameraError
from edgeemo.live.health import rss_mb
from edgeemo.live.mqtt import MqttPublisher
from edgeemo.serve.server import listen
from edgeemo.serve.service import Service, Settings
from tests.edgeemo.live.mosquitto import Mosquitto, brokering

CLIENTS = 50
MOST_MB = 2.0
_FPS = 15.0
_EVERY = 60.0  # seconds between two losses, and between two deaths of the broker
_GONE = 5.0  # seconds


@click.command()
@click.option("--minutes", default=60.0, help="How long.")
@click.option("--clients-of", "port", type=int, hidden=True, help="Be the clients' process.")
def main(minutes: float, port: int | None) -> None:
    """Serve, disturb, count."""
    if port:
        say(json.dumps(asyncio.run(_clients(port))))
        return
    with tempfile.TemporaryDirectory() as folder, brokering(Path(folder)) as broker:
        result, faults = _soak(60 * minutes, broker)
    say(json.dumps(result | {"machine": machine(), "faults": faults}))
    sys.exit(bool(faults))


def _soak(seconds: float, broker: Mosquitto) -> tuple[dict[str, Any], list[str]]:
    gc.collect()
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    begun = time.monotonic()
    with ExitStack() as stack:
        backend = FakeBackend(happy=0.9)
        camera = FakeCamera(_frames(begun, backend), live=True, fps=_FPS)
        recognizer = stack.enter_context(Recognizer(backend=backend, detector="whole"))
        sensor = stack.enter_context(EmotionSensor(camera, recognizer=recognizer))
        address = parse_broker(f"mqtt://127.0.0.1:{broker.port}/soak")
        publisher = stack.enter_context(MqttPublisher(address, sensor.labels))
        listening = stack.enter_context(listen("127.0.0.1", 0))
        port = listening.getsockname()[1]
        service = Service(sensor, listening, Settings(show_frames=True), followers=[publisher.tell])
        serving = threading.Thread(target=service.run)
        serving.start()
        command = [sys.executable, "-m", "benchmarks.endurance.soak_serve", "--clients-of", port]
        clients = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        samples = _disturb(begun, seconds, broker)
        health = sensor.health()
        service.stop()
        serving.join()
        heard = json.loads(clients.communicate(timeout=60)[0])
    gc.collect()
    time.sleep(0.5)
    after = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    counts, published = service.hub.counts, publisher.published
    result = {
        "minutes": round(seconds / 60, 1),
        "frames": health.frames,
        "losses": health.losses,
        "reconnects": health.reconnects,
        "events": counts.events,
        "sent": counts.sent,
        "received": sum(heard["events"]),
        "frames_seen": heard["frames"],
        "longest_silence_s": heard["silence"],
        "slow": counts.slow,
        "broker_connects": published.connects,
        "published": published.readings,
        "memory_mb_each_minute": [round(mb, 1) for mb, _, _ in samples[::10]],
        "threads": _range(threads for _, threads, _ in samples[len(samples) // 5 :]),
        "descriptors": _range(files for _, _, files in samples[len(samples) // 5 :]),
        "descriptors_each_minute": [files for _, _, files in samples[::10]],
        "threads_left": after[0] - before[0],
        "descriptors_left": after[1] - before[1],
    }
    return result, _faults(result, heard)


def _faults(result: dict[str, Any], heard: dict[str, Any]) -> list[str]:
    memory = result["memory_mb_each_minute"]
    grown = memory[-1] - memory[len(memory) // 5] if len(memory) > 1 else 0.0
    rules = {
        "memory grows": grown > MOST_MB,
        "a client got nothing at the end": min(heard["events"]) < max(heard["events"]) - 5,
        "sent and received differ": result["sent"] != result["received"],
        "a client was dropped": result["slow"] > 0,
        "a client heard nothing for long": result["longest_silence_s"] > 10,
        "a loss was not healed": result["losses"] != result["reconnects"],
        "the stream stood still": result["frames_seen"] < 5 * 60 * result["minutes"],
        "the broker was not found again": result["broker_connects"] < result["minutes"],
        "threads or descriptors are left": (
            result["threads_left"] > 0 or result["descriptors_left"] > 0
        ),
        # A reconnect may be under way when they are counted.
        "threads or descriptors grow": any(
            most - least > 4 for least, most in (result["threads"], result["descriptors"])
        ),
    }
    return [name for name, broken in rules.items() if broken]


def _frames(begun: float, backend: FakeBackend) -> Iterator[NDArray[np.uint8] | CameraError]:
    """Frames, but for some seconds in each minute; the emotion changes each three seconds."""
    number = 0
    while True:
        number += 1
        at = time.monotonic() - begun
        if 20 < at % _EVERY < 20 + _GONE:
            yield CameraError("the plug is out")
        backend.say(**{("happy", "sad", "surprise")[int(at / 3) % 3]: 0.9})
        yield np.full((240, 320, 3), number % 256, np.uint8)


def _range(values: Iterable[int]) -> tuple[int, int]:
    listed = list(values)
    return min(listed), max(listed)


def _disturb(begun: float, seconds: float, broker: Mosquitto) -> list[tuple[float, int, int]]:
    """Kill the broker and start it again each minute.

    What this process holds at each tenth of a minute: memory in MB, threads and descriptors.
    """
    samples: list[tuple[float, int, int]] = []
    killed = 0
    while (at := time.monotonic() - begun) < seconds:
        if at > 40 + _EVERY * killed:
            killed += 1
            broker.kill()
            time.sleep(3)
            broker.start()
        time.sleep(max(0.0, 6 * (len(samples) + 1) - (time.monotonic() - begun)))
        files = len(os.listdir("/proc/self/fd"))
        samples.append((rss_mb() or 0.0, threading.active_count(), files))
    return samples


async def _clients(port: int) -> dict[str, Any]:
    """What all clients had: events of each, frames, the longest silence of one."""
    events = [_follow(port) for _ in range(CLIENTS)]
    *followed, frames = await asyncio.gather(*events, _look(port))
    return {
        "events": [count for count, _ in followed],
        "silence": round(max(silence for _, silence in followed), 1),
        "frames": frames[0],
    }


async def _follow(port: int) -> tuple[int, float]:
    return await _read(port, "/api/events", b"\ndata: ")


async def _look(port: int) -> tuple[int, float]:
    return await _read(port, "/api/stream.mjpg", b"--frame\r\n")


async def _read(port: int, path: str, mark: bytes) -> tuple[int, float]:
    """How often `mark` comes until the server ends, and the longest time without."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    count, silence, last, rest = 0, 0.0, time.monotonic(), b""
    while data := await reader.read(1 << 16):
        now = time.monotonic()
        silence, last = max(silence, now - last), now
        found = list(re.finditer(re.escape(mark), rest + data))
        count += len(found)
        cut = found[-1].end() if found else 0
        rest = (rest + data)[max(cut, len(rest + data) - len(mark) + 1) :]
    writer.close()
    return count, silence


if __name__ == "__main__":
    main()
