"""`vgg16`: configuration D of Simonyan and Zisserman (2015), to compare with and to distil from.

With batch normalization after every convolution.
"""

import keras
from keras import layers

from edgeemo.contract.input_spec import InputSpec
from edgeemo.errors import InvalidInput
from training.networks.blocks import convolution, rescaled_input

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
HIDDEN = 4096


def vgg16(spec: InputSpec, classes: int) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, classes) logits.

    Raises:
        InvalidInput: a side below 32 pixels, of which its poolings would leave none.
    """
    if min(spec.height, spec.width) < 2 ** len(WIDTHS):
        raise InvalidInput(
            f"expected at least {2 ** len(WIDTHS)} pixels a side for vgg16, received {spec.size}; "
            "take another network"
        )
    pixels, x = rescaled_input(spec)
    for stage, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS, strict=True), start=1):
        for number in range(1, count + 1):
            x = convolution(x, width, f"conv{stage}_{number}")
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(HIDDEN, activation="relu", name=f"hidden{number}")(x)
        x = layers.Dropout(0.5, name=f"dropout{number}")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(pixels, logits, name="vgg16")
