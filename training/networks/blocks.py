"""What the networks are built of.

Batch normalization follows every convolution, so that export can fold it away.
"""

import keras
from keras import layers

from edgeemo.contract.input_spec import Arithmetic, InputSpec
from edgeemo.errors import InvalidInput


def rescaled_input(spec: InputSpec) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, float32 (batch, *spec.shape) raw pixels 0..255, and pixel * scale + offset of it.

    Raises:
        InvalidInput: the spec leaves that arithmetic to the runtime, while our networks do it.
    """
    if spec.arithmetic is not Arithmetic.GRAPH:
        raise InvalidInput(
            f"expected an input spec with the arithmetic in the graph, received {spec.arithmetic}"
        )
    pixels = keras.Input(spec.shape, name="pixels")
    scale, offset = (
        values[0] if len(values) == 1 else list(values) for values in (spec.scale, spec.offset)
    )
    return pixels, layers.Rescaling(scale, offset, name="rescale")(pixels)


def convolution(
    x: keras.KerasTensor,
    width: int,
    name: str,
    *,
    kernel: int = 3,
    stride: int = 1,
    relu: bool = True,
) -> keras.KerasTensor:
    """Convolution to `width` channels, normalization and, unless `relu` is False, ReLU."""
    x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def depthwise(x: keras.KerasTensor, name: str, *, stride: int = 1) -> keras.KerasTensor:
    """Depthwise 3x3 convolution, normalization and ReLU."""
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def residual(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Two 3x3 convolutions, and the input of `width` channels added (He et al. 2016)."""
    y = convolution(x, width, f"{name}_a")
    y = convolution(y, width, f"{name}_b", relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def classifier(
    pixels: keras.KerasTensor, x: keras.KerasTensor, name: str, classes: int, dropout: float
) -> keras.Model:
    """The network from `pixels` over features (batch, h, w, c), with a logit a class at its end."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # Logits stay float32 under mixed precision: a softmax over half-precision ones loses digits.
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(pixels, logits, name=name)
