"""Gradient steps of several Keras networks of one build, by one compiled step that none waits
for.
"""

from collections.abc import Sequence
from typing import Any

import keras

from training.fast.xla import jax, jnp


class SideBySide:
    """Compiled networks that differ in their weights and random numbers alone, under JAX.

    The step is Keras' own of the first network, compiled once and given the variables of each:
    weights, what is not trained (dropout's random numbers are in it), the optimizer's moments and
    averages. All steps are begun before a loss is looked at, so a device has work ahead of it.

    `jax.vmap` over the networks would make one launch of several, and of each convolution one in
    groups, whose gradients are slow (docs/gpu.md).
    """

    def __init__(self, models: Sequence[keras.Model]) -> None:
        self.models = list(models)
        for model in self.models:
            model.optimizer.build(model.trainable_variables)
        self._states: list[Any] = []
        self._one = jax.jit(self.step_of_one, donate_argnums=0)

    def gather(self) -> None:
        """Take the networks' variables as they are now."""
        # Own copies: a step gives up what it is given.
        self._states = [
            [[jnp.array(variable.value) for variable in kind] for kind in _variables(model)]
            for model in self.models
        ]

    def step(self, batches: Sequence[tuple[Any, Any, Any]]) -> list[Any]:
        """Mean losses () of the networks, still on the device, of a gradient step of each.

        `batches` has for each network pictures (n, H, W, C), targets (n, ...), and weights (n,) or
        None for all the same.
        """
        return self.advance(self._one, [(batch,) for batch in batches])

    def advance(self, program: Any, given: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Losses, still on the device, of a `program` for each network, called with its state and
        what is `given` for it; it returns the losses and the new state.
        """
        losses = []
        for i, arguments in enumerate(given):
            loss, self._states[i] = program(self._states[i], *arguments)
            losses.append(loss)
        return losses

    def scatter(self) -> None:
        """Give the networks' variables what the steps made of them."""
        for model, state in zip(self.models, self._states, strict=True):
            for variables, values in zip(_variables(model), state, strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)
        self._states = []

    def step_of_one(self, state: Any, batch: Any) -> tuple[Any, Any]:
        """The step as a function that can be compiled: (loss, state) from a state and a batch."""
        model = self.models[0]
        # The mean loss is a metric, which begins anew for each step.
        zeros = [jnp.zeros(v.shape, v.dtype) for v in model.metrics_variables]
        logs, state = model.train_step((*state, zeros), batch)
        return logs["loss"], list(state[:3])


def _variables(model: keras.Model) -> tuple[list[Any], list[Any], list[Any]]:
    return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
