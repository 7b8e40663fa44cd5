"""Files that take or give floats, and files that end in a softmax."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.backends import RuntimeOptions
from edgeemo.backends.litert import LiteRtBackend, tensor_values
from edgeemo.contract.input_spec import Arithmetic, InputSpec
from edgeemo.contract.quantize import Quantization
from edgeemo.errors import BackendError
from edgeemo.firmware.network import read_network
from edgeemo.firmware.plan import plan_arena
from tests.export.firmware.firmware_support import Compiled, drawn_pixels
from tests.export.firmware.one_operator import File, options

LABELS = ("calm", "tense", "glad", "sad", "cross")
SPEC = InputSpec(
    height=12,
    width=10,
    channels=3,
    scale=(1 / 58.4, 1 / 57.1, 1 / 57.4),
    offset=(-2.118, -2.036, -1.804),
    arithmetic=Arithmetic.RUNTIME,
)
LOGITS = Quantization(0.09, 12)


def file(ends: tuple[str, ...], *, head: bool = True, softmax: bool = False) -> bytes:
    """A convolution and a mean, floats in (with `head`) or out (after `ends`), with or without an
    int8 softmax."""
    f, rng, scale = File(), np.random.default_rng(3), Quantization(0.0187, -14)
    pixels = source = f.tensor((1, *SPEC.shape), scale)
    if head:
        source = f.tensor((1, *SPEC.shape), None, np.float32)
        f.operator("QUANTIZE", [source], pixels, None, 1)
    weights = rng.integers(-127, 128, (5, 3, 3, 3)).astype(np.int8)
    made = f.tensor((1, 4, 4, 5), Quantization(0.2, 3))
    inputs = [pixels, f.tensor(weights, Quantization(0.01, 0))]
    inputs.append(f.tensor(rng.integers(-900, 900, 5).astype(np.int32), Quantization(1e-4, 0)))
    f.operator("CONV_2D", inputs, made, options("Conv2D", padding=0, strideW=3, strideH=3))
    mean = f.tensor((1, 5), LOGITS)
    axes = f.tensor(np.array([1, 2], np.int32))
    last = f.operator("MEAN", [made, axes], mean, options("Reducer"))
    if softmax:
        shares = f.tensor((1, 5), Quantization(1 / 256, -128))
        last = f.operator("SOFTMAX", [last], shares, options("Softmax", beta=1.0))
    for kind in ends:
        table = options("Softmax", beta=1.0) if kind == "SOFTMAX" else None
        last = f.operator(kind, [last], f.tensor((1, 5), None, np.float32), table, 1)
    return f.tflite(source, last)


def answers(model: bytes, folder: Path) -> tuple[NDArray[np.int8], NDArray[np.uint16], Compiled]:
    """int8 (N, 5) and Q15 scores of drawn pictures in generated C."""
    network = read_network(model, SPEC, 5)
    ours = Compiled(network, plan_arena(network), folder, ("gcc", "-O1"))
    logits = np.stack([ours.logits(picture) for picture in drawn_pixels(SPEC, 20)])
    scores = np.empty((len(logits), 5), np.uint16)
    for row, out in zip(logits, scores, strict=True):
        ours.c.edgeemo_softmax_q15(
            ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(out.ctypes.data)
        )
    return logits, scores, ours


@pytest.mark.parametrize(
    ("head", "ends"),
    [(True, ()), (True, ("DEQUANTIZE",)), (False, ("DEQUANTIZE", "SOFTMAX"))],
)
def test_the_int8_part_has_the_bytes_of_the_interpreter(
    ends: tuple[str, ...], head: bool, tmp_path: Path
) -> None:
    model = file(ends, head=head)
    logits, scores, ours = answers(model, tmp_path)
    pictures = drawn_pixels(SPEC, 20)
    inner = tensor_values(model, "int8.tflite", pictures, SPEC, ours.network.output)
    assert np.array_equal(logits, inner)
    assert len({row.tobytes() for row in logits}) > 10
    assert ours.network.cut_off is ("SOFTMAX" in ends)
    backend = LiteRtBackend(
        model, "int8.tflite", SPEC, LABELS, RuntimeOptions(reference_kernels=True)
    )
    said = backend.infer(pictures)
    if "SOFTMAX" in ends:
        assert np.abs(scores / 32768 - said).max() < 2e-4
    else:
        assert np.array_equal(LOGITS.dequantize(logits), said)


def test_scores_of_a_file_that_ends_in_a_softmax_are_its_probabilities(tmp_path: Path) -> None:
    model = file((), softmax=True)
    logits, scores, ours = answers(model, tmp_path)
    assert ours.network.probabilities
    pictures = drawn_pixels(SPEC, 20)
    inner = tensor_values(model, "int8.tflite", pictures, SPEC, ours.network.output)
    assert np.array_equal(logits, inner)
    shares = logits.astype(float) + 128
    assert np.abs(scores / 32768 - shares / shares.sum(1, keepdims=True)).max() < 1 / 32768
    assert (np.abs(scores.astype(int).sum(1) - 32768) <= 3).all()


@pytest.mark.parametrize("ends", [("DEQUANTIZE", "RELU"), ("DEQUANTIZE", "SOFTMAX", "SOFTMAX")])
def test_other_floats_are_named(ends: tuple[str, ...]) -> None:
    with pytest.raises(
        BackendError, match=rf"operator {ends[-1]} of layer t\d+ cannot .* works on float32"
    ):
        read_network(file(ends), SPEC, 5)
