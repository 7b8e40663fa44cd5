"""What `Recognizer(isolated=True)` costs a face: python -m benchmarks.isolated [MODEL] [FACES]"""

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import open_backend
from edgeemo.isolated.backend import IsolatedBackend
from edgeemo.recognizer import load_bundle


def measured(model: str, faces: int) -> dict[str, float]:
    """Median milliseconds of one face in turns: "here", "isolated", and their "price"."""
    bundle = load_bundle(model)
    pixels = np.random.default_rng(0).integers(0, 256, (1, *bundle.spec.shape), np.uint8)
    isolated = IsolatedBackend(bundle)
    calls: dict[str, Callable[[NDArray[np.uint8]], object]] = {
        "here": open_backend(bundle).infer,
        "isolated": isolated.infer,
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(faces):
        for name, call in calls.items():
            start = time.perf_counter()
            call(pixels)
            times[name].append(1000 * (time.perf_counter() - start))
    isolated.close()
    found = {name: float(np.median(times[name])) for name in calls}
    return found | {
        "price": found["isolated"] - found["here"],
        "least": min(times["isolated"]) - min(times["here"]),
    }


if __name__ == "__main__":
    name, count = [*sys.argv[1:], "small", "2000"][:2] if len(sys.argv) < 3 else sys.argv[1:3]
    for what, ms in measured(name, int(count)).items():
        sys.stdout.write(f"{what:<10}{ms:.3f} ms\n")
