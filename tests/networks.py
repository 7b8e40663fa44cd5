"""Networks for tests: a small one that trains in seconds, and a `nano` that is far from the gate's
edges.

Neither depends on how a processor rounds: the small one proves what holds for any weights, and the
weights of the `nano` are computed once, not trained, so that rounding does not grow step by step.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.run import Progress, write_run_config
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import RunError
from tests import support
from training.fit.events import Events
from training.fit.recipe import Augmentation, Recipe
from training.fit.train import run_config, train
from training.networks import NETWORKS
from training.networks.blocks import classifier, convolution, rescaled_input
from training.runs.evaluate import write_split
from training.runs.run import write_model, write_weights

SEED = int(os.environ.get("EDGEEMO_TEST_SEED", "3"))  # ./scripts/test-processors varies it


def quick(spec: InputSpec, classes: int) -> keras.Model:
    """What our networks are made of, with few variables, since each costs time to trace."""
    pixels, x = rescaled_input(spec)
    x = convolution(convolution(x, 8, "first", stride=4), 16, "second", stride=2)
    return classifier(pixels, x, "quick", classes, dropout=0.1)


def means(spec: InputSpec, classes: int) -> keras.Model:
    """The brightness of the four quadrants and a dense layer: learns the drawn classes in a
    second."""
    pixels = keras.Input(spec.shape)
    x = keras.layers.Rescaling(spec.scale[0], spec.offset[0])(pixels)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(24)(x))
    return keras.Model(pixels, keras.layers.Dense(classes)(x), name="means")


_ADDED = ExitStack()  # for as long as the tests run
_ADDED.enter_context(NETWORKS.added("quick", quick))
_ADDED.enter_context(NETWORKS.added("means", means))

STILL = Augmentation(
    flip=0, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, cutout=0, blur=0
)
# What the config of `known_run` says, and what a run inherits that goes on from it.
KNOWN = Recipe(
    model="nano",
    epochs=1,
    warmup_epochs=0,
    ema=0.0,
    mixup=0.0,
    label_smoothing=0.0,
    augmentation=STILL,
    seed=SEED,
)


class CtrlC(Events):
    """Presses Ctrl-C while the second epoch is written down, so that the first one is kept."""

    def __init__(self) -> None:
        """No event file is written."""

    def begin(self, history: Sequence[dict[str, Any]]) -> None:
        """Nothing yet."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An interrupt in the second epoch."""
        if row["epoch"] == 2:
            raise KeyboardInterrupt


def interrupted_in_second_epoch(recipe: Recipe, prepared: Path, out: Path) -> None:
    """Train into `out` until Ctrl-C in the second epoch.

    `support.interrupted_after_first_epoch` does so to a process of its own, which takes longer.
    """
    with pytest.raises(RunError, match=f"stopped after 1 of {recipe.epochs} epochs; go on with"):
        train(recipe, prepared, out, events=CtrlC(), pictures=False)


def known_nano(seed: int = SEED) -> keras.Model:
    """A `nano` that knows the drawn pictures: it blurs, finds edges, and takes the nearest class.

    Its convolutions carry the brightness of the quadrants on, the depthwise one finds edges in
    eight directions, and the last layer compares what is found with each class's mean. No class
    needs a small difference, so int8 answers as float does, with logits that are far apart."""
    keras.utils.set_random_seed(seed)
    model = NETWORKS.get("nano")(DEFAULT_SPEC, len(LABELS))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([_edges(layer.kernel.shape[2])])
        elif isinstance(layer, keras.layers.Conv2D):
            kernel = _blur(layer.kernel.shape, rng)
            if layer.name == "stage4_point":
                inputs, outputs = np.ogrid[: kernel.shape[2], : kernel.shape[3]]
                kernel = kernel * (inputs % 8 == outputs % 8)
            layer.set_weights([kernel])
    labels = np.arange(40 * len(LABELS)) % len(LABELS)
    pictures = support.drawn_faces(len(labels), seed)[:-2].astype(np.float32)
    _normalize(model, pictures)
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    features = np.asarray(pooled(pictures), np.float64)
    model.get_layer("logits").set_weights(list(_nearest_class(features, labels)))
    return model


def known_run(prepared: Path, out: Path) -> Path:
    """A finished float run of `known_nano` on prepared drawn pictures, as training leaves it."""
    out.mkdir()
    model, data = known_nano(), load_prepared(prepared, DEFAULT_SPEC)
    history = Progress(epochs=1, best_epoch=1, seconds=0.0)
    write_run_config(out, replace(run_config(KNOWN, data, model), history=history))
    write_model(out, model)
    write_weights(out, model)
    for split in ("validation", "test"):
        assert write_split(model, data, split, out, pictures=False).top1 == 1.0
    return out


def _blur(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """A kernel that takes means, of each channel its own share."""
    return np.full(shape, 1 / np.prod(shape[:3])) * rng.uniform(0.5, 1.5, shape[2:])


def _edges(channels: int) -> NDArray[np.float64]:
    """(3, 3, channels, 1): Sobel's edges and their sums, in eight directions in turn."""
    across = np.outer([1, 2, 1], [1, 0, -1]) / 8
    down = across.T
    eight = [a * across + b * down for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    return np.stack([eight[i % 8] for i in range(channels)], axis=-1)[..., np.newaxis]


def _normalize(model: keras.Model, pictures: NDArray[np.float32]) -> None:
    """Give each normalization the statistics of the pictures; what is no edge is shifted above
    0."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.beta.assign(np.full(norm.beta.shape, 0.0 if norm.name == "stage4_depth_norm" else 2.0))
    model(pictures, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _nearest_class(
    features: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights and biases whose largest logit is the nearest class mean's, mostly 20 above the
    next."""
    means = np.stack([features[labels == label].mean(axis=0) for label in range(len(LABELS))])
    centre = means.mean(axis=0)
    weights = (means - centre).T
    bias = -(weights**2).sum(axis=0) / 2 - centre @ weights
    logits = features @ weights + bias
    own = np.eye(len(LABELS), dtype=bool)[labels]
    margins = logits[own] - np.where(own, -np.inf, logits).max(axis=1)
    return weights * 20 / np.median(margins), bias * 20 / np.median(margins)
