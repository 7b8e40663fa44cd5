"""The self-test: drawn patterns (never faces: bundles are published), and what they do inside."""

import io
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import trace
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Format
from edgeemo.contract.preprocess import resize_grey
from export.convert.artifacts import Candidate, open_candidate

_COUNT = 32
_GRAINS = (3, 4, 6, 8, 12, 24)
_SQUARE = 4  # pixels of the chequer


def selftest_inputs(seed: int, spec: InputSpec) -> NDArray[np.uint8]:
    """uint8 (32, H, W, C): both ends of the range, ramps, a chequer, and smooth random fields.

    Channels differ (but at the ends of the range), so that a network that takes them in another
    order answers otherwise.
    """
    height, width, channels = spec.shape
    rows, columns = np.indices((height, width))
    drawn = [
        np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1)),
        np.tile(np.linspace(0, 255, height).astype(np.uint8)[:, np.newaxis], (1, width)),
        (((rows // _SQUARE + columns // _SQUARE) % 2) * 255).astype(np.uint8),
    ]
    pictures = [np.full(spec.shape, value, np.uint8) for value in (0, 255)]
    for first in range(len(drawn)):
        planes = [drawn[(first + channel) % len(drawn)] for channel in range(channels)]
        pictures.append(np.stack(planes, axis=-1))
    rng = np.random.default_rng(seed)
    while len(pictures) < _COUNT:
        planes = [_smooth_field(rng, height, width) for _ in range(channels)]
        pictures.append(np.stack(planes, axis=-1))
    return np.stack(pictures)


def _smooth_field(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    grain = int(rng.choice(_GRAINS))
    return resize_grey(rng.integers(0, 256, (grain, grain), dtype=np.uint8), height, width)


def selftest_trace(
    candidates: Iterable[Candidate], inputs: NDArray[np.uint8], spec: InputSpec
) -> dict[str, list[list[str]]]:
    """The report's "selftest": [name, digest] of each operator's output, for each TFLite file.

    `inputs` is uint8 (N, H, W, C); see `edgeemo.backends.litert.trace` for the digests.
    Raises BackendError.
    """
    return {
        candidate.file: [
            [name, digest] for name, digest in trace(candidate.model, candidate.file, inputs, spec)
        ]
        for candidate in candidates
        if candidate.kind.format is Format.TFLITE
    }


def selftest_file(
    candidates: Iterable[Candidate],
    inputs: NDArray[np.uint8],
    spec: InputSpec,
    labels: tuple[str, ...],
) -> bytes:
    """selftest.npz: `inputs` uint8 (N, H, W, C), and each candidate's logits, by file.

    Those of TFLite are of reference kernels. Raises BackendError.
    """
    logits = {
        candidate.file: (
            open_candidate(candidate, spec, labels, reference_kernels=True).infer(inputs)
        )
        for candidate in candidates
    }
    buffer = io.BytesIO()
    np.savez(buffer, inputs=inputs, **cast(dict[str, Any], logits))
    return buffer.getvalue()
