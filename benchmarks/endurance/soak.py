"""A sensor under faults for as long as wanted.

Nothing grows, nothing hangs, nothing stale is handed on, counters add up.

python -m benchmarks.endurance.soak ../shared/media/test.mp4 --yunet
../shared/models/face_detection_yunet_2026may.onnx [--minutes 10]

The video is looped as fast as it decodes, as if it were a live camera, with the real detector and
network. Faults come in at random (seeded): the camera is gone and cannot be opened for a while, it
freezes, it gives garbage, its size changes, its times are wrong; and each change of emotion keeps a
handler busy for 200 ms. Each frame carries the time of its capture in its first pixels, which the
detector reads: that is the age at which it was handed on, whatever the sensor itself believes.

Exit code 1 when something is not as it must be.
"""

import gc
import logging
import os
import sys
import threading
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo import EmotionSensor, Reading
from edgeemo.cameras import Frame
from edgeemo.cameras.files import Video
from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.errors import CameraError
from edgeemo.faces import SMALLEST_FACE, Detector, open_detector
from edgeemo.live.health import rss_mb
from edgeemo.live.options import SensorOptions
from edgeemo.results import Box

_STALL = 3.0  # seconds, the sensor's own
_GONE = 1.5  # seconds for which a camera that is gone cannot be opened
_SETTLED = 60.0  # seconds from which on memory must not grow


