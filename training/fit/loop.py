"""The gradient steps: loss, optimizer, and one seeded pass over the training faces."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from tqdm import tqdm

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import Prepared
from edgeemo.errors import RunError
from training.fit.augment import augmented_epoch, cut_mixed, mixed
from training.fit.balance import balanced_rows, balanced_weights
from training.fit.compute import computing_in, fuse_normalization
from training.fit.devices import ONE, Devices
from training.fit.distill import Teachers
from training.fit.recipe import Recipe
from training.fit.targets import Targets, targets
from training.networks.qat import network

_OF_VIEWS = 1  # apart from the streams of the epochs
# How the three backends begin to say that a GPU's memory is full.
_OUT_OF_MEMORY = (
    "resource_exhausted",
    "resource exhausted",
    "resourceexhausted",
    "out of memory",
    "outofmemory",
    "oom when",
)


class Diverged(RunError):
    """The loss became infinite or no number."""


@dataclass(frozen=True)
class Faces:
    """Pictures uint8 (n, 48, 48, 1) and targets float32 (n, 7), or (n, 14) with teachers' scores behind; class weights (7,).

    `teachers` are those who are still to be asked, about augmented pictures.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    teachers: Teachers | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,), the most probable label by the targets."""
        return np.asarray(self.targets[:, : len(LABELS)].argmax(axis=1), np.int64)


def chosen_targets(
    recipe: Recipe, data: Prepared, rows: NDArray[np.int64], *, fitted: bool
) -> Targets:
    """Targets of some rows (n,); where they are `fitted` to, the hard part of a mix is smoothed (the loss smooths plain hard ones)."""
    smoothing = recipe.label_smoothing if recipe.labels == "mix" and fitted else 0.0
    return targets(data, rows, recipe.labels, recipe.mix, smoothing)


def training_faces(recipe: Recipe, data: Prepared, fitted: Targets) -> Faces:
    """The pictures of `fitted` with all that the loss wants of them: class weights, and teachers' scores behind the targets."""
    weights = balanced_weights(fitted.values) if recipe.class_weight else None
    images, values = data.images[fitted.rows], fitted.values
    teachers = Teachers(recipe, data, fitted.rows) if recipe.teachers else None
    if teachers is not None and not recipe.views:
        values, teachers = np.concatenate([values, teachers.scores()], axis=1), None
    return Faces(images, values, weights, teachers)


def new_model(recipe: Recipe, steps: int) -> keras.Model:
    """The recipe's network, seeded and compiled for epochs of so many steps, in the recipe's precision."""
    keras.utils.set_random_seed(recipe.seed)
    with computing_in(recipe.precision):
        model = network(recipe, DEFAULT_SPEC)
    fuse_normalization(model)
    model.compile(optimizer=_optimizer(recipe, steps), loss=Objective(recipe))
    return model


