"""A sensor on a network camera that does everything wrong, for as long as wanted.

python -m benchmarks.endurance.soak_camera ../shared/media/test.mp4 [--minutes 30] [--yunet FILE]

A process of its own serves the video as motion JPEG over HTTP, with a fault every few seconds, in
an order that the seed draws: it falls silent, sends garbage between the pictures, changes their
size, closes in the middle of one, gives wrong lengths, damages the JPEGs, and sends one or up to
1,000 frames a second. `EmotionSensor` reads it with the default detector.

Prints one JSON line; exit code 1 where the sensor died, counters do not add up, a loss was not
healed, or memory grows by more than 1 MB an hour once it has settled.
"""

import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo import EmotionSensor
from edgeemo.cameras.files import Video
from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.faces import SMALLEST_FACE, open_detector
from edgeemo.live.health import Health, rss_mb

FAULTS = ("stall", "garbage", "size", "close", "length", "corrupt", "slow", "fast")
_FPS = 30.0
_SILENT = 5.0  # seconds; the sensor gives up after 3
_GOOD = 4.0  # seconds of good frames before each fault, on average
_FRAMES = 60  # of the video, looped
_SETTLED = 600.0  # seconds from which on memory is judged
_SLOPE = 1.0  # MB an hour
_SAMPLE = 5.0  # seconds between two looks at the memory
_NO_READING = 30.0  # seconds without any reading after which the sensor counts as dead

Jpegs = list[bytes]