class FaultyCamera:
    """A looped video as a live camera with faults.

    `faults` counts them by kind, `returned` when it last worked again.
    """

    live = True

    def __init__(self, video: Path, seed: int, every: float) -> None:
        self.name = video.name
        self._video = Video(video, loop=True)
        self._rng = np.random.default_rng(seed)
        self._every = every
        self._next = time.monotonic() + every
        self._back = 0.0
        self._closed = threading.Event()
        self._odd = 0  # frames that are still to be odd
        self._kind = ""
        self.faults: dict[str, int] = {}
        self.lost_at: float | None = None

    def open(self) -> None:
        """Open the video, unless the camera is gone."""
        if time.monotonic() < self._back:
            raise CameraError(f"{self.name}: gone")
        self._closed.clear()
        self._kind, self._odd = "", 0
        self._video.open()

    def close(self) -> None:
        """Close the video, and end a read that is frozen."""
        self._closed.set()
        self._video.close()

    def read(self) -> Frame | None:
        """A frame with the time of its capture in its first eight bytes, or a fault."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._rng.uniform(0.5, 1.5) * self._every
            self._start_fault(now)
        frame = self._video.read()
        assert frame is not None
        pixels, captured = frame.pixels, time.monotonic()
        if self._odd:
            self._odd -= 1
            return self._odd_frame(pixels, captured)
        return Frame(_stamped(pixels, captured), captured)

    def _start_fault(self, now: float) -> None:
        self._kind = str(
            self._rng.choice(["gone", "frozen", "empty", "noise", "size", "nan", "back"])
        )
        self.faults[self._kind] = self.faults.get(self._kind, 0) + 1
        if self._kind == "gone":
            self._back, self.lost_at = now + _GONE, now
            raise CameraError(f"{self.name}: unplugged")
        if self._kind == "frozen":
            self.lost_at = now
            self._closed.wait(60)
            raise CameraError(f"{self.name}: was closed")
        self._odd = 10

    def _odd_frame(self, pixels: NDArray[np.uint8], captured: float) -> Frame:
        if self._kind == "empty":
            return Frame(pixels[:0], captured)
        if self._kind == "noise":
            pixels = self._rng.integers(0, 255, pixels.shape, dtype=np.uint8)
        if self._kind == "size":
            self.lost_at = captured
            pixels = np.ascontiguousarray(pixels[::2, ::2])
        wrong = {"nan": float("nan"), "back": captured - 1e6}.get(self._kind, captured)
        return Frame(_stamped(pixels, captured), wrong)


def _stamped(pixels: NDArray[np.uint8], captured: float) -> NDArray[np.uint8]:
    pixels.reshape(-1)[:8] = np.frombuffer(np.float64(captured).tobytes(), np.uint8)
    return pixels


class _Watched:
    """A real detector that reads from the pixels how old a frame is."""

    def __init__(self, detector: Detector) -> None:
        self.name = detector.name
        self.ages: list[float] = []
        self._detector = detector

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        captured = float(np.frombuffer(frame_rgb.reshape(-1)[:8].tobytes(), np.float64)[0])
        self.ages.append(time.monotonic() - captured)
        return self._detector.detect(frame_rgb)


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--yunet",
    type=click.Path(path_type=Path, exists=True),
    help="YuNet's model file; without, Haar.",
)
@click.option("--minutes", type=click.FloatRange(0.1), default=10.0, show_default=True)
@click.option(
    "--every",
    type=click.FloatRange(0.5),
    default=4.0,
    show_default=True,
    help="Seconds between faults, on average.",
)
@click.option("--seed", default=0, show_default=True)
def main(video: Path, yunet: Path | None, minutes: float, every: float, seed: int) -> None:
    """Run a sensor on the looped VIDEO under faults."""
    logging.getLogger("edgeemo").setLevel(logging.ERROR)  # of each fault it would say something
    camera = FaultyCamera(video, seed, every)
    detector = _Watched(
        open_detector("yunet" if yunet else "haar", yunet, smallest_face=SMALLEST_FACE)
    )
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    handled: list[float] = []

    def slow(reading: Reading) -> None:
        handled.append(time.monotonic())
        time.sleep(0.2)

    start = time.monotonic()
    reported: list[float] = []
    healed: list[float] = []
    memory: list[tuple[float, float]] = []
    longest = 0.0  # seconds without any reading
    limits = []
    options = SensorOptions(stall=_STALL, detect_every=1)
    with EmotionSensor(camera, detector=detector, hold_time=0.2, options=options) as sensor:
        sensor.when_changed = slow
        last, lost = time.monotonic(), False
        for reading in sensor:
            now = time.monotonic()
            longest, last = max(longest, now - last), now
            if not reading.camera_ok and not lost and camera.lost_at is not None:
                reported.append(now - camera.lost_at)
            if reading.camera_ok and lost:
                healed.append(now - max(camera._back, camera.lost_at or 0.0))
            lost = not reading.camera_ok
            if not memory or now - memory[-1][0] > 5:
                memory.append((now, rss_mb() or 0.0))
                assert sensor._watcher.feed is not None
                limits.append(2 * sensor._watcher.feed.interval)
            if now - start > 60 * minutes:
                break
        sensor.close()
        health = sensor.health()
    del sensor
    gc.collect()
    seconds = time.monotonic() - start
    settled = [mb for at, mb in memory if at - start > min(_SETTLED, seconds / 3)]
    limit = float(np.median(limits))
    ages = np.array(detector.ages)
    stale = int((ages > limit + 0.005).sum())
    say(f"machine: {machine()}; {seconds:.0f} s, seed {seed}, faults: {camera.faults}")
    say(f"sensor: {health}")
    say(
        f"handed on at an age of: median {1000 * np.median(ages):.2f} ms, 99.9 % "
        f"{1000 * np.percentile(ages, 99.9):.2f} ms, most {1000 * ages.max():.2f} ms"
    )
    say(f"slow handler called {len(handled)} times")
    checks = [
        ("frames = looked at + dropped", health.frames - health.looked_at - health.dropped, 0),
        (
            (
                f"frames handed on older than two frame times ({1000 * limit:.1f} ms, and 5 ms to "
                "measure)"
            ),
            stale,
            0,
        ),
        ("longest time without a reading, s", longest, 5.0),
        ("loss reported after, s, at most", max(reported, default=0.0), 5.0),
        ("healed after the camera's return, s, at most", max(healed, default=0.0), 20.0),
        ("losses not healed", health.losses - health.reconnects, 1),
        ("memory grown since it settled, MB", (settled[-1] - settled[0]) if settled else 0.0, 5.0),
        ("threads left", threading.active_count() - threads, 0),
        ("file descriptors left", len(os.listdir("/proc/self/fd")) - files, 2),
    ]
    bad = 0
    for what, value, bar in checks:
        bad += value > bar
        say(f"{'ok ' if value <= bar else 'BAD'} {what}: {value:.3g}, at most {bar:g}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
