"""AdamW, the learning rate and the moving average of a step, as Keras has them, over plain lists of
arrays.
"""

from typing import Any

import keras
import numpy as np

from training.fast.xla import jnp

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-7
_UNDECAYED = ("bias", "gamma", "beta")


def new_state(model: keras.Model) -> dict[str, Any]:
    """What a step carries on: weights, their moments and moving average, what is not trained, and
    the step's number.
    """
    weights = [np.array(v.value) for v in model.trainable_variables]
    zeros = [np.zeros_like(w) for w in weights]
    return {
        "weights": weights,
        "average": [w.copy() for w in weights],
        "first": zeros,
        "second": [z.copy() for z in zeros],
        "others": [np.array(v.value) for v in model.non_trainable_variables],
        "step": np.int32(0),
    }


def decayed(model: keras.Model) -> list[bool]:
    """Which trainable variables weight decay is for: none whose name has bias, gamma or beta in it,
    as in Keras' AdamW.
    """
    return [not any(word in v.path for word in _UNDECAYED) for v in model.trainable_variables]


def learning_rate(step: Any, schedule: Any) -> Any:
    """The rate at `step`: linear from a twentieth of the peak over the warm-up, then a cosine to
    zero.

    `schedule` has "peak", and "warmup" and "total" in steps.
    """
    peak, warmup, total = schedule["peak"], schedule["warmup"], schedule["total"]
    rising = peak / 20 + (peak - peak / 20) * step / jnp.maximum(warmup, 1)
    share = jnp.clip((step - warmup) / jnp.maximum(total - warmup, 1), 0, 1)
    return jnp.where(step < warmup, rising, peak * 0.5 * (1 + jnp.cos(jnp.pi * share)))


def updated(
    state: dict[str, Any], gradients: list[Any], decays: list[bool], schedule: Any
) -> dict[str, Any]:
    """The state after a step of AdamW; its "others" are as they were.

    `schedule` also has "decay" (weight decay a step, times the rate) and "momentum" (0..1) of the
    moving average, which is the weights themselves until the warm-up's end.
    """
    step = state["step"]
    rate = learning_rate(step, schedule)
    number = (step + 1).astype(jnp.float32)
    scale = rate * jnp.sqrt(1 - _BETA2**number) / (1 - _BETA1**number)
    keep = jnp.where(step < schedule["warmup"], 0.0, schedule["momentum"])
    new: dict[str, Any] = {"weights": [], "first": [], "second": [], "average": []}
    for w, m, v, average, gradient, decay in zip(
        state["weights"],
        state["first"],
        state["second"],
        state["average"],
        gradients,
        decays,
        strict=True,
    ):
        m = m + (gradient - m) * (1 - _BETA1)
        v = v + (gradient * gradient - v) * (1 - _BETA2)
        shrunk = w * (1 - rate * schedule["decay"]) if decay else w
        w = shrunk - scale * m / (jnp.sqrt(v) + _EPSILON)
        new["weights"].append(w)
        new["first"].append(m)
        new["second"].append(v)
        new["average"].append(keep * average + (1 - keep) * w)
    return new | {"others": state["others"], "step": step + 1}
