"""The model configs of Keras 1 and 2, in words that Keras 3 reads.

Keras 3 reads much of Keras 2 itself, but not: a Sequential whose config is a list (before 2.2.3),
and arguments that have gone (`groups` of DepthwiseConv2D, `ragged`, Keras 1's names).
"""

from collections.abc import Callable
from typing import Any

from edgeemo.errors import ModelError

# Arguments that Keras 3 has no more, and the values with which they say nothing.
_GONE: dict[str, tuple[Any, ...]] = {
    "groups": (1,),
    "ragged": (False, None),
    "sparse": (False, None),
    "renorm": (False, None),
    "virtual_batch_size": (None,),
    "time_major": (False,),
    "input_dtype": ("float32", None),
    "create_input": (True,),
    "synchronized": (False,),
    "fused": (True, False, None),
    "mode": (0,),
    "bias_constraint": (None,),
    "kernel_constraint": (None,),
}
_ONLY_OF = {"groups": ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose")}
# Keras 1's names of layers and arguments.
_LAYERS = {
    "Convolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
}
_ARGUMENTS = {
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "border_mode": "padding",
    "subsample": "strides",
    "bias": "use_bias",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
}
# Of training alone: of a file that is only converted they say nothing.
_OF_TRAINING = ("regularizer", "initializer", "constraint")
_ORDER = {"tf": "channels_last", "th": "channels_first"}


def translated(config: dict[str, Any], name: str) -> dict[str, Any]:
    """A model's config as Keras 3 reads it; `name` stands in messages.

    Raises ModelError: channels first, or an argument that Keras 3 has no more and that says
    something.
    """
    kind, inner = config.get("class_name"), config.get("config")
    if kind == "Sequential" and isinstance(inner, list):
        inner = {"name": "sequential", "layers": inner}
    if not isinstance(inner, dict):
        raise ModelError(f"{name}: its config describes no model; save it again as .keras")
    if isinstance(inner.get("layers"), list):
        layers = [_layer(layer, name) for layer in inner["layers"]]
        if kind == "Sequential" and layers:
            layers = [*_own_input(layers[0]), *layers]
        return config | {"config": inner | {"layers": layers}}
    return config | {"config": inner}


def _own_input(first: Any) -> list[Any]:
    """The input layer of a Sequential whose first layer says the shape itself.

    Keras 3 takes that shape for one without the batch.
    """
    config = first.get("config") if isinstance(first, dict) else None
    if not isinstance(config, dict) or first.get("class_name") == "InputLayer":
        return []
    shape = config.pop("batch_input_shape", None)
    if shape is None:
        return []
    return [{"class_name": "InputLayer", "config": {"batch_shape": shape, "name": "own_input"}}]


def _layer(layer: Any, name: str) -> Any:
    if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict | list):
        return layer
    if layer.get("class_name") in ("Model", "Functional", "Sequential"):
        return translated(layer, name)
    kind = _LAYERS.get(str(layer.get("class_name")), str(layer.get("class_name")))
    config = dict(layer["config"]) if isinstance(layer["config"], dict) else {}
    if isinstance(config.get("layer"), dict):  # a wrapper, such as TimeDistributed
        config["layer"] = _layer(config["layer"], name)
    for step in (_keras_1, _without_gone):
        config = step(kind, config, name)
    return layer | {"class_name": kind, "config": config}


def _keras_1(kind: str, config: dict[str, Any], name: str) -> dict[str, Any]:
    if "dim_ordering" in config:
        config["data_format"] = _ORDER.get(str(config.pop("dim_ordering")), "channels_last")
    if {"nb_row", "nb_col"} <= set(config):
        config["kernel_size"] = [config.pop("nb_row"), config.pop("nb_col")]
    is_old = bool(set(config) & (set(_ARGUMENTS) - {"p", "bias", "init"})) or kind == "Dropout"
    for old, new in _ARGUMENTS.items():
        if is_old and old in config:
            config[new] = config.pop(old)
    for gone in ("input_dim", "activity_regularizer"):
        if gone in config and config[gone] is None:
            del config[gone]
    if config.get("data_format") == "channels_first":
        raise ModelError(
            f"{name}: layer {config.get('name', kind)} takes channels first, as Theano did, which "
            "TensorFlow cannot convert; adopt an ONNX file of it"
        )
    return config


def _without_gone(kind: str, config: dict[str, Any], name: str) -> dict[str, Any]:
    kept = {}
    for key, value in config.items():
        if any(key.endswith(word) for word in _OF_TRAINING):
            continue
        of = _ONLY_OF.get(key)
        if key not in _GONE or (of is not None and kind not in of):
            kept[key] = value
        elif value not in _GONE[key]:
            raise ModelError(
                f"{name}: layer {config.get('name', kind)} has {key} = {value!r:.40}, which Keras "
                "3 has no more; save it as SavedModel or ONNX where it was trained"
            )
    return kept


Translator = Callable[[dict[str, Any], str], dict[str, Any]]
