"""Configs of Keras 1 and 2, in their documented shape, are read; what says something else is named.

No file of Keras 1 or 2 is here: these configs are written as their `get_config` wrote them, around
weights in the HDF5 layout that has stayed the same.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeemo.errors import ModelError
from export.adopt.keras_file import load_keras
from export.adopt.wanted import Wanted
from tests.foreign_models import with_config

WANTED = Wanted(("a", "b", "c"))
VALUES = np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype(np.float32)
_INIT = {
    "class_name": "VarianceScaling",
    "config": {"distribution": "uniform", "scale": 1.0, "seed": None, "mode": "fan_avg"},
}
_L2 = {"class_name": "L1L2", "config": {"l2": 0.009999999776482582, "l1": 0.0}}


def conv2(name: str, filters: int, *, separable: bool = False, size: int = 3) -> dict[str, Any]:
    """A Conv2D or SeparableConv2D as Keras 2.0.5 wrote it."""
    config: dict[str, Any] = {
        "filters": filters, "data_format": "channels_last", "name": name, "padding": "same",
        "trainable": True, "activation": "linear", "use_bias": False, "kernel_size": [size, size],
        "strides": [1, 1], "dilation_rate": [1, 1], "bias_regularizer": None,
        "bias_initializer": {"class_name": "Zeros", "config": {}}, "bias_constraint": None,
        "activity_regularizer": None, "kernel_constraint": None, "kernel_regularizer": _L2,
        "kernel_initializer": _INIT,
    }  # fmt: skip
    if separable:
        config |= {"depth_multiplier": 1, "depthwise_initializer": _INIT,
                   "pointwise_initializer": _INIT, "depthwise_regularizer": _L2,
                   "pointwise_regularizer": _L2, "depthwise_constraint": None,
                   "pointwise_constraint": None}  # fmt: skip
    return {"class_name": "SeparableConv2D" if separable else "Conv2D", "config": config}


def norm2(name: str) -> dict[str, Any]:
    config = {
        "name": name, "trainable": True, "axis": -1, "momentum": 0.99, "epsilon": 0.001,
        "center": True, "scale": True, "beta_initializer": {"class_name": "Zeros", "config": {}},
        "gamma_initializer": {"class_name": "Ones", "config": {}},
        "moving_mean_initializer": {"class_name": "Zeros", "config": {}},
        "moving_variance_initializer": {"class_name": "Ones", "config": {}},
        "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None,
        "gamma_constraint": None,
    }  # fmt: skip
    return {"class_name": "BatchNormalization", "config": config}


def wired(layer: dict[str, Any], *sources: str) -> dict[str, Any]:
    name = layer["config"]["name"]
    inbound = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return layer | {"name": name, "inbound_nodes": inbound}


def keras_2_config() -> dict[str, Any]:
    """A block of mini_XCEPTION (oarriaga/face_classification) in the words of Keras 2.0.5."""
    entry = {"batch_input_shape": [None, 16, 16, 1], "dtype": "float32", "sparse": False,
             "name": "input_1"}  # fmt: skip
    pool = {"name": "max_pooling2d_1", "trainable": True, "pool_size": [3, 3], "padding": "same",
            "strides": [2, 2], "data_format": "channels_last"}  # fmt: skip
    side = conv2("conv2d_3", 6, size=1)
    side["config"]["strides"] = [2, 2]

    def plain(kind: str, name: str, **more: Any) -> dict[str, Any]:
        return {"class_name": kind, "config": {"name": name, "trainable": True, **more}}

    layers = [
        wired({"class_name": "InputLayer", "config": entry}),
        wired(conv2("conv2d_1", 4), "input_1"),
        wired(norm2("batch_normalization_1"), "conv2d_1"),
        wired(plain("Activation", "activation_1", activation="relu"), "batch_normalization_1"),
        wired(conv2("separable_conv2d_1", 6, separable=True), "activation_1"),
        wired(norm2("batch_normalization_2"), "separable_conv2d_1"),
        wired({"class_name": "MaxPooling2D", "config": pool}, "batch_normalization_2"),
        wired(side, "activation_1"),
        wired(plain("Add", "add_1"), "max_pooling2d_1", "conv2d_3"),
        wired(conv2("conv2d_4", 3), "add_1"),
        wired(plain("GlobalAveragePooling2D", "global_average_pooling2d_1",
                    data_format="channels_last"), "conv2d_4"),
        wired(plain("Activation", "predictions", activation="softmax"),
              "global_average_pooling2d_1"),
    ]  # fmt: skip
    config = {"name": "model_1", "layers": layers, "input_layers": [["input_1", 0, 0]],
              "output_layers": [["predictions", 0, 0]]}  # fmt: skip
    return {"class_name": "Model", "config": config}


def modern_twin() -> keras.Model:
    """The same block in Keras 3, with drawn weights."""
    layers = keras.layers
    source = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(source)
    before = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(6, 3, padding="same", use_bias=False)(before)
    x = layers.MaxPooling2D(3, 2, padding="same")(layers.BatchNormalization()(x))
    side = layers.Conv2D(6, 1, strides=2, padding="same", use_bias=False)(before)
    x = layers.Conv2D(3, 3, padding="same", use_bias=False)(layers.Add()([x, side]))
    x = layers.Softmax()(layers.GlobalAveragePooling2D()(x))
    return drawn(keras.Model(source, x))


def drawn(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(1)
    weights = [rng.normal(0.1, 0.4, w.shape).astype(np.float32) for w in model.get_weights()]
    model.set_weights([np.abs(w) + 0.5 if w.ndim == 1 else w for w in weights])
    return model


def loaded(path: Path) -> keras.Model:
    return load_keras(path, path.read_bytes(), WANTED)


def test_a_model_of_keras_2_answers_as_its_twin_in_keras_3(tmp_path: Path) -> None:
    twin = modern_twin()
    twin.save(path := tmp_path / "twin.h5")
    old = with_config(path, tmp_path / "old.hdf5", lambda _: keras_2_config())
    answers = loaded(old).predict_on_batch(VALUES)
    assert np.abs(answers - twin.predict_on_batch(VALUES)).max() < 1e-6


def sequential_twin() -> keras.Model:
    layers = keras.layers
    return drawn(
        keras.Sequential(
            [
                keras.Input((16, 16, 1)),
                layers.Conv2D(4, (3, 5), activation="relu"),
                layers.MaxPooling2D((2, 2)),
                layers.Dropout(0.25),
                layers.Flatten(),
                layers.Dense(3, activation="softmax"),
            ]
        )
    )


def test_a_sequential_of_keras_1_is_read(tmp_path: Path) -> None:
    twin = sequential_twin()
    twin.save(path := tmp_path / "twin.h5")
    layers = [
        {"class_name": "Convolution2D", "config": {
            "batch_input_shape": [None, 16, 16, 1], "nb_filter": 4, "nb_row": 3, "nb_col": 5,
            "border_mode": "valid", "subsample": [1, 1], "dim_ordering": "tf", "bias": True,
            "init": "glorot_uniform", "activation": "relu", "W_regularizer": None,
            "b_regularizer": None, "activity_regularizer": None, "W_constraint": None,
            "b_constraint": None, "input_dtype": "float32", "trainable": True,
            "name": "convolution2d_1"}},
        {"class_name": "MaxPooling2D", "config": {
            "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf",
            "trainable": True, "name": "maxpooling2d_1"}},
        {"class_name": "Dropout", "config": {"p": 0.25, "trainable": True, "name": "dropout_1"}},
        {"class_name": "Flatten", "config": {"trainable": True, "name": "flatten_1"}},
        {"class_name": "Dense", "config": {
            "output_dim": 3, "init": "glorot_uniform", "activation": "softmax", "bias": True,
            "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None,
            "W_constraint": None, "b_constraint": None, "input_dim": None, "trainable": True,
            "name": "dense_1"}},
    ]  # fmt: skip
    config = {"class_name": "Sequential", "config": layers}
    old = with_config(path, tmp_path / "old.h5", lambda _: config)
    answers = loaded(old).predict_on_batch(VALUES)
    assert np.abs(answers - twin.predict_on_batch(VALUES)).max() < 1e-6

    layers[0]["config"]["dim_ordering"] = "th"  # type: ignore[index]
    theano = with_config(path, tmp_path / "theano.h5", lambda _: config)
    with pytest.raises(ModelError, match="convolution2d_1 takes channels first, as Theano did"):
        loaded(theano)


def test_arguments_that_keras_3_has_no_more(tmp_path: Path) -> None:
    model = drawn(
        keras.Sequential([keras.Input((16, 16, 1)), keras.layers.DepthwiseConv2D(3, name="depth")])
    )
    model.save(path := tmp_path / "twin.h5")

    def grouped(groups: int) -> Any:
        def change(config: dict[str, Any]) -> None:
            (layer,) = [x for x in config["config"]["layers"] if x["class_name"] != "InputLayer"]
            layer["config"]["groups"] = groups

        return change

    old = with_config(path, tmp_path / "old.h5", grouped(1))  # as tf.keras 2.3 to 2.15 wrote it
    assert np.allclose(loaded(old).predict_on_batch(VALUES), model.predict_on_batch(VALUES))
    strange = with_config(path, tmp_path / "strange.h5", grouped(2))
    with pytest.raises(ModelError, match="layer depth has groups = 2, which Keras 3 has no more"):
        loaded(strange)
