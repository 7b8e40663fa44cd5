"""`small`: a four-stage residual network of plain 3x3 convolutions.

About 0.35 M parameters, and 30 M MACs on 48x48 grey.
"""

import keras

from edgeemo.contract.input_spec import InputSpec
from training.networks.blocks import classifier, convolution, rescaled_input, residual

# Plain convolutions, because XNNPACK's int8 kernels and an Arm's dot-product units run them at
# several times the rate of depthwise ones; stride 2 in the first layer, because a 48x48 activation
# costs more than it gives.
WIDTHS = (32, 64, 80, 112)


def small(spec: InputSpec, classes: int) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, classes) logits."""
    pixels, x = rescaled_input(spec)
    for stage, width in enumerate(WIDTHS, start=1):
        x = convolution(x, width, f"stage{stage}_down", stride=2)
        if stage < len(WIDTHS):
            x = residual(x, width, f"stage{stage}")
    return classifier(pixels, x, "small", classes, dropout=0.2)
