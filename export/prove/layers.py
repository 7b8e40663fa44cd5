"""Float and int8 side by side, layer by layer: where a quantized network loses what."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.quantize import Quantization, looked_up
from edgeemo.errors import BackendError
from edgeemo.proof.evaluation import mean_kl
from edgeemo.proof.limits import LIMITS, within
from export.convert.calibration import RAW_PIXELS
from export.convert.graph import CASTS, Graph, read_graph

# Shares of values outside of the range, and of the range that is used.
_SATURATED, _WASTED = 0.001, 0.4
LOUD = 0.001
"""Relative noise that a layer adds from which on it is worth an advice: 30 dB by itself."""


@dataclass(frozen=True)
class Layer:
    """What one operator's output lost in int8, over all pictures."""

    name: str
    """Its tensor in the int8 file."""
    operator: str
    """Its kind."""
    bits: int
    """Of the stored values."""
    sqnr_db: float
    """Signal to quantization noise, 10 log10(sum x^2 / sum (x - q)^2); infinite: nothing lost."""
    added_noise: float
    """Relative noise power sum (x - q)^2 / sum x^2, less that of its noisiest input."""
    cosine: float
    """Cosine similarity of all float and int8 values."""
    range_low: float
    """Smallest value that can be stored."""
    range_high: float
    """Largest one."""
    range_used: float
    """Share of the range that the float values span."""
    saturated: float
    """Share of float values outside of it."""

    @property
    def remedy(self) -> str:
        """What would make it less noisy, in words."""
        if self.saturated > _SATURATED:
            return (
                "values are cut off: a wider range (min-max, or faces like the ones that are cut "
                "in the calibration set)"
            )
        if self.range_used < _WASTED:
            return (
                "the range is mostly empty: a narrower one (percentile or entropy), or a layer "
                "without such outliers"
            )
        return (
            "steps are too coarse: 16-bit activations here (the ladder's mixed step), or "
            "python -m training finetune --qat"
        )


@dataclass(frozen=True)
class Answers:
    """What the whole network answers in int8, beside float: noise of a layer that changes nothing
    here needs no remedy.
    """

    n: int
    """Pictures."""
    same: int
    """Those with float's top label."""
    mean_kl: float
    """Mean KL(float || int8) in nats."""

    @property
    def suffer(self) -> bool:
        """Whether they break one of the gate's limits for answers beside float's."""
        agrees = within("min_agreement", self.same / self.n)
        return not (agrees and within("max_mean_kl", self.mean_kl))

    @property
    def words(self) -> str:
        """The figures and the limits."""
        return (
            f"answers: {self.same:,} of {count_of(self.n, 'calibration picture')} as in float "
            f"({self.same / self.n:.1%}, the gate asks for {LIMITS['min_agreement']:.0%}), mean KL "
            f"{self.mean_kl:.4f} (at most {LIMITS['max_mean_kl']:g})"
        )


def advised(layers: list[Layer], count: int, answers: Answers) -> dict[str, str]:
    """What to do about the layers that add most noise, by their names, noisiest first: nothing
    where the answers do not suffer, and nothing about a layer that is quiet by itself.
    """
    if not answers.suffer:
        return {}
    loud = (layer for layer in worst(layers, count) if layer.added_noise > LOUD)
    return {layer.name: layer.remedy for layer in loud}


def compare_answers(
    fp32: bytes,
    int8: bytes,
    pictures: NDArray[np.uint8],
    table: NDArray[np.float32] = RAW_PIXELS,
) -> Answers:
    """What both .tflite files answer to uint8 (N, H, W, C) pictures; `table` as `compare_layers`
    has it.
    """
    real, stored = (_logits(model, pictures, table) for model in (fp32, int8))
    same = int((real.argmax(axis=1) == stored.argmax(axis=1)).sum())
    return Answers(len(pictures), same, mean_kl(real, stored))


