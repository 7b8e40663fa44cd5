"""What a float network's tensors hold on the representative data set, and their ranges."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.quantize import looked_up
from export.convert import onnx
from export.convert.calibration import RAW_PIXELS
from export.convert.graph import read_graph

Ranges = dict[str, tuple[float, float]]
# Of each picture, values of a tensor that are kept for its distribution; its ends and means are of
# all values.
_KEPT = 4096
# The input, and what the rescaling makes of it in two steps: every pixel value has to stay apart
# from the others.
_OF_PIXELS = 3
# Ends that are tried for a range by least error: so many, down to this share of the values' end.
_TRIED, _NARROWEST = 33, 0.2
_LEVELS = 255  # steps of 8 bits


@dataclass
class Activation:
    """One tensor over all pictures."""

    low: float = np.inf
    """Its smallest value."""
    high: float = -np.inf
    """Its largest one."""
    samples: list[NDArray[np.float32]] = field(default_factory=list)
    """Of each picture, values drawn from it."""
    channel_means: list[NDArray[np.float64]] = field(default_factory=list)
    """Of each picture, the mean of each channel (last axis)."""

    def add(self, values: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Take in the float32 (1, ..., channels) values of one picture."""
        flat = values.ravel()
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self.samples.append(flat if len(flat) <= _KEPT else rng.choice(flat, _KEPT, replace=False))
        self.channel_means.append(
            values.reshape(-1, values.shape[-1]).mean(axis=0, dtype=np.float64)
        )

    @property
    def mean(self) -> NDArray[np.float64]:
        """float64 (channels,)."""
        return np.asarray(np.mean(self.channel_means, axis=0))


def record(
    fp32: bytes,
    pictures: NDArray[np.uint8],
    seed: int,
    table: NDArray[np.float32] = RAW_PIXELS,
) -> dict[str, Activation]:
    """The activations of a float .tflite, by tensor name, over uint8 (N, H, W, C) pictures.

    Samples are drawn with `seed`; `table` (C, 256) says what the model takes for a pixel
    (`edgeemo.contract.quantize.scaled_pixels`).
    """
    graph = read_graph(fp32, "fp32.tflite")
    interpreter = open_interpreter(fp32, "fp32.tflite", kernels="plain", keep_tensors=True)
    source = graph.input["index"]
    watched = [
        source,
        *(int(tensor) for operator in graph.operators for tensor in operator["outputs"]),
    ]
    activations = {graph.tensors[tensor]["name"]: Activation() for tensor in watched}
    rng = np.random.default_rng(seed)
    for picture in pictures:
        interpreter.set_tensor(source, looked_up(table, picture[np.newaxis]))
        interpreter.invoke()
        for tensor in watched:
            activations[graph.tensors[tensor]["name"]].add(interpreter.get_tensor(tensor), rng)
    return activations


def min_max(activations: dict[str, Activation]) -> Ranges:
    """Everything that was seen is inside."""
    return {name: (tensor.low, tensor.high) for name, tensor in activations.items()}


def percentile(activations: dict[str, Activation]) -> Ranges:
    """All but the outermost hundredth of a percent at each end is inside.

    Pixels and logits keep their ends.
    """

    def middle(tensor: Activation) -> tuple[float, float]:
        values = np.concatenate(tensor.samples)
        low, high = np.percentile(values, [100 - onnx.PERCENTILE, onnx.PERCENTILE])
        return float(low), float(high)

    return _inner(activations, {name: middle(tensor) for name, tensor in activations.items()})


def least_error(activations: dict[str, Activation]) -> Ranges:
    """The range that rounds and cuts off the values by the smallest mean square error.

    Pixels and logits keep their ends.
    """
    narrower = {
        name: _least_error(np.concatenate(tensor.samples), tensor.low, tensor.high)
        for name, tensor in activations.items()
    }
    return _inner(activations, narrower)


def _least_error(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """The best pair of low and high ends, each of _TRIED shares of `low` and `high`.

    A value inside is off by step^2 / 12 in the mean, one that is cut off by its square distance to
    the end. Zeros, which are exact, count for nothing.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    inner = np.sort(values[values != 0]).astype(np.float64)
    sums, squares = (np.concatenate([[0.0], np.cumsum(of)]) for of in (inner, inner**2))
    lows, highs = (end * np.linspace(1, _NARROWEST, _TRIED) for end in (low, high))
    below, upto = np.searchsorted(inner, lows), np.searchsorted(inner, highs, side="right")
    under = squares[below] - 2 * lows * sums[below] + lows**2 * below
    above = len(inner) - upto
    over = squares[-1] - squares[upto] - 2 * highs * (sums[-1] - sums[upto]) + highs**2 * above
    steps = (highs - lows[:, np.newaxis]) / _LEVELS
    errors = under[:, np.newaxis] + over + steps**2 / 12 * (upto - below[:, np.newaxis])
    best_low, best_high = np.unravel_index(errors.argmin(), errors.shape)
    return float(lows[best_low]), float(highs[best_high])


def for_max_pools(fp32: bytes, ranges: Ranges) -> Ranges:
    """The ranges, where what only a max pool reads ends below at what comes out of the pool.

    Such a pool never passes on anything lower, and TFLite asks for one scale on both sides of it:
    steps below that end would be spent on values that nobody sees. It is exact: rounding and
    clipping keep the order of numbers, so that the largest of the rounded is the largest, rounded.
    """
    graph = read_graph(fp32, "fp32.tflite")
    readers = Counter(int(tensor) for op in graph.operators for tensor in op["inputs"])
    narrower = dict(ranges)
    for operator in reversed(graph.operators):  # of pools in a row, the last one first
        if operator["op_name"] != "MAX_POOL_2D":
            continue
        source, target = (int(operator[ends][0]) for ends in ("inputs", "outputs"))
        if readers[source] == 1:
            name = graph.tensors[source]["name"]
            low, high = ranges[name]
            end = min(0.0, narrower[graph.tensors[target]["name"]][0])
            narrower[name] = max(low, end), high
    return narrower


def entropy(activations: dict[str, Activation]) -> Ranges:
    """The range whose 8-bit histogram has the smallest KL divergence to that of the values.

    The search is ONNX Runtime's.
    """
    samples = {name: np.concatenate(tensor.samples) for name, tensor in activations.items()}
    return _inner(activations, onnx.entropy_ranges(samples))


METHODS: dict[str, Callable[[dict[str, Activation]], Ranges]] = {
    "min-max": min_max,
    "least-error": least_error,
    "percentile": percentile,
    "entropy": entropy,
}


def _inner(activations: dict[str, Activation], narrower: Ranges) -> Ranges:
    """`narrower` ranges, kept inside of the values' ends.

    Pixels, what is made of them alone, and logits keep their ends.
    """
    names = list(activations)
    whole = min_max(activations)
    clipped = {
        name: (max(narrower[name][0], whole[name][0]), min(narrower[name][1], whole[name][1]))
        for name in names
    }
    return clipped | {name: whole[name] for name in (*names[:_OF_PIXELS], names[-1])}
