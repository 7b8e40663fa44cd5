"""Numbers in and out of quantized tensors, and the one softmax."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.input_spec import Arithmetic, InputSpec
from edgeemo.errors import InvalidInput

FLAT_PICTURES = 2
"""Of every calibration set: one of 0 and one of 255, the ends of the pixels' range."""


@dataclass(frozen=True)
class Quantization:
    """Affine int8 quantization of a tensor: real = scale * (stored - zero_point)  (TFLite
    quantization spec).
    """

    scale: float
    """Real numbers a step; positive."""
    zero_point: int
    """What stands for 0, -128 to 127."""

    def __post_init__(self) -> None:
        if not (0 < self.scale < float("inf")) or not -128 <= self.zero_point <= 127:
            raise InvalidInput(
                f"expected a positive scale and a zero point of -128 to 127, received {self}"
            )

    def dequantize(self, stored: NDArray[np.int8]) -> NDArray[np.float32]:
        """float32 values of int8 `stored`, same shape."""
        real = (stored.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)
        return np.asarray(real, np.float32)

    def quantize(self, real: NDArray[np.floating[Any]]) -> NDArray[np.int8]:
        """int8 values nearest to `real` (ties away from zero, as TFLite rounds), clipped to
        -128..127.
        """
        scaled = np.asarray(real, np.float64) / self.scale
        fraction, whole = np.modf(
            scaled
        )  # exact, where adding a half would round the largest number below it up
        rounded = whole + np.copysign(np.abs(fraction) >= 0.5, scaled)
        return np.asarray(np.clip(rounded + self.zero_point, -128, 127), np.int8)


# The input of every int8 model: stored = pixel - 128, so that device code is one subtraction.
PIXEL_QUANTIZATION = Quantization(scale=1.0, zero_point=-128)


def pixels_to_int8(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """uint8 pixels as the int8 that `PIXEL_QUANTIZATION` stores (pixel - 128)."""
    return (pixels ^ np.uint8(0x80)).view(np.int8)


def input_table(spec: InputSpec, quantization: Quantization) -> NDArray[np.int8]:
    """int8 (C, 256): what an int8 model stores for each uint8 pixel of each of the C channels.

    The model's number is the pixel itself where the graph computes pixel * scale + offset, and that
    value where the runtime does, in float64. So a table of 256 answers, in Python as in C, is all
    the arithmetic that an int8 model from elsewhere needs.
    """
    return quantization.quantize(_real_pixels(spec))


def scaled_pixels(spec: InputSpec) -> NDArray[np.float32]:
    """float32 (C, 256): the number that a float model takes for each pixel of each channel."""
    return np.asarray(_real_pixels(spec), np.float32)


def _real_pixels(spec: InputSpec) -> NDArray[np.float64]:
    pixels = np.arange(256, dtype=np.float64)
    if spec.arithmetic is Arithmetic.GRAPH:
        table = np.broadcast_to(pixels, (spec.channels, 256))
    else:
        scale = np.broadcast_to(np.array(spec.scale), spec.channels)[:, np.newaxis]
        offset = np.broadcast_to(np.array(spec.offset), spec.channels)[:, np.newaxis]
        table = pixels * scale + offset
    return np.asarray(table, np.float64)


def looked_up(table: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """`table` (C, 256) applied to uint8 (N, H, W, C) pixels, in the table's dtype."""
    if table.shape[0] == 1:
        return np.asarray(table[0][pixels])
    return np.stack([table[i][pixels[..., i]] for i in range(table.shape[0])], axis=-1)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities over the last axis, float32; the largest logit is subtracted first, so nothing
    overflows.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float32)


def calibrated_with(count: int, split: str) -> str:
    """A calibration set in words: "504 pictures of train and 2 flat ones".

    Args:
        count: of its pictures with the flat ones; 0 where there is no set.
        split: where the others come from, as the manifest has it.
    """
    if count <= FLAT_PICTURES:
        return "no pictures here"
    drawn = count_of(count - FLAT_PICTURES, "picture")
    return f"{drawn} of {split.removeprefix('pictures of ')} and {FLAT_PICTURES} flat ones"
