"""What a gradient step makes smaller, and the optimizer that takes it."""

from typing import Any

import keras
from keras import ops

from training.fit.recipe import Recipe


class Objective(keras.losses.Loss):  # type: ignore[misc]
    """A recipe's loss of targets (n, classes) and logits (n, classes).

    With teachers the targets are (n, 2 * classes), their scores behind the labels, and the loss is
    (1 - d) CE(labels, logits) + d T^2 CE(teachers' scores at T, logits / T), d = `distill` (Hinton
    et al. 2015).
    """

    def __init__(self, recipe: Recipe, classes: int) -> None:
        super().__init__(name="objective")
        self._recipe, self._classes = recipe, classes

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(n,) losses."""
        recipe, count = self._recipe, self._classes
        hard = y_true[:, :count]
        smoothing = recipe.label_smoothing if recipe.labels == "fer2013" else 0.0
        if recipe.focal:
            loss = keras.losses.categorical_focal_crossentropy(
                hard,
                y_pred,
                alpha=1.0,
                gamma=recipe.focal,
                from_logits=True,
                label_smoothing=smoothing,
            )
        else:
            loss = keras.losses.categorical_crossentropy(
                hard, y_pred, from_logits=True, label_smoothing=smoothing
            )
        if not recipe.teachers:
            return loss
        soft = ops.categorical_crossentropy(
            y_true[:, count:], y_pred / recipe.temperature, from_logits=True
        )
        return (1 - recipe.distill) * loss + recipe.distill * recipe.temperature**2 * soft


def optimizer_of(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule, for epochs of so many steps."""
    warmup = recipe.warmup_epochs * steps
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 20,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
        alpha=recipe.final_rate,
    )
    averaging = {"use_ema": recipe.ema > 0, "ema_momentum": recipe.ema}
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay or None, **averaging
        )
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **averaging)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