def _logits(
    model: bytes, pictures: NDArray[np.uint8], table: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 (N, labels) of a .tflite, whichever numbers it takes and gives."""
    interpreter = open_interpreter(model, "model", kernels="plain")
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    values = Quantization(float(scale), int(zero_point)).quantize(table) if scale else table
    rows = []
    for picture in pictures:
        interpreter.set_tensor(source["index"], looked_up(values, picture[np.newaxis]))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target["index"])[0].astype(np.float32))
    scale, zero_point = target["quantization"]
    logits = np.stack(rows)
    return (logits - zero_point) * np.float32(scale) if scale else logits


def compare_layers(
    fp32: bytes,
    int8: bytes,
    pictures: NDArray[np.uint8],
    table: NDArray[np.float32] = RAW_PIXELS,
) -> list[Layer]:
    """Each operator of an int8 .tflite against the same one of the float .tflite, in order.

    They see the same uint8 (N, H, W, C) pictures; `table` (C, 256) says what the float model takes
    for a pixel.

    Raises:
        BackendError: the two are not the same network.
    """
    graphs = read_graph(fp32, "fp32.tflite"), read_graph(int8)
    steps = [[op for op in graph.operators if op["op_name"] not in CASTS] for graph in graphs]
    outputs = [[int(op["outputs"][0]) for op in operators] for operators in steps]
    kinds = [[op["op_name"] for op in operators] for operators in steps]
    if kinds[0] != kinds[1]:
        raise BackendError(
            f"expected the same operators in float and int8, received {', '.join(kinds[0])} and "
            f"{', '.join(kinds[1])}; compare an int8 model with the float model that it was made "
            "from"
        )
    sums = [_Sums(graphs[1].tensors[tensor]) for tensor in outputs[1]]
    real, stored = (
        open_interpreter(model, "model", kernels="plain", keep_tensors=True)
        for model in (fp32, int8)
    )
    scale, zero_point = graphs[1].input["quantization"]
    int8_table = Quantization(float(scale), int(zero_point)).quantize(table)
    for picture in pictures:
        real.set_tensor(graphs[0].input["index"], looked_up(table, picture[np.newaxis]))
        stored.set_tensor(graphs[1].input["index"], looked_up(int8_table, picture[np.newaxis]))
        real.invoke()
        stored.invoke()
        for pair, of_real, of_stored in zip(sums, *outputs, strict=True):
            pair.add(real.get_tensor(of_real), stored.get_tensor(of_stored))
    return _layers(graphs[1], outputs[1], kinds[1], sums)


def worst(layers: list[Layer], count: int) -> list[Layer]:
    """The layers that add most noise, worst first."""
    return sorted(layers, key=lambda layer: -layer.added_noise)[:count]


class _Sums:
    """Running sums over the pictures: one tensor's float values, and what int8 makes of them."""

    def __init__(self, tensor: dict[str, Any]) -> None:
        scale, zero_point = tensor["quantization"]
        limits = np.iinfo(tensor["dtype"])
        self.scale, self.zero_point, self.bits = float(scale), int(zero_point), int(limits.bits)
        self.low, self.high = (
            (limits.min - self.zero_point) * self.scale,
            (limits.max - self.zero_point) * self.scale,
        )
        self.signal = self.noise = self.product = self.stored = 0.0
        self.smallest, self.largest = np.inf, -np.inf
        self.outside = self.count = 0

    def add(self, real: NDArray[np.float32], stored: NDArray[np.int8]) -> None:
        x = real.astype(np.float64).ravel()
        q = (stored.astype(np.float64).ravel() - self.zero_point) * self.scale
        self.signal += float(x @ x)
        self.noise += float((x - q) @ (x - q))
        self.product += float(x @ q)
        self.stored += float(q @ q)
        self.smallest, self.largest = (
            min(self.smallest, float(x.min())),
            max(self.largest, float(x.max())),
        )
        # Half a step beyond the last value still rounds to it.
        self.outside += int(
            np.sum((x < self.low - self.scale / 2) | (x > self.high + self.scale / 2))
        )
        self.count += len(x)

    @property
    def relative_noise(self) -> float:
        return self.noise / self.signal if self.signal else float(self.noise > 0)

    def layer(self, name: str, operator: str, noise_before: float) -> Layer:
        """The sums as figures; `noise_before` is the relative noise of its noisiest input."""
        noise, power = self.relative_noise, self.signal * self.stored
        span = min(self.largest, self.high) - max(self.smallest, self.low)
        return Layer(
            name=name,
            operator=operator,
            bits=self.bits,
            sqnr_db=float(-10 * np.log10(noise)) if noise > 0 else float("inf"),
            added_noise=max(0.0, noise - noise_before),
            cosine=self.product / np.sqrt(power) if power else 0.0,
            range_low=self.low,
            range_high=self.high,
            range_used=max(0.0, span / (self.high - self.low)),
            saturated=self.outside / self.count,
        )


def _layers(graph: Graph, outputs: list[int], kinds: list[str], sums: list[_Sums]) -> list[Layer]:
    noise = dict(zip(outputs, (pair.relative_noise for pair in sums), strict=True))
    # A cast hands on what came into it.
    for operator in graph.operators:
        if operator["op_name"] in CASTS:
            noise[int(operator["outputs"][0])] = noise.get(int(operator["inputs"][0]), 0.0)
    inputs = {
        int(op["outputs"][0]): [int(t) for t in op["inputs"] if t >= 0] for op in graph.operators
    }
    layers = []
    for tensor, kind, pair in zip(outputs, kinds, sums, strict=True):
        before = max((noise.get(source, 0.0) for source in inputs[tensor]), default=0.0)
        layers.append(pair.layer(graph.tensors[tensor]["name"], kind, before))
    return layers
