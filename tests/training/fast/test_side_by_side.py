"""Steps of several Keras networks at once against the steps of each alone."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeemo.contract.input_spec import DEFAULT_SPEC
from training.fast.side_by_side import SideBySide
from training.fit.loop import restart_average
from training.fit.objective import Objective, optimizer_of
from training.fit.recipe import Recipe
from training.machines.compute import set_seed
from training.networks.blocks import classifier, convolution, rescaled_input

RECIPE = Recipe(learning_rate=0.02, warmup_epochs=1, epochs=4, ema=0.9)
STEPS, BATCH = 3, 16


def compiled(seed: int) -> keras.Model:
    """With batch normalization, dropout, decay, a schedule and an average of the weights."""
    set_seed(seed)
    pixels, x = rescaled_input(DEFAULT_SPEC)
    x = convolution(layers.AveragePooling2D(8)(x), 8, "one")
    model = classifier(pixels, x, "tiny", 7, dropout=0.3)
    model.compile(optimizer=optimizer_of(RECIPE, STEPS), loss=Objective(RECIPE, 7))
    return model


def batches() -> list[Any]:
    """Pictures (2, 16, 48, 48, 1), targets (2, 16, 7) and weights (2, 16) for each of STEPS."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (STEPS, 2, BATCH, 48, 48, 1)).astype(np.float32)
    y = np.eye(7, dtype=np.float32)[rng.integers(0, 7, (STEPS, 2, BATCH))]
    weights = rng.uniform(0.5, 2, (STEPS, 2, BATCH)).astype(np.float32)
    return list(zip(x, y, weights, strict=True))


def variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def test_steps_side_by_side_are_those_of_each_network_alone_but_for_rounding() -> None:
    ours, alone = [compiled(seed) for seed in (1, 2)], [compiled(seed) for seed in (1, 2)]
    together = SideBySide(ours)
    for epoch in range(2):
        together.gather()
        for x, y, weights in batches():
            losses = together.step(list(zip(x, y, weights, strict=True)))
            for i, model in enumerate(alone):
                model.reset_metrics()
                expected = model.train_on_batch(x[i], y[i], sample_weight=weights[i])
                assert float(losses[i]) == pytest.approx(float(expected), rel=1e-4)
        together.scatter()
        if epoch == 0:
            for model in ours + alone:
                restart_average(model)
    for model, other in zip(ours, alone, strict=True):
        for a, b in zip(variables(model), variables(other), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    first, second = (model.trainable_variables[0].numpy() for model in ours)
    assert np.abs(first - second).max() > 0.01
