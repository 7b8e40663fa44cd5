"""How fast this device is: a detection, a face, and the frames a second to expect of both."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeemo.cli.checks import Check

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 480
_FACE = 160  # pixels along an edge
_SECONDS = 1.0  # of each of the two, and at least RUNS
_RUNS = 5
_MOST = 200


def measured(model: str, detector: str, detector_model: str | None) -> Check:
    """Median milliseconds of both on a drawn frame, one thread, after two that warm up.

    Raises EdgeemoError: model or detector cannot be opened, or fails.
    """
    from edgeemo.faces import open_detector
    from edgeemo.recognizer import Recognizer
    from edgeemo.results import Box

    frame = drawn_frame()
    box = Box(WIDTH // 2 - _FACE // 2, HEIGHT // 2 - _FACE // 2, _FACE, _FACE)
    with Recognizer(
        model, detector=open_detector(detector, Path(detector_model) if detector_model else None)
    ) as recognizer:
        detection = _median_ms(lambda: recognizer.detect(frame))
        face = _median_ms(lambda: recognizer.classify(frame, [box]))
        artifact = recognizer.backend.artifact
        name, found = recognizer.bundle, recognizer.detector.name
    fps = 1000 / (detection + face)
    called = name.manifest.name if name else model
    return Check(
        "speed",
        "ok",
        f"{detection:.1f} ms a detection ({found}, a drawn frame of {WIDTH}x{HEIGHT}), {face:.2f} ms"
        f" a face ({called}'s {artifact}: crop, scaling, network); about {fps:.{0 if fps >= 10 else 1}f} frames a second"
        " with one face in each, the network in one thread, without camera and display",
        measured={"detection_ms": round(detection, 3), "face_ms": round(face, 3),
                  "fps": round(fps, 2)},
    )  # fmt: skip


def drawn_frame() -> "NDArray[np.uint8]":
    """uint8 (HEIGHT, WIDTH, 3): patches and a little noise, always the same."""
    import numpy as np

    rng = np.random.default_rng(0)
    patches = np.kron(rng.integers(60, 190, (12, 16, 3)), np.ones((40, 40, 1), np.int64))
    return np.asarray(patches + rng.integers(-4, 5, patches.shape), np.uint8)


def _median_ms(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(2):
        call()
    end = time.perf_counter() + _SECONDS
    while len(times) < _RUNS or (time.perf_counter() < end and len(times) < _MOST):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
