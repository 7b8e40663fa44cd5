"""Networks of other inputs and labels than the shipped models', quantized by TensorFlow's own
converter: sides, three channels, another scale and zero point, and 2 to 64 labels."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras
import numpy as np
from keras import layers

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import Arithmetic, InputSpec
from tests.export.firmware.firmware_support import Reference, drawn_bundle, drawn_pixels

EIGHT = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise", "contempt")


@dataclass(frozen=True)
class Drawn:
    """A network with drawn weights."""

    spec: InputSpec
    """What it takes."""
    labels: tuple[str, ...]
    """Names of its logits."""
    middle: Callable[[], list[keras.layers.Layer]]
    """The layers between the input's arithmetic and the pooling."""
    brightest: int = 255
    """The largest pixel that the quantizer sees; below 255 the input gets another scale."""


NETWORKS = {
    "rgb 112x112": Drawn(
        InputSpec(height=112, width=112, channels=3),
        EIGHT,
        lambda: [
            layers.Conv2D(10, 3, strides=4, padding="same", activation="relu", name="a"),
            layers.DepthwiseConv2D(3, padding="same", name="d"),
            layers.Conv2D(7, 1, name="p"),
        ],
    ),
    "rgb 96x64": Drawn(
        InputSpec(height=96, width=64, channels=3),
        EIGHT[:7],
        lambda: [
            layers.DepthwiseConv2D(3, strides=3, padding="same", activation="relu", name="d"),
            layers.Conv2D(5, (3, 5), strides=2, padding="same", name="a"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="m"),
            layers.Conv2D(12, 3, padding="same", name="b"),
        ],
    ),
    "64 labels": Drawn(
        InputSpec(height=16, width=24),
        tuple(f"emotion {i}" for i in range(64)),
        lambda: [layers.Conv2D(5, 3, strides=2, name="a")],
    ),
    "scaled by the runtime": Drawn(
        InputSpec(height=24, width=20, arithmetic=Arithmetic.RUNTIME),
        ("calm", "tense"),
        lambda: [layers.Conv2D(6, 3, strides=2, activation="relu", name="a")],
    ),
    "scaled by channel": Drawn(
        InputSpec(
            height=32,
            width=40,
            channels=3,
            scale=(1 / 58.4, 1 / 57.1, 1 / 57.4),
            offset=(-2.118, -2.036, -1.804),
            arithmetic=Arithmetic.RUNTIME,
        ),
        EIGHT,
        lambda: [layers.Conv2D(9, 5, strides=3, padding="same", name="a")],
    ),
    "pixels of another scale": Drawn(
        InputSpec(height=24, width=20),
        EIGHT,
        lambda: [layers.Conv2D(6, 3, strides=2, activation="relu", name="a")],
        brightest=200,
    ),
}
TABLES = {"scaled by the runtime": 1, "scaled by channel": 3, "pixels of another scale": 1}


def real_numbers(spec: InputSpec) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and offset of what the file itself takes."""
    return (spec.scale, spec.offset) if spec.arithmetic is Arithmetic.RUNTIME else ((1.0,), (0.0,))


@cache
def tflite(name: str) -> bytes:
    """The network as TensorFlow's own converter quantizes it, its input's range as it saw it."""
    import tensorflow as tf

    drawn = NETWORKS[name]
    scale, offset = real_numbers(drawn.spec)
    pixels = keras.Input(drawn.spec.shape, batch_size=1)
    x = pixels
    if drawn.spec.arithmetic is Arithmetic.GRAPH:
        x = layers.Rescaling(1 / 127.5, -1.0, name="rescale")(x)
    for layer in drawn.middle():
        x = layer(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(pixels, layers.Dense(len(drawn.labels), name="logits")(x))
    rng = np.random.default_rng(5)
    model.set_weights(
        [rng.normal(0.02, 0.4, w.shape).astype(np.float32) for w in model.get_weights()]
    )
    seen = np.minimum(drawn_pixels(drawn.spec, 8, seed=1), drawn.brightest)
    real = (seen * np.array(scale) + np.array(offset)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[np.newaxis]] for picture in real)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ranges come from the pictures
        return bytes(converter.convert())


def reference_of(name: str) -> Reference:
    return Reference(tflite(name), *real_numbers(NETWORKS[name].spec))


def bundle_of(name: str, folder: Path) -> Bundle:
    drawn = NETWORKS[name]
    return drawn_bundle(tflite(name), drawn.spec, drawn.labels, folder / "drawn.edgeemo")
