"""The gradient steps: what they are given, and one seeded pass over the training faces."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgeemo.contract.input_spec import InputSpec
from edgeemo.data.prepared import Prepared
from edgeemo.errors import RunError
from training.fit.augment import augmented_epoch, cut_mixed, mixed
from training.fit.balance import balanced_rows, balanced_weights
from training.fit.distill import Teachers
from training.fit.diverged import Diverged
from training.fit.objective import Objective, optimizer_of
from training.fit.recipe import Recipe
from training.fit.targets import Targets, targets
from training.machines.compute import computing_in, fuse_normalization, set_seed
from training.machines.devices import ONE, Devices
from training.networks.qat import network
from workstation.progress import counted

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


@dataclass(frozen=True)
class Faces:
    """Pictures and what they are fitted to."""

    images: NDArray[np.uint8]
    """uint8 (n, H, W, C)."""
    targets: NDArray[np.float32]
    """float32 (n, classes), or (n, 2 * classes) with the teachers' scores behind."""
    class_names: tuple[str, ...]
    """What the first columns of the targets mean."""
    weights: NDArray[np.float32] | None = None
    """float32 (classes,), how much each class's loss weighs; None for all the same."""
    teachers: Teachers | None = None
    """Those who are still to be asked, about augmented pictures."""

    @property
    def hard_targets(self) -> NDArray[np.float32]:
        """float32 (n, classes): the targets without the teachers' scores."""
        return self.targets[:, : len(self.class_names)]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,), the most probable label by the targets."""
        return np.asarray(self.hard_targets.argmax(axis=1), np.int64)


def chosen_targets(
    recipe: Recipe, data: Prepared, rows: NDArray[np.int64], *, fitted: bool
) -> Targets:
    """Targets of some rows (n,).

    Where they are `fitted` to, the hard part of a mix is smoothed; the loss smooths plain hard
    ones.
    """
    smoothing = recipe.label_smoothing if recipe.labels == "mix" and fitted else 0.0
    return targets(data, rows, recipe.labels, recipe.mix, smoothing)


def training_faces(recipe: Recipe, data: Prepared, fitted: Targets) -> Faces:
    """The pictures of `fitted` with class weights, and teachers' scores behind the targets."""
    weights = balanced_weights(fitted.values) if recipe.class_weight else None
    images, values = data.images[fitted.rows], fitted.values
    teachers = Teachers(recipe, data, fitted.rows) if recipe.teachers else None
    if teachers is not None and not recipe.views:
        values, teachers = np.concatenate([values, teachers.scores()], axis=1), None
    return Faces(images, values, data.class_names, weights, teachers)


def new_model(recipe: Recipe, steps: int, spec: InputSpec, classes: int) -> keras.Model:
    """The recipe's network, seeded and compiled for epochs of so many steps, in its precision."""
    set_seed(recipe.seed)
    with computing_in(recipe.precision):
        model = network(recipe, spec, classes)
    fuse_normalization(model)
    model.compile(optimizer=optimizer_of(recipe, steps), loss=Objective(recipe, classes))
    return model


