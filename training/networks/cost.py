"""What one inference of a network costs."""

import math

import keras


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
