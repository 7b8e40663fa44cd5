"""Quantization-aware training (Jacob et al. 2018): a float network made to round as int8 TFLite
does.

Its normalization is folded away first. What is rounded, and to what, is TFLite's quantization
specification; the layers are those of `training.networks.layers`.
"""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edgeemo.contract.input_spec import InputSpec
from edgeemo.errors import RunError
from training.fit.recipe import Recipe
from training.networks import NETWORKS
from training.networks.layers import SIMULATED, FakeQuantize, rebuilt, twin

# What comes out of these has the scale of what went in.
_SAME_SCALE = (layers.MaxPooling2D, layers.Flatten, layers.Dropout)
_OWN_SCALE = (*SIMULATED, layers.Add, layers.ReLU, layers.GlobalAveragePooling2D)
# Nothing is rounded between these and a ReLU: TFLite makes one operator of the two.
_FUSED = (*SIMULATED, layers.Add)
_KNOWN = (layers.InputLayer, layers.Rescaling, layers.BatchNormalization, *_SAME_SCALE, *_OWN_SCALE)


def network(recipe: Recipe, spec: InputSpec, classes: int) -> keras.Model:
    """The recipe's network with drawn weights, which simulates int8 where the recipe says so.

    Raises:
        InvalidInput: no such network, or an input that it does not take.
    """
    model = NETWORKS.get(recipe.model)(spec, classes)
    return simulated(model) if recipe.qat else model


def finetuning(recipe: Recipe, run: str) -> Recipe:
    """How the float `run` that `recipe` made is trained on in simulated int8: short, gently, on
    whole pictures.
    """
    warmup = min(1, recipe.warmup_epochs)
    plain = replace(recipe, init=run, qat=True, precision="float32", mixup=0.0, cutmix=0.0, ema=0.0)
    return replace(plain, epochs=8, learning_rate=1e-4, warmup_epochs=warmup)


def simulated(model: keras.Model) -> keras.Model:
    """A float network of raw pixels as one that simulates int8, with its weights.

    The ranges of its activations are not known yet.

    Raises:
        RunError: a layer of a kind, or at a place, that the simulation does not know.
    """
    for layer in model.layers:
        if type(layer) not in _KNOWN:
            names = ", ".join(kind.__name__ for kind in _KNOWN)
            raise RunError(
                f"{model.name}: int8 training does not know how TFLite rounds the "
                f"{type(layer).__name__} {layer.name}; expected layers of {names}"
            )
    return _rounded(folded(model))


def folded(model: keras.Model) -> keras.Model:
    """The same function, as in inference, without batch normalization.

    It becomes weights and biases of the convolution before it.
    """
    readers = _readers(model)
    norms: dict[str, Any] = {}
    for layer in model.layers:
        behind = readers[id(layer.output)]
        if type(layer) in SIMULATED and [type(reader) for reader in behind] == [
            layers.BatchNormalization
        ]:
            norms[layer.name] = behind[0]
    folding = {norm.name for norm in norms.values()}

    def rule(layer: keras.layers.Layer, inputs: Any) -> Any:
        if layer.name in folding:
            return inputs
        if isinstance(layer, layers.BatchNormalization):
            raise RunError(
                f"{model.name}: expected a convolution of its own before the BatchNormalization "
                f"{layer.name}"
            )
        if type(layer) in SIMULATED:
            weights = _with_norm(layer, norms.get(layer.name))
            return twin(layer, type(layer), inputs, use_bias=True, weights=weights)
        return twin(layer, type(layer), inputs)

    return rebuilt(model, rule)


def _with_norm(layer: keras.layers.Layer, norm: keras.layers.Layer | None) -> list[NDArray[Any]]:
    """Kernel and bias of a layer that computes what `layer` and `norm` behind it did."""
    kernel, *bias = (weights.astype(np.float64) for weights in layer.get_weights())
    channels = kernel.shape[2:] if isinstance(layer, layers.DepthwiseConv2D) else kernel.shape[-1:]
    shift = bias[0] if bias else np.zeros(np.prod(channels))
    if norm is not None:
        gamma, beta, mean, variance = (weights.astype(np.float64) for weights in norm.get_weights())
        gain = gamma / np.sqrt(variance + norm.epsilon)
        kernel, shift = kernel * gain.reshape(channels), beta + (shift - mean) * gain
    return [kernel.astype(np.float32), shift.astype(np.float32)]


def _rounded(model: keras.Model) -> keras.Model:
    readers = _readers(model)
    rescale = model.layers[1]
    if not isinstance(rescale, layers.Rescaling) or any(
        type(reader) is not layers.Conv2D for reader in readers[id(rescale.output)]
    ):
        raise RunError(
            f"{model.name}: expected a Rescaling of the pixels and convolutions alone behind it, "
            "for int8 training"
        )
    if np.ndim(rescale.scale) or np.ndim(rescale.offset):
        raise RunError(
            f"{model.name}: expected one scale and one offset for all channels, for int8 training; "
            f"received {rescale.scale} and {rescale.offset}"
        )
    scale, low, left = _pixel_grid(rescale.scale, rescale.offset)

    def rule(layer: keras.layers.Layer, inputs: Any) -> Any:
        if layer is rescale:
            return _rounded_pixels(layer, inputs, scale, low)
        if type(layer) in _SAME_SCALE:
            return twin(layer, type(layer), inputs)
        weights = layer.get_weights()
        if layer.input is rescale.output:
            weights[1] = weights[1] + left * weights[0].sum(axis=(0, 1, 2))
        outputs = twin(layer, SIMULATED.get(type(layer), type(layer)), inputs, weights=weights)
        behind = [type(reader) for reader in readers[id(layer.output)]]
        if type(layer) in _FUSED and behind == [layers.ReLU]:
            return outputs
        return FakeQuantize(name=f"{layer.name}_int8")(outputs)

    return rebuilt(model, rule)


def _pixel_grid(scale: float, offset: float) -> tuple[float, float, float]:
    """Scale, lowest value, and what that lacks of `offset`, of the int8 grid of scaled pixels.

    It has a point for each pixel and one at exactly 0. Pixels scaled to -1..1 have no 0 among them,
    and rounding them to a grid that has one would be a toss for every pixel.
    """
    low = -round(-offset / scale) * scale
    return scale, low, offset - low


def _rounded_pixels(layer: keras.layers.Layer, pixels: Any, scale: float, low: float) -> Any:
    # TFLite computes the rescaling as a multiplication and an addition, and rounds after each.
    x = FakeQuantize((0.0, 255.0), name=f"{layer.name}_pixels_int8")(pixels)
    x = layers.Rescaling(scale, name=f"{layer.name}_scale")(x)
    x = FakeQuantize((0.0, 255 * scale), name=f"{layer.name}_scale_int8")(x)
    x = layers.Rescaling(1.0, low, name=f"{layer.name}_offset")(x)
    return FakeQuantize((low, low + 255 * scale), name=f"{layer.name}_offset_int8")(x)


def _readers(model: keras.Model) -> dict[int, list[keras.layers.Layer]]:
    """The layers that read each tensor of a functional network, by the tensor's id."""
    readers = defaultdict(list)
    for layer in model.layers[1:]:
        for tensor in layer.input if isinstance(layer.input, list) else [layer.input]:
            readers[id(tensor)].append(layer)
    return readers
