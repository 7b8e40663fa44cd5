"""`vgg16`: configuration D of Simonyan and Zisserman (2015) with batch normalization, on 48x48; for comparison and distillation."""

import keras
from keras import layers

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import LABELS
from training.networks.blocks import convolution, rescaled_input

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
HIDDEN = 4096


def vgg16(spec: InputSpec) -> keras.Model:
    """float32 (batch, 48, 48, 1) raw pixels 0..255 -> float32 (batch, 7) logits."""
    pixels, x = rescaled_input(spec)
    for stage, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS, strict=True), start=1):
        for number in range(1, count + 1):
            x = convolution(x, width, f"conv{stage}_{number}")
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = layers.Dense(HIDDEN, activation="relu", name=f"hidden{number}")(x)
        x = layers.Dropout(0.5, name=f"dropout{number}")(x)
    return keras.Model(
        pixels, layers.Dense(len(LABELS), name="logits", dtype="float32")(x), name="vgg16"
    )
