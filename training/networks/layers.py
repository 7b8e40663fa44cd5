"""Simulated int8 as Keras layers, and the networks without it. The one module of training that
export imports.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# int8 weights are -127..127, so that 0 is in the middle (TFLite's quantization specification).
LEVELS = 127
# A range of no width has no scale.
_NARROWEST = 1e-6
_serializable = keras.saving.register_keras_serializable(package="edgeemo")


def weights_on_grid(kernel: Any, axes: tuple[int, ...]) -> Any:
    """A float32 kernel rounded to int8 steps of max|w| / 127, one step for all weights along
    `axes`.

    Its gradient is the kernel's own.
    """
    scale = ops.max(ops.abs(kernel), axis=axes, keepdims=True) / LEVELS
    scale = ops.where(scale > 0, scale, ops.ones_like(scale))
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


@_serializable
class FakeQuantize(keras.layers.Layer):  # type: ignore[misc]
    """Activations rounded to int8 steps of a range that holds 0, as TFLite quantizes them.

    That is asymmetric, with a nudged zero point. The range is `limits` where they are given.
    Otherwise it is the first batch's and then follows each batch's with `momentum`, while training
    alone. The gradient is 1 inside and 0 outside of the range.
    """

    def __init__(
        self, limits: tuple[float, float] | None = None, momentum: float = 0.99, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.limits, self.momentum = limits, momentum

    def build(self, _: Any) -> None:
        """Make the range."""
        for name, value in zip(("low", "high"), self.limits or (0.0, 0.0), strict=True):
            start = keras.initializers.Constant(value)
            # Devices that share a batch see a part of it each; all take the mean of what they saw.
            of_all = self.add_weight(
                shape=(), initializer=start, trainable=False, aggregation="mean", name=name
            )
            setattr(self, name, of_all)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """`inputs`, of any shape, on the grid."""
        if training and self.limits is None:
            self._follow(ops.stop_gradient(inputs))
        return keras.quantizers.fake_quant_with_min_max_vars(inputs, self.low, self.high)

    def get_config(self) -> dict[str, Any]:
        """What makes the layer again."""
        return {**super().get_config(), "limits": self.limits, "momentum": self.momentum}

    def _follow(self, inputs: Any) -> None:
        low, high = ops.minimum(ops.min(inputs), 0.0), ops.maximum(ops.max(inputs), _NARROWEST)
        share = ops.where(self.high > self.low, self.momentum, 0.0)
        self.low.assign(share * self.low + (1 - share) * low)
        self.high.assign(share * self.high + (1 - share) * high)


@_serializable
class QuantizedConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution whose weights are rounded to int8, one scale an output channel."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """The convolution with the rounded kernel."""
        return super().convolution_op(inputs, weights_on_grid(kernel, (0, 1, 2)))


@_serializable
class QuantizedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """A depthwise convolution whose weights are rounded to int8, one scale an output channel."""

    def call(self, inputs: Any) -> Any:
        """The convolution with the rounded kernel."""
        kernel = weights_on_grid(self.kernel, (0, 1))
        outputs = ops.depthwise_conv(
            inputs, kernel, self.strides, self.padding, dilation_rate=self.dilation_rate
        )
        return self.activation(outputs + self.bias)


@_serializable
class QuantizedDense(keras.layers.Dense):  # type: ignore[misc]
    """A dense layer whose weights are rounded to int8, one scale an output."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The products with the rounded kernel."""
        return self.activation(ops.matmul(inputs, weights_on_grid(self.kernel, (0,))) + self.bias)


SIMULATED: dict[Any, Any] = {
    keras.layers.Conv2D: QuantizedConv2D,
    keras.layers.DepthwiseConv2D: QuantizedDepthwiseConv2D,
    keras.layers.Dense: QuantizedDense,
}


def rebuilt(model: keras.Model, rule: Callable[[keras.layers.Layer, Any], Any]) -> keras.Model:
    """A functional `model` of one input and one output made again.

    `rule(layer, inputs)` gives each layer's output.
    """
    made = {
        id(model.inputs[0]): keras.Input(
            batch_shape=model.inputs[0].shape, name=model.inputs[0].name
        )
    }
    for layer in model.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            given = layer.input
            inputs = [made[id(x)] for x in given] if isinstance(given, list) else made[id(given)]
            made[id(layer.output)] = rule(layer, inputs)
    return keras.Model(made[id(model.inputs[0])], made[id(model.outputs[0])], name=model.name)


def twin(layer: keras.layers.Layer, kind: Any, inputs: Any, **changes: Any) -> Any:
    """The output on `inputs` of a new layer of `kind` with the config and weights of `layer`.

    `changes` are of the config; `weights` among them are its weights instead.
    """
    weights = changes.pop("weights", layer.get_weights())
    new = kind.from_config(layer.get_config() | changes)
    outputs = new(inputs)
    new.set_weights(weights)
    return outputs


def without_simulation(model: keras.Model) -> keras.Model:
    """The float network that `model` simulates in int8: the same weights, nothing rounded."""
    plain = {simulated: kind for kind, simulated in SIMULATED.items()}

    def rule(layer: keras.layers.Layer, inputs: Any) -> Any:
        return (
            inputs
            if isinstance(layer, FakeQuantize)
            else twin(layer, plain.get(type(layer), type(layer)), inputs)
        )

    return rebuilt(model, rule)
