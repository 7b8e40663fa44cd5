"""The self-test: drawn patterns that exercise the network (never faces: bundles are published), and what they do inside."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import trace
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.preprocess import resize_grey

_COUNT = 32


def selftest_inputs(seed: int, size: int = 48) -> NDArray[np.uint8]:
    """uint8 (32, size, size, 1): both ends of the range, ramps, a chequer, and smooth random fields of several grains."""
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    rows, columns = np.indices((size, size))
    pictures = [
        np.zeros((size, size), np.uint8),
        np.full((size, size), 255, np.uint8),
        np.tile(ramp, (size, 1)),
        np.tile(ramp[:, np.newaxis], (1, size)),
        (((rows // 4 + columns // 4) % 2) * 255).astype(np.uint8),
    ]
    rng = np.random.default_rng(seed)
    while len(pictures) < _COUNT:
        grain = int(rng.choice([3, 4, 6, 8, 12, 24]))
        pictures.append(resize_grey(rng.integers(0, 256, (grain, grain), dtype=np.uint8), size))
    return np.stack(pictures)[..., np.newaxis]


def selftest_trace(
    models: Mapping[str, bytes], inputs: NDArray[np.uint8], spec: InputSpec
) -> dict[str, list[list[str]]]:
    """The report's "selftest": [name, digest] of every operator's output on `inputs`, for each TFLite file of `models`.

    `inputs` is uint8 (N, size, size, 1); see `edgeemo.backends.litert.trace` for the digests. Raises BackendError.
    """
    return {
        file: [[name, digest] for name, digest in trace(model, file, inputs, spec)]
        for file, model in models.items()
        if file.endswith(".tflite")
    }
