"""`small`: a four-stage residual network of plain 3x3 convolutions, about 0.4 M parameters and 22 M MACs."""

import keras
from keras import layers

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import LABELS

# Plain convolutions, because XNNPACK's int8 kernels and an Arm's dot-product units run them at several times the
# rate of depthwise ones; stride 2 in the first layer, because a 48x48 activation costs more than it gives.
WIDTHS = (24, 48, 96, 160)


def small(spec: InputSpec) -> keras.Model:
    """float32 (batch, 48, 48, 1) raw pixels 0..255 -> float32 (batch, 7) logits."""
    pixels = keras.Input(spec.shape, name="pixels")
    x = layers.Rescaling(spec.scale, spec.offset, name="rescale")(pixels)
    for stage, width in enumerate(WIDTHS, start=1):
        x = _convolution(x, width, f"stage{stage}_down", stride=2)
        x = layers.ReLU(name=f"stage{stage}_down_relu")(x)
        if stage < len(WIDTHS):
            x = _residual(x, width, f"stage{stage}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(pixels, layers.Dense(len(LABELS), name="logits")(x), name="small")


def _convolution(x: keras.KerasTensor, width: int, name: str, stride: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


def _residual(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    y = _convolution(x, width, f"{name}_a")
    y = layers.ReLU(name=f"{name}_a_relu")(y)
    y = _convolution(y, width, f"{name}_b")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))
