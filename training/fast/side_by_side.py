"""Gradient steps of several Keras networks of one build as one compiled step."""

from collections.abc import Sequence
from typing import Any

import keras

from training.fast.xla import jax, jnp


class SideBySide:
    """Compiled networks that differ in their weights and random numbers alone, under JAX.

    The step is Keras' own of the first network, with an axis in front of all that it reads
    (`jax.vmap`): weights, what is not trained (dropout's random numbers are in it), the optimizer's
    moments and averages. So a device gets one launch where it got one for each network.
    """

    def __init__(self, models: Sequence[keras.Model]) -> None:
        self.models = list(models)
        for model in self.models:
            model.optimizer.build(model.trainable_variables)
        self._state: Any = None
        self._step = jax.jit(jax.vmap(self._one), donate_argnums=0)

    def gather(self) -> None:
        """Take the networks' variables as they are now."""
        lists = [_variables(model) for model in self.models]
        self._state = [
            [jnp.stack([variable.value for variable in same]) for same in zip(*kinds, strict=True)]
            for kinds in zip(*lists, strict=True)
        ]

    def step(self, x: Any, y: Any, weights: Any) -> Any:
        """float32 (s,) mean losses of s networks, on the device, after a gradient step of each.

        Args:
            x: pictures (s, n, H, W, C), a batch of its own for each network.
            y: targets (s, n, ...).
            weights: (s, n), or None for all the same.
        """
        losses, self._state = self._step(self._state, (x, y, weights))
        return losses

    def scatter(self) -> None:
        """Give the networks' variables what the steps made of them."""
        lists = [_variables(model) for model in self.models]
        for values, *kinds in zip(self._state, *lists, strict=True):
            for value, *same in zip(values, *kinds, strict=True):
                for part, variable in zip(value, same, strict=True):
                    variable.assign(part)
        self._state = None

    def _one(self, state: Any, batch: Any) -> tuple[Any, Any]:
        model = self.models[0]
        # The mean loss is a metric, which begins anew for each step.
        zeros = [jnp.zeros(v.shape, v.dtype) for v in model.metrics_variables]
        logs, state = model.train_step((*state, zeros), batch)
        return logs["loss"], list(state[:3])


def _variables(model: keras.Model) -> tuple[list[Any], list[Any], list[Any]]:
    return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
