"""Trains a face detector on frames that are made as they are needed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from edgeemo.cli.shell import say
from edgeemo.contract.face_rows import Grid
from edgeemo.contract.input_spec import InputSpec
from training.detector.made import Maker
from training.detector.network import detector
from training.detector.targets import targets
from workstation.frames.known import Known


@dataclass(frozen=True)
class Kind:
    """One of our detectors: what it sees and which faces it answers for."""

    height: int
    """Of its input, in pixels."""
    width: int
    """Of its input, in pixels."""
    strides: tuple[int, ...]
    """Of its grids."""
    reach: tuple[tuple[float, float], ...]
    """Sides of faces in pixels, from and to which each grid answers."""
    least: int
    """Side in pixels of the smallest face that it learns."""
    smallest: float
    """The smallest face that it answers for, as a share of the frame's shorter side."""

    @property
    def spec(self) -> InputSpec:
        """Its input, grey."""
        return InputSpec(height=self.height, width=self.width, channels=1)

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Its grids, the finest first."""
        return tuple(Grid(s, -(-self.height // s), -(-self.width // s)) for s in self.strides)


KINDS = {
    "face": Kind(240, 320, (8, 16, 32), ((0, 46), (36, 104), (84, 1e9)), 14, 1 / 10),
    "face-nano": Kind(96, 128, (8, 16), ((0, 46), (36, 1e9)), 18, 1 / 4),
}


@dataclass(frozen=True)
class Recipe:
    """How a detector is trained."""

    epochs: int = 40
    """Each of `steps` gradient steps."""
    steps: int = 250
    """Gradient steps an epoch."""
    batch: int = 32
    """Frames a step."""
    rate: float = 3e-3
    """Learning rate at its highest; it rises for an epoch and falls along a cosine to 0."""
    decay: float = 1e-4
    """Weight decay of AdamW."""
    seed: int = 1
    """Of weights and frames."""


class Frames(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of frames and their targets; each epoch's are new ones."""

    def __init__(self, maker: Maker, kind: Kind, recipe: Recipe, first: int) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=16)
        self.maker, self.kind, self.recipe, self.epoch = maker, kind, recipe, first

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = (self.epoch * len(self) + index) * self.recipe.batch
        grids = [(g.stride, g.rows, g.columns) for g in self.kind.grids]
        frames, goals = [], []
        for number in range(start, start + self.recipe.batch):
            canvas = self.maker.make(self.recipe.seed, number)
            frames.append(canvas.grey[..., np.newaxis])
            goals.append(targets(canvas, grids, list(self.kind.reach), self.kind.least * 0.85))
        return np.stack(frames).astype(np.float32), np.stack(goals)

    def on_epoch_end(self) -> None:
        """Go on to new frames."""
        self.epoch += 1


def loss(goal: keras.KerasTensor, rows: keras.KerasTensor) -> keras.KerasTensor:
    """Focal loss of the logits (Lin et al. 2017) and 1 - IoU of the boxes of the cells with a face,
    both over the number of such cells in the batch."""
    logit, state = rows[..., 0], goal[..., 0]
    face = ops.cast(state > 0.5, "float32")
    counted = ops.cast(state > -0.5, "float32")
    faces = ops.maximum(ops.sum(face), 1.0)
    probability = ops.sigmoid(logit)
    wrong = face * (1 - probability) + (1 - face) * probability
    entropy = ops.maximum(logit, 0.0) - logit * face + ops.log1p(ops.exp(-ops.abs(logit)))
    weight = 0.6 * face + 0.4 * (1 - face)
    focal = ops.sum(counted * weight * wrong**2 * entropy) / faces
    near = ops.maximum(rows[..., 1:], 0.05)
    true = ops.maximum(goal[..., 1:], 0.05)
    common = ops.minimum(near, true)
    areas = [(d[..., 0] + d[..., 2]) * (d[..., 1] + d[..., 3]) for d in (near, true, common)]
    overlap = areas[2] / (areas[0] + areas[1] - areas[2])
    # distances below 0 have no gradient above
    below = ops.sum(ops.maximum(0.05 - rows[..., 1:], 0.0), axis=-1)
    boxes = ops.sum(face * (1 - overlap + below)) / faces
    return 4 * focal + boxes


def fit(
    name: str,
    photos: Sequence[Known],
    scenes: Sequence[Known],
    out: Path,
    recipe: Recipe,
) -> keras.Model:
    """Train `name`; checkpoints and the averaged weights go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    kind = KINDS[name]
    model = detector(name, kind.spec)
    total = recipe.epochs * recipe.steps
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 50,
        total - recipe.steps,
        warmup_target=recipe.rate,
        warmup_steps=recipe.steps,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=recipe.decay, use_ema=True, ema_momentum=0.998, global_clipnorm=10.0
    )
    model.compile(optimizer, loss=loss)
    maker = Maker(photos, scenes, (kind.width, kind.height), kind.least)
    state = out / "epoch.json"
    first = 0
    backup = out / "state.weights.h5"
    if state.exists():
        first = json.loads(state.read_text())["epochs"]
        model.optimizer.build(model.trainable_variables)
        model.load_weights(backup)
        saved = np.load(out / "optimizer.npz")
        for variable, value in zip(model.optimizer.variables, saved.values(), strict=True):
            variable.assign(value)
    frames = Frames(maker, kind, recipe, first)

    def save(epoch: int, logs: dict[str, float] | None = None) -> None:
        model.save_weights(backup)
        np.savez(out / "optimizer.npz", *[np.array(v) for v in model.optimizer.variables])
        state.write_text(json.dumps({"epochs": epoch + 1, "recipe": asdict(recipe)} | (logs or {})))
        say(f"epoch {epoch + 1}/{recipe.epochs} {logs}")

    model.fit(
        frames,
        epochs=recipe.epochs,
        initial_epoch=first,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=save)],
    )
    model.optimizer.finalize_variable_values(model.trainable_variables)
    return model
