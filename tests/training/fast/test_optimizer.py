"""A step's arithmetic against Keras' own optimizer and schedule."""

import keras
import numpy as np
import pytest

from training.fast.optimizer import decayed, learning_rate, new_state, updated
from training.fast.xla import jnp
from training.machines.compute import set_seed

NUMBERS = {
    "peak": np.float32(0.01),
    "warmup": np.float32(3),
    "total": np.float32(10),
    "decay": np.float32(0.05),
    "momentum": np.float32(0.9),
}


def keras_rate() -> keras.optimizers.schedules.LearningRateSchedule:
    return keras.optimizers.schedules.CosineDecay(0.01 / 20, 7, warmup_target=0.01, warmup_steps=3)


def test_rate_is_keras_cosine_after_a_warm_up() -> None:
    theirs = keras_rate()
    for step in range(12):
        assert float(learning_rate(np.int32(step), NUMBERS)) == pytest.approx(
            float(theirs(step)), rel=1e-5, abs=1e-9
        )


def test_weights_and_their_average_move_as_keras_moves_them() -> None:
    set_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    optimizer = keras.optimizers.AdamW(keras_rate(), weight_decay=0.05)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(model.trainable_variables)
    state, rng = new_state(model), np.random.default_rng(1)
    average = None
    for step in range(8):
        gradients = [rng.normal(size=v.shape).astype(np.float32) for v in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)
        state = updated(state, [jnp.asarray(g) for g in gradients], decayed(model), NUMBERS)
        now = [np.array(v.value) for v in model.trainable_variables]
        before = now if average is None or step < 3 else average
        average = [0.9 * a + 0.1 * w for a, w in zip(before, now, strict=True)]
        for ours, theirs in zip(state["weights"], now, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    assert average is not None
    for ours, theirs in zip(state["average"], average, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_decay_spares_biases_and_normalization() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    assert decayed(model) == [True, False, False, False]
