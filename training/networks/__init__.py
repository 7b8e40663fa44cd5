"""The networks, each a short function of its own: uint8-valued float32 (48, 48, 1) in, 7 logits out."""

import math
from collections.abc import Callable

import keras

from edgeemo.contract.input_spec import InputSpec
from training.networks.base import base
from training.networks.baseline5 import baseline5
from training.networks.nano import nano
from training.networks.small import small
from training.networks.teacher import teacher
from training.networks.vgg16 import vgg16

ARCHITECTURES: dict[str, Callable[[InputSpec], keras.Model]] = {
    network.__name__: network for network in (nano, small, base, teacher, baseline5, vgg16)
}


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
