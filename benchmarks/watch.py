"""The live path's bars: faces found, our own work a frame, time to the first reading, memory.

python -m benchmarks.watch ../shared/media/test.mp4
../shared/models/face_detection_yunet_2026may.onnx

Each line gives what was measured, the bar, and measured / bar: at most 1 is within it (at least 1
for the share of faces found).
"""

import json
import statistics
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.cameras.files import Video
from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.faces import SMALLEST_FACE, open_detector
from edgeemo.live.health import rss_mb
from edgeemo.live.options import SensorOptions
from edgeemo.results import Box

_WARM, _FRAMES = 500, 10_000


@click.command()
@click.argument("video", type=click.Path(path_type=Path, exists=True))
@click.argument("yunet", type=click.Path(path_type=Path, exists=True))
def main(video: Path, yunet: Path) -> None:
    """Measure the live path on VIDEO, which shows one face in each frame, with YuNet's file."""
    say(f"machine: {machine()}")
    for name, bar in (("yunet", 0.99), ("haar", 0.95)):
        share, frames = _found(video, yunet, name)
        say(
            f"face found, {name}: {share:.2%} of {frames} frames, at least {bar:.0%}: ratio "
            f"{share / bar:.3f}"
        )
    for what, every in (
        ("detector looks at each frame", 1),
        ("faces followed, detector at every 4th", 4),
    ):
        _report(f"own work a frame, one face, 640x480, {what}: p50", _own_work(every), 0.4, "ms")
    _report("beside it, in the camera's thread, BGR to RGB: p50", _conversion(), 0.4, "ms")
    _report(
        "process start to first reading",
        statistics.median(_first_reading(video, yunet) for _ in range(5)),
        1.0,
        "s",
    )
    early, late = _memory(video, yunet)
    _report(f"memory after {_FRAMES:,} frames, over that after {_WARM}", late - early, 5, "MB")
    _report(f"memory after {_FRAMES:,} frames, YuNet and LiteRT", late, 160, "MB")


def _report(what: str, value: float, bar: float, unit: str) -> None:
    say(f"{what}: {value:.3g} {unit}, at most {bar:g}: ratio {value / bar:.2f}")


def _found(video: Path, yunet: Path, detector: str) -> tuple[float, int]:
    """Share of frames with a face, of `edgeemo watch VIDEO --json`, and their number."""
    command = [
        sys.executable,
        "-m",
        "edgeemo",
        "watch",
        str(video),
        "--json",
        "--detector",
        detector,
    ]
    command += ["--detector-model", str(yunet)] if detector == "yunet" else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return sum(line["face_id"] is not None for line in lines) / len(lines), len(lines)


class _Stopwatch:
    """A detector that costs nothing, and notes when it was asked."""

    name = "haar"

    def __init__(self) -> None:
        self.times: list[float] = []

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        self.times.append(time.perf_counter())
        return [Box(240, 160, 160, 160)]


def _own_work(every: int) -> float:
    """Median milliseconds a frame of the sensor's whole loop.

    With a detector and a network that cost nothing.
    """
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (480, 640, 3), dtype=np.uint8) for _ in range(20)]
    detector = _Stopwatch()
    camera = FakeCamera(islice(cycle(frames), 4000))
    recognizer = Recognizer(detector=detector, backend=FakeBackend(happy=0.9))
    options = SensorOptions(detect_every=every)
    with EmotionSensor(camera, recognizer=recognizer, options=options) as sensor:
        sensor.wait()
    return 1000 * float(np.median(np.diff(detector.times))) / every


def _conversion() -> float:
    frame = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    times = []
    for _ in range(500):
        start = time.perf_counter()
        cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


_FIRST = """
from edgeemo import EmotionSensor
import sys
from edgeemo.faces import SMALLEST_FACE, open_detector
detector = open_detector("yunet", sys.argv[2], smallest_face=SMALLEST_FACE)
with EmotionSensor(sys.argv[1], detector=detector) as sensor:
    next(iter(sensor))
    print("first", flush=True)
    sys.stdin.read()
"""


def _first_reading(video: Path, yunet: Path) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-c", _FIRST, str(video), str(yunet)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"first\n"
        taken = time.perf_counter() - start
        process.communicate()
    return taken


_WATCH = """
import sys
from benchmarks.watch import watch_memory
watch_memory(*sys.argv[1:])
"""


def _memory(video: Path, yunet: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _WATCH, str(video), str(yunet)],
        capture_output=True,
        text=True,
        check=True,
    )
    early, late = map(float, done.stdout.split())
    return early, late


def watch_memory(video: str, yunet: str) -> None:
    """Print this process's memory in MB after 500 and after 10,000 frames of the looped video."""
    camera = Video(video, loop=True)
    detector = open_detector("yunet", yunet, smallest_face=SMALLEST_FACE)
    with EmotionSensor(camera, detector=detector) as sensor:
        for reading in sensor:
            if reading.frame + 1 in (_WARM, _FRAMES):
                say(rss_mb())
            if reading.frame + 1 == _FRAMES:
                break


if __name__ == "__main__":
    main()
