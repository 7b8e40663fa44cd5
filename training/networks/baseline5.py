"""`baseline5`: the plain five-layer CNN that most FER-2013 work starts from; here for
comparison.
"""

import keras
from keras import layers

from edgeemo.contract.input_spec import InputSpec
from training.networks.blocks import classifier, convolution, rescaled_input

WIDTHS = (32, 64, 128, 128, 256)


def baseline5(spec: InputSpec, classes: int) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, classes) logits."""
    pixels, x = rescaled_input(spec)
    for number, width in enumerate(WIDTHS, start=1):
        x = convolution(x, width, f"conv{number}")
        if number < len(WIDTHS):
            x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    return classifier(pixels, x, "baseline5", classes, dropout=0.4)