def steps_per_epoch(recipe: Recipe, faces: int, classes: int) -> int:
    """Gradient steps of an epoch with `faces` training pictures of so many classes.

    What does not fill a batch is left for another epoch.
    """
    return max(1, (classes * recipe.balance or faces) // recipe.batch_size)


def fit_epoch(
    model: keras.Model,
    recipe: Recipe,
    epoch: int,
    faces: Faces,
    *,
    title: str = "epoch",
    note: str = "",
    devices: Devices = ONE,
) -> float:
    """One pass over the training faces; returns its mean loss.

    Under a `title` it says how far it is, with `note` at the end of that line
    (workstation/progress.py). Every worker makes the same epoch from the same seed.

    Raises:
        Diverged: the loss is no number.
        RunError: the device's memory is full.
    """
    x, y, weights = epoch_of(recipe, epoch, faces)
    steps = steps_per_epoch(recipe, len(faces.images), len(faces.class_names))
    losses = []
    whole = f"{title} {epoch + 1}/{recipe.epochs}"
    for step in counted(range(steps), whole, "steps", note=note, shown=bool(title)):
        part = slice(step * recipe.batch_size, (step + 1) * recipe.batch_size)
        part_weights = None if weights is None else weights[part]
        with enough_memory(recipe):
            loss = devices.step(model, x[part], y[part], part_weights)
        if not math.isfinite(loss):
            raise diverged(loss, epoch, step, steps)
        losses.append(loss)
    if epoch < recipe.warmup_epochs:
        restart_average(model)
    return float(np.mean(losses))


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Inside, a model whose optimizer averages the weights over steps has that average for
    weights.
    """
    optimizer = _inner_optimizer(model)
    if not optimizer.use_ema:
        yield
        return
    own = model.get_weights()
    optimizer.finalize_variable_values(model.trainable_variables)
    # Own copies: under JAX both would share arrays, and a prediction gives up those of the model.
    model.set_weights(model.get_weights())
    try:
        yield
    finally:
        model.set_weights(own)


def restart_average(model: keras.Model) -> None:
    """Let the moving average begin here: weights of the warm-up would be felt in it for epochs."""
    optimizer = _inner_optimizer(model)
    if optimizer.use_ema:
        for average, variable in zip(
            optimizer._model_variables_moving_average, model.trainable_variables, strict=True
        ):
            average.assign(ops.convert_to_numpy(variable))  # a copy, see averaged_weights


def _inner_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer, which under float16 is wrapped in one that scales the loss."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def epoch_of(
    recipe: Recipe, epoch: int, faces: Faces
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
    """Pictures (n, H, W, C), targets and weights of an epoch: drawn, augmented, mixed, in order."""
    # Each epoch draws from its own stream, so a resumed run sees what an uninterrupted one would.
    rng = np.random.default_rng([recipe.seed, epoch])
    rows = np.arange(len(faces.images))
    if recipe.balance:
        rows = balanced_rows(faces.labels, recipe.balance, faces.class_names, rng)
    order = rng.permutation(rows)
    if faces.teachers is None:
        x, y = augmented_epoch(faces.images[order], recipe.augmentation, rng), faces.targets[order]
    else:
        x, y = _seen_by_teachers(faces, faces.teachers, recipe, epoch)
        x, y = x[order], y[order]
    x, y = _blended(x, y, recipe, rng)
    weights = None if faces.weights is None else y[:, : len(faces.class_names)] @ faces.weights
    return x, y, weights


@contextmanager
def enough_memory(recipe: Recipe, first: str = "") -> Iterator[None]:
    """Inside, a device whose memory is full raises RunError with what to do, `first` before the
    rest.
    """
    try:
        yield
    # Each backend has its own class for a full memory, and none can be imported here.
    except Exception as error:
        text = f"{type(error).__name__} {error}".lower()
        if not any(sign in text for sign in _OUT_OF_MEMORY):
            raise
        raise RunError(
            f"the device's memory is too small for a batch of {recipe.batch_size} with "
            f"{recipe.model}; try {first}--batch-size {max(2, recipe.batch_size // 2)} and "
            f"--learning-rate {recipe.learning_rate / 2:g}"
        ) from None


def diverged(loss: float, epoch: int, step: int, steps: int) -> Diverged:
    """What a `loss` that is no number raises, of a step in an epoch of so many."""
    if not epoch:
        return Diverged(
            f"the loss became {loss} at step {step + 1} of the first epoch: train again with a "
            "lower --learning-rate"
        )
    return Diverged(
        f"the loss became {loss} at step {step + 1} of epoch {epoch + 1} (step "
        f"{epoch * steps + step + 1} in all); the best weights so far are kept in "
        "model.weights.h5: train again with a lower --learning-rate"
    )


def _seen_by_teachers(
    faces: Faces, teachers: Teachers, recipe: Recipe, epoch: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All pictures as augmented for an epoch, in their own order, and their targets.

    The teachers' scores behind the targets are of these very pictures.
    """
    view = epoch % recipe.views
    rng = np.random.default_rng([recipe.seed, view, _OF_VIEWS])
    x = augmented_epoch(faces.images, recipe.augmentation, rng)
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