def steps_per_epoch(recipe: Recipe, faces: int) -> int:
    """Gradient steps of an epoch with `faces` training pictures; what does not fill a batch is left for another epoch."""
    return max(1, (len(LABELS) * recipe.balance or faces) // recipe.batch_size)


def fit_epoch(
    model: keras.Model,
    recipe: Recipe,
    epoch: int,
    faces: Faces,
    *,
    progress: bool = True,
    devices: Devices = ONE,
) -> float:
    """One pass over the training faces; returns its mean loss. Every worker makes the same epoch from the same seed.

    Raises:
        Diverged: the loss is no number.
        RunError: the device's memory is full.
    """
    # Each epoch draws from its own stream, so a resumed run sees what an uninterrupted one would have.
    rng = np.random.default_rng([recipe.seed, epoch])
    rows = (
        balanced_rows(faces.labels, recipe.balance, rng)
        if recipe.balance
        else np.arange(len(faces.images))
    )
    order = rng.permutation(rows)
    if faces.teachers is None:
        x, y = augmented_epoch(faces.images[order], recipe.augmentation, rng), faces.targets[order]
    else:
        x, y = _seen_by_teachers(faces, faces.teachers, recipe, epoch)
        x, y = x[order], y[order]
    x, y = _blended(x, y, recipe, rng)
    weights = None if faces.weights is None else y[:, : len(LABELS)] @ faces.weights
    steps = steps_per_epoch(recipe, len(faces.images))
    losses = []
    shown = progress and sys.stderr.isatty()
    for step in tqdm(
        range(steps),
        f"epoch {epoch + 1}/{recipe.epochs}",
        unit="step",
        leave=False,
        disable=not shown,
    ):
        part = slice(step * recipe.batch_size, (step + 1) * recipe.batch_size)
        loss = _step(
            devices, model, recipe, x[part], y[part], None if weights is None else weights[part]
        )
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss became {loss} at step {step + 1} of epoch {epoch + 1} (step {epoch * steps + step + 1} in all); "
                "the best weights so far are kept in model.weights.h5: train again with a lower --learning-rate"
                if epoch
                else f"the loss became {loss} at step {step + 1} of the first epoch: train again with a lower --learning-rate"
            )
        losses.append(loss)
    if epoch < recipe.warmup_epochs:
        _restart_average(model)
    return float(np.mean(losses))


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, a model whose optimizer keeps a moving average of the weights has that average for weights."""
    optimizer = _inner_optimizer(model)
    if not optimizer.use_ema:
        yield
        return
    kept = model.get_weights()
    optimizer.finalize_variable_values(model.trainable_variables)
    # Own copies: under JAX both would share arrays, and a prediction gives up those of the model.
    model.set_weights(model.get_weights())
    try:
        yield
    finally:
        model.set_weights(kept)


def _restart_average(model: keras.Model) -> None:
    """Let the moving average begin here: drawn weights and those of the warm-up would be felt in it for epochs."""
    optimizer = _inner_optimizer(model)
    if optimizer.use_ema:
        for average, variable in zip(
            optimizer._model_variables_moving_average, model.trainable_variables, strict=True
        ):
            average.assign(ops.convert_to_numpy(variable))  # a copy, see averaged_weights


def _inner_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer, which under float16 is wrapped in one that scales the loss."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def fitted_epochs(
    recipe: Recipe, data: Prepared, rows: NDArray[np.int64]
) -> Iterator[tuple[keras.Model, float]]:
    """Fit a network to some rows (n,) of prepared data as `train` does; yields it and its loss after every epoch.

    Nothing is written and nothing validated, so the result is what the last epoch made.

    Raises:
        RunError: the recipe is of a run in simulated int8, which starts from a float run that has seen other rows.
        Diverged: the loss is no number.
        DataError: the recipe's labels or balance ask for votes or classes that these rows do not hold.
    """
    if recipe.qat:
        raise RunError(
            f"expected the recipe of a float run to fit anew, received one in simulated int8; take that of {recipe.init}"
        )
    faces = training_faces(recipe, data, chosen_targets(recipe, data, rows, fitted=True))
    model = new_model(recipe, steps_per_epoch(recipe, len(faces.images)))
    for epoch in range(recipe.epochs):
        loss = fit_epoch(model, recipe, epoch, faces, progress=False)
        with averaged_weights(model):
            yield model, loss


class Objective(keras.losses.Loss):  # type: ignore[misc]
    """A recipe's loss of targets (n, 7) and logits (n, 7); with teachers, of targets (n, 14), their scores behind the labels.

    With a teacher: (1 - d) CE(labels, logits) + d T^2 CE(teacher's scores at T, logits / T), d = `distill` (Hinton et al. 2015).
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(name="objective")
        self._recipe = recipe

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """(n,) losses."""
        recipe, count = self._recipe, len(LABELS)
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


def _step(
    devices: Devices, model: keras.Model, recipe: Recipe, x: Any, y: Any, weights: Any
) -> float:
    try:
        return devices.step(model, x, y, weights)
    except (
        Exception
    ) as error:  # each backend has its own class for a full memory, and none can be imported here
        text = f"{type(error).__name__} {error}".lower()
        if not any(sign in text for sign in _OUT_OF_MEMORY):
            raise
        raise RunError(
            f"the device's memory is too small for a batch of {recipe.batch_size} with {recipe.model}; "
            f"try --batch-size {max(2, recipe.batch_size // 2)} and --learning-rate {recipe.learning_rate / 2:g}"
        ) from None


def _seen_by_teachers(
    faces: Faces, teachers: Teachers, recipe: Recipe, epoch: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All pictures as augmented for an epoch, in their own order, and targets with the teachers' scores of these very pictures."""
    view = epoch % recipe.views
    x = augmented_epoch(
        faces.images, recipe.augmentation, np.random.default_rng([recipe.seed, view, _OF_VIEWS])
    )
    return x, np.concatenate([faces.targets, teachers.view_scores(view, x)], axis=1)


def _blended(
    x: NDArray[np.float32], y: NDArray[np.float32], recipe: Recipe, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not (recipe.mixup and recipe.cutmix):
        return cut_mixed(*mixed(x, y, recipe.mixup, rng), recipe.cutmix, rng)
    half = len(x) // 2  # in a random order already
    first, second = (
        mixed(x[:half], y[:half], recipe.mixup, rng),
        cut_mixed(x[half:], y[half:], recipe.cutmix, rng),
    )
    blend = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    order = rng.permutation(len(x))
    return blend[0][order], blend[1][order]


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
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
