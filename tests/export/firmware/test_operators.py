"""One operator at a time with drawn scales and zero points: the C kernels, Python's integers and
LiteRT's reference kernels give the same bytes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.backends.litert import builtin_operators
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import Quantization
from edgeemo.errors import BackendError
from edgeemo.firmware.graph import BUILTINS
from edgeemo.firmware.layers import Network, Op
from edgeemo.firmware.network import read_network
from edgeemo.firmware.operators import OPERATORS
from edgeemo.firmware.plan import plan_arena
from tests.export.firmware.firmware_support import Reference
from tests.export.firmware.kernels import Kernels
from tests.export.firmware.one_operator import File, options
from tests.export.firmware.oracle import answered

PIXELS = Quantization(1.0, -128)
SHARES = Quantization(1 / 256, -128)
SPEC = InputSpec(height=9, width=8, channels=3)
Rng = np.random.Generator


class Draft(File):
    """A file whose activations have drawn scales and come from the pixels."""

    def __init__(self, rng: Rng, spec: InputSpec = SPEC) -> None:
        super().__init__()
        self.rng, self.spec = rng, spec
        self.pixels = self.tensor((1, *spec.shape), PIXELS)
        self.shape = (1, *spec.shape)

    def scale(self) -> Quantization:
        """A drawn scale and zero point."""
        return Quantization(
            float(np.exp(self.rng.uniform(-4, -1))), int(self.rng.integers(-128, 128))
        )

    def map(self, scale: Quantization | None = None) -> int:
        """An activation of the pixels' shape."""
        return self.spread(self.pixels, self.shape, scale or self.scale())

    def spread(self, source: int, shape: tuple[int, ...], scale: Quantization) -> int:
        """Pixels brought to a scale so that they nearly fill its 256 numbers."""
        step = Quantization(scale.scale * float(self.rng.uniform(0.7, 1.2)), -128)
        one = self.tensor(np.array([-127], np.int8), step)
        wide = self.operator("MUL", [source, one], self.tensor(shape, step), options("Mul"))
        half = np.array([(-128 - scale.zero_point) // 2], np.int8)
        below = self.tensor(half, Quantization(2 * scale.scale, 0))
        return self.operator("ADD", [wide, below], self.tensor(shape, scale), options("Add"))

    def vector(self, scale: Quantization | None = None, *, keep: bool = True) -> int:
        """An activation of one number a channel."""
        shape = (1, 1, 1, self.shape[3]) if keep else (1, self.shape[3])
        mean = self.tensor(shape, PIXELS)
        inputs = [self.pixels, self.tensor(np.array([1, 2], np.int32))]
        self.operator("MEAN", inputs, mean, options("Reducer", keepDims=keep))
        return self.spread(mean, shape, scale or self.scale())

    def plane(self) -> int:
        """An activation of one number a pixel."""
        weights = self.rng.integers(-127, 128, (1, 1, 1, self.shape[3])).astype(np.int8)
        inputs = [
            self.pixels,
            self.tensor(weights, Quantization(0.01, 0)),
            self.tensor(np.zeros(1, np.int32), Quantization(0.01, 0)),
        ]
        out = self.tensor((*self.shape[:3], 1), Quantization(2.0, 0))
        conv = options("Conv2D", padding=0, strideW=1, strideH=1)
        return self.operator("CONV_2D", inputs, out, conv)

    def constant(self, *shape: int, scale: Quantization | None = None) -> int:
        """Drawn numbers."""
        drawn = self.rng.integers(-128, 128, shape).astype(np.int8)
        return self.tensor(drawn, scale or self.scale())

    def numbers(self, *values: int) -> int:
        return self.tensor(np.array(values, np.int32))


Case = Callable[[Draft], int]
"""Adds its operators; the number of the output."""


def unary(
    kind: str, f: Draft, out: Quantization | None = None, version: int = 1, **more: object
) -> int:
    """An operator that works number by number."""
    kind_of_table: Any = more.pop("table", None)
    table = options(kind_of_table, **more) if kind_of_table is not None else None
    return f.operator(kind, [f.map()], f.tensor(f.shape, out or f.scale()), table, version)


def positive(kind: str, f: Draft) -> int:
    """An operator of numbers from 0 on."""
    source = f.map(Quantization(f.scale().scale, -128))
    return f.operator(kind, [source], f.tensor(f.shape, f.scale()), None, 1)


def of_two(kind: str, f: Draft, left: str, right: str, activation: int = 0) -> int:
    """ADD, SUB or MUL of two inputs: a map, a vector, a plane or constants."""
    make = {
        "map": f.map,
        "vector": f.vector,
        "flat vector": partial(f.vector, keep=False),
        "plane": f.plane,
        "numbers": lambda: f.constant(f.shape[3]),
        "batch of numbers": lambda: f.constant(1, 1, 1, f.shape[3]),
        "constant map": lambda: f.constant(*f.shape),
        "constant row": lambda: f.constant(f.shape[2], 1),
        "number": lambda: f.constant(),
    }
    inputs = [make[left](), make[right]()]
    table = options(kind.capitalize(), fusedActivationFunction=activation)
    return f.operator(kind, inputs, f.tensor(f.shape, f.scale()), table)


def same_map(kind: str, f: Draft) -> int:
    """Of an activation and itself."""
    source = f.map()
    out = f.tensor(f.shape, f.scale())
    return f.operator(kind, [source, source], out, options(kind.capitalize()))


def least_or_most(kind: str, f: Draft) -> int:
    """MINIMUM or MAXIMUM with a number of the same scale."""
    scale = f.scale()
    inputs = [f.map(scale), f.constant(scale=scale)]
    return f.operator(kind, inputs, f.tensor(f.shape, scale), options("MaximumMinimum"))


def reduced(
    kind: str, f: Draft, axes: tuple[int, ...], keep: bool, out: Quantization | None
) -> int:
    """MEAN or REDUCE_MAX over height and width."""
    source_scale = f.scale()
    shape = (1, 1, 1, f.shape[3]) if keep else (1, f.shape[3])
    target = f.tensor(shape, source_scale if out is None else f.scale())
    inputs = [f.map(source_scale), f.numbers(*axes)]
    return f.operator(kind, inputs, target, options("Reducer", keepDims=keep))


def reduced_rows(f: Draft) -> int:
    """MEAN over the pixels of a map that was reshaped to three sides."""
    scale = f.scale()
    flat = (1, f.shape[1] * f.shape[2], f.shape[3])
    rows = f.operator("RESHAPE", [f.map(scale), f.numbers(*flat)], f.tensor(flat, scale), None, 1)
    target = f.tensor((1, f.shape[3]), f.scale())
    return f.operator("MEAN", [rows, f.numbers(1)], target, options("Reducer", keepDims=False))


def whole_pool(kind: str, f: Draft) -> int:
    """A pool whose one window is the map."""
    scale = f.scale()
    _, height, width, channels = f.shape
    table = options(
        "Pool2D", padding=1, strideW=1, strideH=1, filterWidth=width, filterHeight=height
    )
    return f.operator(kind, [f.map(scale)], f.tensor((1, 1, 1, channels), scale), table)


def softmax(f: Draft, beta: float, lowest: float, highest: float) -> int:
    """SOFTMAX of logits of a scale between e^lowest and e^highest."""
    scale = Quantization(
        float(np.exp(f.rng.uniform(lowest, highest))), int(f.rng.integers(-128, 128))
    )
    source = f.map(scale)
    return f.operator("SOFTMAX", [source], f.tensor(f.shape, SHARES), options("Softmax", beta=beta))


def wide_softmax(f: Draft) -> int:
    """SOFTMAX of a vector of 216 numbers."""
    scale, size = f.scale(), int(np.prod(f.shape))
    inputs = [f.map(scale), f.numbers(1, size)]
    flat = f.operator("RESHAPE", inputs, f.tensor((1, size), scale), None, 1)
    return f.operator("SOFTMAX", [flat], f.tensor((1, size), SHARES), options("Softmax", beta=1.0))


def resized(kind: str, f: Draft, height: int, width: int, align: bool, centers: bool) -> int:
    """A resize to a height and width."""
    scale = f.scale()
    inputs = [f.map(scale), f.numbers(height, width)]
    name = "ResizeBilinear" if kind == "RESIZE_BILINEAR" else "ResizeNearestNeighbor"
    table = options(name, alignCorners=align, halfPixelCenters=centers)
    out = f.tensor((1, height, width, f.shape[3]), scale)
    return f.operator(kind, inputs, out, table, 3)


def joined(f: Draft, axis: int) -> int:
    """CONCATENATION of two maps of different sides and one of them again."""
    scale = f.scale()
    first = f.map(scale)
    sides = list(f.shape)
    sides[axis] += 3
    pads = np.zeros((4, 2), np.int32)
    pads[axis] = (1, 2)
    if axis in (3, -1):
        inputs = [first, first, f.operator("CONCATENATION", [first, f.map(scale)],
                  f.tensor((*f.shape[:3], 6), scale),
                  options("Concatenation", axis=3))]  # fmt: skip
        sides[3] = 12
    else:
        second = f.operator(
            "PAD", [first, f.tensor(pads)], f.tensor(tuple(sides), scale), options("Pad")
        )
        inputs = [first, second, first]
        sides[axis] += 2 * f.shape[axis]
    out = f.tensor(tuple(sides), scale)
    return f.operator("CONCATENATION", inputs, out, options("Concatenation", axis=axis))


def padded(f: Draft, kind: str) -> int:
    """PAD, and PADV2 with a number."""
    scale = f.scale()
    pads = f.tensor(np.array([[0, 0], [2, 1], [0, 3], [0, 0]], np.int32))
    inputs = [f.map(scale), pads] + ([f.constant(scale=scale)] if kind == "PADV2" else [])
    shape = (1, f.shape[1] + 3, f.shape[2] + 3, f.shape[3])
    return f.operator(
        kind,
        inputs,
        f.tensor(shape, scale),
        options(kind.capitalize()[:3] if kind == "PAD" else "PadV2"),
    )


def turned(f: Draft) -> int:
    """Sides of 1 that are moved, taken away and put back around an activation."""
    scale = f.scale()
    first = f.vector(scale)
    count = f.shape[3]
    moved = f.operator(
        "TRANSPOSE", [first, f.numbers(0, 3, 1, 2)], f.tensor((1, count, 1, 1), scale)
    )
    flat = f.operator(
        "SQUEEZE", [moved], f.tensor((1, count), scale), options("Squeeze", squeezeDims=[2, 3]), 1
    )
    wide = f.operator("EXPAND_DIMS", [flat, f.numbers(1)], f.tensor((1, 1, count), scale), None, 1)
    return f.operator("RELU", [wide], f.tensor((1, 1, count), f.scale()))


def heavy_bias(kind: str, f: Draft) -> int:
    """Sums of products of a channel without weights whose bias is the largest that converters make,
    of some that go beyond 2^30, and usual ones."""
    deep = kind == "DEPTHWISE_CONV_2D"
    weights = f.rng.integers(-127, 128, (9, 3, 3, f.shape[3])).astype(np.int8)
    weights[0] = 0
    weights[1] = np.abs(weights[1])
    weights = weights[..., :1].transpose(3, 1, 2, 0) if deep else weights
    bias = f.rng.integers(-5000, 5000, 9).astype(np.int32)
    bias[:5] = [-(1 << 30), 1 << 30, -(1 << 30), (1 << 30) - 5, 2_000_000_000]
    out = f.scale()
    scales = np.full(9, 1e-3, np.float32)
    scales[:5] = f.rng.uniform(1e-8, 3e-7, 5) * out.scale
    made = [np.ascontiguousarray(weights), bias]
    numbers = [f.tensor(values, Quantization(1.0, 0)) for values in made]
    for number in numbers:
        f.graph.tensors[number].quantization.scale = scales
        f.graph.tensors[number].quantization.zeroPoint = np.zeros(9, np.int64)
    f.graph.tensors[numbers[0]].quantization.quantizedDimension = 3 if deep else 0
    more = {"depthMultiplier": 3} if deep else {}
    table = options(
        "DepthwiseConv2D" if deep else "Conv2D", padding=0, strideW=1, strideH=1, **more
    )
    target = f.tensor((*f.shape[:3], 9), out)
    return f.operator(kind, [f.map(Quantization(1.0, -128)), *numbers], target, table)


MIXED = ("map", "vector", "flat vector", "plane", "numbers", "batch of numbers", "constant map",
         "constant row", "number")  # fmt: skip
SIZES = ((9, 8), (18, 16), (4, 3), (1, 1), (21, 5))
CASES: dict[str, Case] = {
    **{f"{kind}": partial(unary, kind) for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "QUANTIZE",
       "HARD_SWISH", "RELU_0_TO_1")},
    **{kind: partial(positive, kind) for kind in ("LOG", "RSQRT")},
    "LOGISTIC": partial(unary, "LOGISTIC", out=SHARES),
    "TANH": partial(unary, "TANH", out=Quantization(1 / 128, 0)),
    "EXP": partial(unary, "EXP", version=2),
    "ABS": partial(unary, "ABS", version=2),
    "LEAKY_RELU": partial(unary, "LEAKY_RELU", version=2, table="LeakyRelu", alpha=0.2),
    "GELU": partial(unary, "GELU", version=2, table="Gelu", approximate=False),
    "GELU by tanh": partial(unary, "GELU", version=2, table="Gelu", approximate=True),
    **{kind: partial(least_or_most, kind) for kind in ("MAXIMUM", "MINIMUM")},
    **{f"{kind} map, {right}": partial(of_two, kind, left="map", right=right)
       for kind in ("ADD", "SUB", "MUL") for right in MIXED},
    **{f"{kind} {left}, map": partial(of_two, kind, left=left, right="map")
       for kind in ("ADD", "SUB", "MUL") for left in MIXED[1:]},
    **{f"{kind} with ReLU6": partial(of_two, kind, left="map", right="vector", activation=3)
       for kind in ("ADD", "SUB", "MUL")},
    **{f"{kind} of a map and itself": partial(same_map, kind) for kind in ("ADD", "SUB", "MUL")},
    **{f"MEAN {axes} {keep}": partial(reduced, "MEAN", axes=axes, keep=keep, out=PIXELS)
       for axes in ((1, 2), (2, 1), (-3, -2)) for keep in (True, False)},
    "MEAN of the same scale": partial(reduced, "MEAN", axes=(1, 2), keep=True, out=None),
    "MEAN of three sides": reduced_rows,
    **{f"REDUCE_MAX {keep}": partial(reduced, "REDUCE_MAX", axes=(1, 2), keep=keep, out=None)
       for keep in (True, False)},
    **{f"{kind} of all": partial(whole_pool, kind) for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")},
    "SOFTMAX": partial(softmax, beta=1.0, lowest=-5, highest=-1),
    "SOFTMAX of a small scale": partial(softmax, beta=1.0, lowest=-10, highest=-5),
    "SOFTMAX of a large scale": partial(softmax, beta=1.0, lowest=-1, highest=4),
    "SOFTMAX with beta": partial(softmax, beta=0.37, lowest=-5, highest=0),
    "SOFTMAX of many": wide_softmax,
    **{f"{kind} {height}x{width} {align} {centers}":
       partial(resized, kind, height=height, width=width, align=align, centers=centers)
       for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR") for height, width in SIZES
       for align, centers in ((False, False), (False, True), (True, False))},
    **{f"CONCATENATION {axis}": partial(joined, axis=axis) for axis in (1, 2, 3, -1)},
    **{kind: partial(padded, kind=kind) for kind in ("PAD", "PADV2")},
    "TRANSPOSE, SQUEEZE and EXPAND_DIMS": turned,
    **{f"{kind} of heavy biases": partial(heavy_bias, kind)
       for kind in ("CONV_2D", "DEPTHWISE_CONV_2D")},
}  # fmt: skip


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kernels, Kernels]:
    """With AVX2 and in plain C."""
    folder = tmp_path_factory.mktemp("kernels")
    return Kernels(folder / "avx2"), Kernels(folder / "plain", "-DEDGEEMO_NO_AVX2")


def drawn(case: Case, seed: int) -> tuple[bytes, Network, Draft]:
    """A case's file and what was read of it."""
    draft = Draft(np.random.default_rng(seed))
    target = case(draft)
    file = draft.tflite(draft.pixels, target)
    size = int(np.prod(draft.graph.tensors[target].shape))
    return file, read_network(file, draft.spec, size), draft


def compared(
    library: Kernels, reference: Reference, network: Network, pixels: NDArray[np.uint8]
) -> None:
    """Every layer in C, in Python and in LiteRT's reference kernels, which must agree."""
    tensors = {network.input: (pixels.astype(int) - 128).astype(np.int8).ravel()}
    last = {layer.output: i for i, layer in enumerate(network.layers)}
    for i, (layer, values) in enumerate(library.layers(network, plan_arena(network), pixels)):
        whole, joins = last[layer.output] == i, layer.op is Op.CONCATENATION
        inputs = [tensors[number] for number in layer.inputs]
        before = tensors.get(layer.output) if joins and layer.start else values
        oracle = answered(layer, inputs, values if before is None else before)
        tensors[layer.output] = values
        if oracle is not None:
            assert np.array_equal(values, oracle), f"C and Python: {layer.op.name}"
        if whole:
            expected = reference.tensor(layer.output)
            assert np.array_equal(values, expected), f"C and LiteRT: {layer.op.name}"


@pytest.mark.parametrize("name", CASES)
def test_c_python_and_the_reference_kernel_give_the_same_bytes(
    name: str, libraries: tuple[Kernels, Kernels]
) -> None:
    answers = set()
    for seed in range(2):
        file, network, draft = drawn(CASES[name], seed)
        reference = Reference(file)
        for pixels in np.random.default_rng(seed).integers(
            0, 256, (2, *draft.spec.shape), dtype=np.uint8
        ):
            answers.add(reference.logits(pixels).tobytes())
            for library in libraries:
                compared(library, reference, network, pixels)
    assert len(answers) > 1


def test_the_cases_above_use_every_kernel_and_operator() -> None:
    kernels, operators = set(), set()
    for case in CASES.values():
        _, network, draft = drawn(case, 0)
        kernels |= {layer.op for layer in network.layers}
        names = builtin_operators()
        operators |= {names[code.builtinCode] for code in draft.model.operatorCodes}
    # Networks of these are compared layer by layer in test_firmware.py.
    assert kernels | {Op.DEPTHWISE_CONV_2D, Op.FULLY_CONNECTED} == set(Op)
    assert operators | {"FULLY_CONNECTED"} == set(OPERATORS)
    assert set(OPERATORS) == set(BUILTINS.values())


def turned_round(f: Draft) -> int:
    scale = f.scale()
    out = f.tensor((1, 3, 9, 8), scale)
    return f.operator("TRANSPOSE", [f.map(scale), f.numbers(0, 3, 1, 2)], out)


def with_a_constant(f: Draft) -> int:
    scale = f.scale()
    inputs = [f.map(scale), f.constant(*f.shape, scale=scale)]
    out = f.tensor((1, 9, 8, 6), scale)
    return f.operator("CONCATENATION", inputs, out, options("Concatenation", axis=3))


def both_repeated(f: Draft) -> int:
    inputs = [f.vector(), f.plane()]
    return f.operator("MUL", inputs, f.tensor(f.shape, f.scale()), options("Mul"))


def over_channels(f: Draft) -> int:
    inputs = [f.map(), f.numbers(3)]
    return f.operator("MEAN", inputs, f.tensor((1, 9, 8), f.scale()), options("Reducer"))


def over_rows(f: Draft) -> int:
    inputs = [f.map(), f.numbers(1)]
    return f.operator("MEAN", inputs, f.tensor((1, 8, 3), f.scale()), options("Reducer"))


def greatest_of_two(f: Draft) -> int:
    scale = f.scale()
    inputs = [f.map(scale), f.map(scale)]
    return f.operator("MAXIMUM", inputs, f.tensor(f.shape, scale), options("MaximumMinimum"))


def too_many_shares(f: Draft) -> int:
    scale = f.scale()
    pads = f.tensor(np.array([[0, 0], [0, 60], [0, 1], [0, 0]], np.int32))
    wide = f.operator("PAD", [f.map(scale), pads], f.tensor((1, 69, 9, 3), scale), options("Pad"))
    inputs = [wide, f.numbers(1, 1863)]
    flat = f.operator("RESHAPE", inputs, f.tensor((1, 1863), scale), None, 1)
    shares = f.tensor((1, 1863), SHARES)
    return f.operator("SOFTMAX", [flat], shares, options("Softmax", beta=1.0))


def padded_channels(f: Draft) -> int:
    scale = f.scale()
    pads = f.tensor(np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32))
    out = f.tensor((1, 9, 8, 5), scale)
    return f.operator("PAD", [f.map(scale), pads], out, options("Pad"))


