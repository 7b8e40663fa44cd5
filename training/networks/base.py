"""`base`: `small`'s plan, wider and deeper, for a Pi 5 or a Jetson.

About 1.9 M parameters, and 85 M MACs on 48x48 grey.
"""

import keras

from edgeemo.contract.input_spec import InputSpec
from training.networks.blocks import classifier, convolution, rescaled_input, residual

WIDTHS = (48, 96, 160, 208)


def base(spec: InputSpec, classes: int) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, classes) logits."""
    pixels, x = rescaled_input(spec)
    for stage, width in enumerate(WIDTHS, start=1):
        x = convolution(x, width, f"stage{stage}_down", stride=2)
        x = residual(x, width, f"stage{stage}")
    return classifier(pixels, x, "base", classes, dropout=0.3)