class FaultyServer(ThreadingHTTPServer):
    """Serves /video, and what it has sent as JSON at /counts."""

    daemon_threads = True

    def __init__(self, video: Path, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.whole, self.half = _jpegs(video)
        self.rng = np.random.default_rng(seed)
        self.counts: Counter[str] = Counter()


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/counts":
            self.end_headers()
            self.wfile.write(json.dumps(self.server.counts).encode())
            return
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        self.server.counts["connections"] += 1
        with contextlib.suppress(OSError):  # the other side has closed
            while self._play():
                pass

    def log_message(self, *_: object) -> None:
        pass

    def _play(self) -> bool:
        """Good frames for a while, then a fault. False where that closes the connection."""
        rng = self.server.rng
        self._send(seconds=_GOOD * rng.uniform(0.5, 1.5))
        fault = str(rng.choice(FAULTS))
        self.server.counts[fault] += 1
        if fault == "stall":
            time.sleep(_SILENT)
        elif fault == "close":
            jpeg = self.server.whole[0]
            self.wfile.write(_head(len(jpeg)) + jpeg[: len(jpeg) // 2])
            return False
        elif fault == "slow":
            self._send(seconds=5.0, fps=1.0)
        elif fault == "fast":
            self._send(seconds=2.0, fps=1000.0)
        else:
            self._send(seconds=1.5, fault=fault)
        return True

    def _send(self, *, seconds: float, fps: float = _FPS, fault: str = "") -> None:
        jpegs = self.server.half if fault == "size" else self.server.whole
        begin = due = time.monotonic()
        while due - begin < seconds:
            jpeg = jpegs[self.server.counts["frames"] % len(jpegs)]
            self.wfile.write(_part(jpeg, fault, self.server.rng))
            self.server.counts["frames"] += 1
            due = max(due + 1 / fps, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))


def _head(length: int) -> bytes:
    return f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n".encode()


def _part(jpeg: bytes, fault: str, rng: np.random.Generator) -> bytes:
    """A picture of the stream, with what is wrong with it."""
    length = len(jpeg)
    if fault == "length":
        length += int(rng.integers(-length // 2, length // 2))
    if fault == "corrupt":
        damaged = bytearray(jpeg)
        for place in rng.integers(2, length, 20):
            damaged[place] = int(rng.integers(256))
        jpeg = bytes(damaged)
    garbage = rng.bytes(int(rng.integers(1, 20_000))) if fault == "garbage" else b""
    return garbage + _head(length) + jpeg + b"\r\n"


def _jpegs(video: Path) -> tuple[Jpegs, Jpegs]:
    """The first frames of a video, whole and of half the size."""
    recording = Video(video, loop=True)
    recording.open()
    whole, half = [], []
    for _ in range(_FRAMES):
        frame = recording.read()
        assert frame is not None
        whole.append(_jpeg(frame.pixels))
        half.append(_jpeg(np.ascontiguousarray(frame.pixels[::2, ::2])))
    recording.close()
    return whole, half


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert done
    return bytes(data.tobytes())


@contextlib.contextmanager
def served(video: Path, seed: int) -> Iterator[str]:
    """The address of a faulty server in a process of its own, whose memory is not ours."""
    command = [sys.executable, "-m", "benchmarks.endurance.soak_camera", str(video), "--serve"]
    with subprocess.Popen(
        [*command, "--seed", str(seed)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def slope(samples: list[tuple[float, float]]) -> float:
    """MB an hour: the median slope of all pairs of the minutes' medians (Theil and Sen)."""
    minutes: dict[int, list[float]] = {}
    for at, mb in samples:
        minutes.setdefault(int(at // 60), []).append(mb)
    points = [(minute, float(np.median(values))) for minute, values in sorted(minutes.items())]
    pairs = [(60 * (b[1] - a[1]) / (b[0] - a[0])) for i, a in enumerate(points) for b in points[:i]]
    return float(np.median(pairs)) if pairs else 0.0


def watch(sensor: EmotionSensor, minutes: float) -> tuple[list[tuple[float, float]], float]:
    """Read for so long: (seconds, MB) of memory, and the longest time without a reading."""
    begin = last = time.monotonic()
    samples: list[tuple[float, float]] = []
    longest = 0.0
    for _ in sensor:
        now = time.monotonic()
        longest, last = max(longest, now - last), now
        if not samples or now - begin - samples[-1][0] >= _SAMPLE:
            samples.append((now - begin, rss_mb() or 0.0))
        if now - begin > 60 * minutes:
            return samples, longest
    raise AssertionError("the sensor ended by itself")


def verdicts(
    health: Health, sent: dict[str, int], grown: float | None, longest: float, left: int
) -> dict[str, bool]:
    """What must be, and whether it is."""
    return {
        "readings_came": longest < _NO_READING and health.looked_at > 0,
        "frames_add_up": health.frames == health.looked_at + health.dropped,
        "no_more_frames_than_sent": health.frames <= sent["frames"],
        "losses_are_healed": health.losses - health.reconnects in (0, 1),
        "memory_is_flat": grown is None or grown < _SLOPE,
        "threads_and_descriptors_are_gone": left <= 0,
    }


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True))
@click.option("--minutes", type=click.FloatRange(0.1), default=30.0, show_default=True)
@click.option("--yunet", type=click.Path(path_type=Path, exists=True), help="YuNet's model file.")
@click.option("--seed", default=0, show_default=True)
@click.option("--serve", is_flag=True, hidden=True)
def main(video: Path, minutes: float, yunet: Path | None, seed: int, serve: bool) -> None:
    """Run a sensor on VIDEO, as a faulty network camera serves it."""
    if serve:
        server = FaultyServer(video, seed)
        say(server.server_address[1])
        server.serve_forever()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    logging.getLogger("edgeemo").setLevel(logging.CRITICAL)  # of each fault it would say something
    report = run(video, minutes, yunet, seed)
    say(json.dumps(report))
    sys.exit(0 if all(report["checks"].values()) else 1)


def run(video: Path, minutes: float, yunet: Path | None, seed: int) -> dict[str, Any]:
    """What became of it, as plain JSON values; "checks" are what must be true."""
    detector = open_detector("auto", yunet, smallest_face=SMALLEST_FACE)
    error, samples, longest, before = "", [(0.0, 0.0)], 0.0, _open_things()
    with served(video, seed) as address:
        sensor = EmotionSensor(f"{address}/video", detector=detector)
        try:
            samples, longest = watch(sensor, minutes)
            sensor.close()
        except Exception as died:
            error = f"{type(died).__name__}: {died}"
        health = sensor.health()
        with urllib.request.urlopen(f"{address}/counts") as answer:
            sent = json.load(answer)
    gc.collect()
    settled = [sample for sample in samples if sample[0] >= _SETTLED]
    grown = slope(settled) if len({int(at // 60) for at, _ in settled}) >= 5 else None
    checks = {"not_dead": not error}
    return {
        "machine": machine(),
        "detector": detector.name,
        "minutes": round(samples[-1][0] / 60, 2),
        "seed": seed,
        "error": error,
        "sent": sent,
        "health": health.to_dict(),
        "longest_without_reading_s": round(longest, 2),
        "rss_mb": [round(mb, 1) for _, mb in samples[:: max(1, len(samples) // 12)]],
        "rss_mb_an_hour": None if grown is None else round(grown, 2),
        "checks": checks | verdicts(health, sent, grown, longest, _open_things() - before),
    }


def _open_things() -> int:
    """Threads and descriptors of this process."""
    return threading.active_count() + len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    main()
