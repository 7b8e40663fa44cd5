"""`nano`: for microcontrollers.

About 47 k parameters; on 48x48 grey 6.6 M MACs, and at most 28 KB of activations alive at once.
"""

import keras

from edgeemo.contract.input_spec import InputSpec
from training.networks.blocks import (
    classifier,
    convolution,
    depthwise,
    rescaled_input,
    residual,
)

WIDTHS = (16, 32, 48, 96)


def nano(spec: InputSpec, classes: int) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, classes) logits."""
    pixels, x = rescaled_input(spec)
    for stage, width in enumerate(WIDTHS[:2], start=1):
        x = convolution(x, width, f"stage{stage}_down", stride=2)
        x = residual(x, width, f"stage{stage}")
    x = convolution(x, WIDTHS[2], "stage3_down", stride=2)
    # Bytes are what limits from here on: a depthwise and a 1x1 convolution instead of a full one.
    x = convolution(depthwise(x, "stage4_depth"), WIDTHS[3], "stage4_point", kernel=1)
    return classifier(pixels, x, "nano", classes, dropout=0.1)
