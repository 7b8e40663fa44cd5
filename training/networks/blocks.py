"""What the networks are built of. Batch normalization follows every convolution, so that export can fold it away."""

import keras
from keras import layers

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import LABELS


def rescaled_input(spec: InputSpec) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, float32 (batch, 48, 48, 1) raw pixels 0..255, and the same scaled to -1..1."""
    pixels = keras.Input(spec.shape, name="pixels")
    return pixels, layers.Rescaling(spec.scale, spec.offset, name="rescale")(pixels)


def convolution(
    x: keras.KerasTensor,
    width: int,
    name: str,
    *,
    kernel: int = 3,
    stride: int = 1,
    relu: bool = True,
) -> keras.KerasTensor:
    """Convolution to `width` channels, normalization and, unless told otherwise, ReLU."""
    x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def depthwise(x: keras.KerasTensor, name: str, *, stride: int = 1) -> keras.KerasTensor:
    """Depthwise 3x3 convolution, normalization and ReLU."""
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def residual(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Two 3x3 convolutions around which the input, which has `width` channels, is carried (He et al. 2016)."""
    y = convolution(x, width, f"{name}_a")
    y = convolution(y, width, f"{name}_b", relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def classifier(
    pixels: keras.KerasTensor, x: keras.KerasTensor, name: str, dropout: float
) -> keras.Model:
    """The network from `pixels` over features (batch, h, w, c): average pooling, dropout, and 7 logits in float32."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # Logits stay float32 under mixed precision: a softmax over half-precision ones loses digits.
    logits = layers.Dense(len(LABELS), name="logits", dtype="float32")(x)
    return keras.Model(pixels, logits, name=name)
