"""`teacher`: a residual network whose first stage keeps the full size; to distil from."""

import keras

from edgeemo.contract.input_spec import InputSpec
from training.networks.blocks import classifier, convolution, rescaled_input, residual

# 384 at the end: a bundle with its three forms stays below the 64 MB that a reader accepts.
WIDTHS = (64, 128, 256, 384)
BLOCKS = (2, 2, 2, 2)


def teacher(spec: InputSpec, classes: int) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, classes) logits."""
    pixels, x = rescaled_input(spec)
    for stage, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True), start=1):
        x = convolution(x, width, f"stage{stage}_in", stride=1 if stage == 1 else 2)
        for block in range(blocks):
            x = residual(x, width, f"stage{stage}_{block + 1}")
    return classifier(pixels, x, "teacher", classes, dropout=0.4)
