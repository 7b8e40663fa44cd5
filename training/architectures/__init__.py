"""The networks, each a short function of its own: uint8-valued float32 (48, 48, 1) in, 7 logits out."""

import math
from collections.abc import Callable

import keras

from edgeemo.contract.input_spec import InputSpec
from training.architectures.small import small

ARCHITECTURES: dict[str, Callable[[InputSpec], keras.Model]] = {"small": small}


def multiply_accumulates(model: keras.Model) -> int:
    """Multiply-accumulates of one inference: convolutions and dense layers, biases not counted."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            _, height, width, _ = layer.output.shape
            total += height * width * math.prod(layer.kernel.shape)
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total