def beyond_32_bits(f: Draft) -> int:
    weights = f.tensor(np.full((1, 1, 1, 3), 127, np.int8), Quantization(1e-9, 0))
    bias = f.tensor(np.array([(1 << 31) - 40_000], np.int32), Quantization(1e-9, 0))
    table = options("Conv2D", padding=0, strideW=1, strideH=1)
    out = f.tensor((1, 9, 8, 1), f.scale())
    return f.operator("CONV_2D", [f.map(PIXELS), weights, bias], out, table)


def root_of_negatives(f: Draft) -> int:
    return f.operator("RSQRT", [f.map(Quantization(0.1, 0))], f.tensor(f.shape, f.scale()), None, 1)


def scales_too_far_apart(f: Draft) -> int:
    return f.operator("RELU", [f.map()], f.tensor(f.shape, Quantization(1e-30, 0)))


REFUSED: dict[str, tuple[Case, str]] = {
    "TRANSPOSE": (
        turned_round,
        r"moves the sides \[1, 9, 8, 3\] to the order \[0, 3, 1, 2\], which is no reshape",
    ),
    "CONCATENATION": (with_a_constant, "joins a constant"),
    "MUL": (both_repeated, "repeats both of its inputs"),
    "MEAN": (over_channels, r"averages over the axes \[3\], expected height and width"),
    "MEAN of rows": (over_rows, r"averages over the axes \[1\], expected height and width"),
    "MAXIMUM": (greatest_of_two, "takes more than one tensor"),
    "SOFTMAX": (too_many_shares, "has more than 511 channels"),
    "PAD": (padded_channels, "pads more than height and width"),
    "RSQRT": (root_of_negatives, r"has no table of its answers \(int8.tflite: the inter.*\)"),
    "RELU": (scales_too_far_apart, r"has scales that do not fit \(expected a multiplier of .*\)"),
    "CONV_2D": (beyond_32_bits, "has sums that need more than 31 bits"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_become_c_names_operator_and_layer(name: str) -> None:
    case, why = REFUSED[name]
    where = rf"^int8.tflite: operator {name.split()[0]} of layer t\d+ cannot become C"
    with pytest.raises(BackendError, match=f"{where}: it {why}; use another layer"):
        drawn(case, 0)


def test_a_file_that_computes_nothing_is_refused() -> None:
    f = File()
    source, target = f.tensor((1, 9, 8, 3), PIXELS), f.tensor((1, 216), PIXELS)
    shape = f.tensor(np.array([1, 216], np.int32))
    f.operator("RESHAPE", [source, shape], target, None, 1)
    with pytest.raises(BackendError, match="received a file that computes nothing"):
        read_network(f.tflite(source, target), SPEC, 216)
