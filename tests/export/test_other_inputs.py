"""Runs of other labels and inputs than the usual ones become bundles, through the real gate.

Their networks are small and have weights set by hand, so that their answers are known.
"""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.backends import open_backend
from edgeemo.contract import strict
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
from edgeemo.errors import RunError, SpecMismatch
from edgeemo.proof.selftest import run_selftest
from export.build import build
from export.convert.calibration import calibration_set, faces_per_class
from export.prove.compare import compare
from export.report.page import _png

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


@pytest.fixture(scope="module", params=[EIGHT, COLOUR], ids=["eight-labels", "112x112-rgb"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A case, its data, its run, and the bundle that was built of it."""
    folder = tmp_path_factory.mktemp("other")
    data = write_prepared(request.param, folder / "data")
    run = write_run(request.param, data, folder / "run")
    bundle, measurements = build(run, data, folder / "other.edgeemo")
    return {
        "case": request.param,
        "data": data,
        "run": run,
        "bundle": bundle,
        "measurements": measurements,
    }


def test_bundle_has_the_run_s_labels_and_input(made: dict) -> None:
    bundle, case = made["bundle"], made["case"]
    assert bundle.labels == case.names
    assert bundle.spec == case.spec
    assert bundle.manifest.crops == {}
    assert bundle.report()["labels"] == list(case.names)
    assert bundle.selftest().inputs.shape == (32, *case.spec.shape)
    assert all(result.passed for result in run_selftest(bundle))
    assert all(m.verdict.card.top1 == 1.0 for m in made["measurements"].values())
    recall = bundle.manifest.evaluation[0].per_class_recall
    assert recall == dict.fromkeys(case.names, 1.0)


@pytest.mark.parametrize(
    ("artifact", "tolerance"),
    # As for the tiny bundle of seven labels; a cell of 56x56 pixels is a longer sum in float32.
    [("fp32.onnx", 5e-4), ("int8.tflite", 0.4), ("int8.onnx", 0.6)],
)
def test_models_answer_what_numpy_computes(made: dict, artifact: str, tolerance: float) -> None:
    case, bundle = made["case"], made["bundle"]
    labels = np.arange(24) % len(case.names)
    pictures = case.pictures(labels, seed=1)
    logits = open_backend(bundle, artifact).infer(pictures)
    assert np.abs(logits - case.logits(pictures)).max() < tolerance
    assert (logits.argmax(axis=1) == labels).all()


def test_calibration_is_of_all_classes_alike(made: dict) -> None:
    case, data = made["case"], load_prepared(made["data"])
    calibration = calibration_set(data, seed=1)
    assert len(calibration) == COUNTS["train"] * len(case.names) + 2
    assert calibration.shape[1:] == case.spec.shape
    assert (calibration[-2:] == np.array([0, 255]).reshape(2, 1, 1, 1)).all()


def test_about_as_many_faces_calibrate_whatever_the_number_of_classes() -> None:
    assert [faces_per_class(n) for n in (2, 7, 8, 64)] == [252, 72, 63, 8]


def test_page_names_the_classes_escaped(made: dict) -> None:
    page = made["bundle"].path.with_suffix(".report.html").read_text()
    for name in made["case"].names:
        assert name.replace("&", "&amp;").replace("<", "&lt;") in page
    assert "left < right" not in page


def test_bundle_is_compared_by_its_own_labels(made: dict) -> None:
    path = made["bundle"].path
    _, (comparison,) = compare((path, path), made["data"])
    assert tuple(comparison.class_drops) == made["case"].names
    assert (comparison.drop.b, comparison.drop.c) == (0, 0)


def test_bundles_of_other_labels_are_not_compared(
    made: dict, tiny_bundle: Path, prepared: Path
) -> None:
    # The eight labels see the same pixels, the colour ones do not.
    with pytest.raises(SpecMismatch, match="in this order|compare like with like"):
        compare((tiny_bundle, made["bundle"].path), prepared)


def test_run_of_other_labels_than_the_data_is_refused(made: dict, tmp_path: Path) -> None:
    case = made["case"]
    other = Case(tuple(reversed(case.names)), case.spec, case.patterns)
    data = write_prepared(other, tmp_path / "data")
    with pytest.raises(RunError, match="in this order"):
        build(made["run"], data, tmp_path / "x.edgeemo")


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_on_the_page_has_its_pixels(channels: int) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 12, channels), dtype=np.uint8)
    png = np.frombuffer(_png(picture), np.uint8)
    shown = cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(shown, np.broadcast_to(picture, (20, 12, 3)))
