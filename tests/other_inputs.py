"""Data and runs of other labels and inputs than the usual ones: small networks of known answers."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.run import (
    Predictions,
    Progress,
    RunConfig,
    write_predictions,
    write_run_config,
)
from edgeemo.data.prepared import DATASET, IMAGES, INDEX, INDEX_COLUMNS, file_sha256, load_prepared

COUNTS = {"train": 20, "validation": 12, "test": 12}  # pictures of each class


@dataclass(frozen=True)
class Case:
    """Labels and an input, and which cells of a picture are bright for each label."""

    names: tuple[str, ...]
    spec: InputSpec
    patterns: NDArray[np.int64]
    """(labels, 4 * channels), 1 bright and 0 dark: quadrants by rows, channels last."""

    def pictures(self, labels: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """uint8 (N, H, W, C): cells about 60 or 190, with noise."""
        height, width, channels = self.spec.shape
        cells = self.patterns[labels].reshape(-1, 2, 2, channels)
        blocks = cells.repeat(height // 2, axis=1).repeat(width // 2, axis=2)
        noise = np.random.default_rng(seed).normal(0, 20, blocks.shape)
        return (60 + 130 * blocks + noise).clip(0, 255).astype(np.uint8)

    def logits(self, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What the network answers, in NumPy."""
        height, width, channels = self.spec.shape
        scaled = pictures.astype(np.float64) / 127.5 - 1
        cells = scaled.reshape(-1, 2, height // 2, 2, width // 2, channels).mean(axis=(2, 4))
        return cells.reshape(len(pictures), -1) @ self.weights

    @property
    def weights(self) -> NDArray[np.float64]:
        """(4 * channels, labels): a bright cell speaks for the labels that have it."""
        return np.where(self.patterns == 1, 4.0, -4.0).T


EIGHT = Case(
    names=(*LABELS, "contempt"),
    spec=InputSpec(),
    patterns=np.array([[i >> 3 & 1, i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(1, 9)]),
)
COLOUR = Case(
    names=("calm", "left < right", "no & yes", "überrascht"),
    spec=InputSpec(height=112, width=112, channels=3),
    # One bright cell each: two labels differ by the channel alone.
    patterns=np.eye(12, dtype=np.int64)[[0, 1, 5, 8]],
)


def write_prepared(case: Case, path: Path) -> Path:
    path.mkdir()
    splits = [split for split, count in COUNTS.items() for _ in range(count * len(case.names))]
    labels = np.arange(len(splits)) % len(case.names)
    images = case.pictures(labels, seed=0)
    np.save(path / IMAGES, images)
    with (path / INDEX).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(INDEX_COLUMNS)
        for i, (label, split) in enumerate(zip(labels, splits, strict=True)):
            digest, name = hashlib.sha256(images[i]).hexdigest(), case.names[label]
            writer.writerow([i, "drawn", f"{i}.png", digest, i, name, name, split, ""])
    dataset = {
        "labels": list(case.names),
        "input_spec": case.spec.to_dict(),
        "input_fingerprint": case.spec.fingerprint(),
        "images": len(images),
        "images_sha256": file_sha256(path / IMAGES),
        "index_sha256": file_sha256(path / INDEX),
        "sources": [{"name": "drawn"}],
        "split": "drawn",
        "seed": 0,
    }
    (path / DATASET).write_text(strict.dumps(dataset))
    return path


def write_run(case: Case, data_path: Path, out: Path) -> Path:
    out.mkdir()
    height, width, _ = case.spec.shape
    pixels = keras.Input(case.spec.shape, name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D((height // 2, width // 2))(x))
    dense = keras.layers.Dense(len(case.names), name="logits")
    model = keras.Model(pixels, dense(x), name="tiny")
    dense.set_weights([case.weights.astype(np.float32), np.zeros(len(case.names), np.float32)])
    model.save(out / "model.keras")
    model.save_weights(out / "model.weights.h5")
    data = load_prepared(data_path)
    rows = data.indices("test")
    images = np.asarray(data.images[rows])
    logits, mirrored = (case.logits(one).astype(np.float32) for one in (images, images[:, :, ::-1]))
    write_predictions(out, "test", Predictions(logits, mirrored, data.labels[rows], rows))
    config = RunConfig(
        recipe={"model": "tiny"},
        labels=case.names,
        input_spec=case.spec,
        split_hash=data.split_hash,
        data_sets=("drawn",),
        parameters=model.count_params(),
        multiply_accumulates=case.weights.size,
        keras=keras.__version__,
        backend="tensorflow",
        history=Progress(epochs=0, best_epoch=0, seconds=0.0),
    )
    write_run_config(out, config)
    return out
