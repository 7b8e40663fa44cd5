"""Runs of other labels and inputs than the usual ones become bundles, through the real gate.

Their networks are small and have weights set by hand, so that their answers are known.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo.backends import open_backend
from edgeemo.contract.quantize import FLAT_PICTURES
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import RunError, SpecMismatch
from edgeemo.proof.selftest import run_selftest
from export.build import Settings, build
from export.convert.calibration import calibration_set, faces_per_class
from export.prove.compare import compare
from export.report.page import _png
from tests.other_inputs import COLOUR, COUNTS, EIGHT, Case, write_prepared, write_run


@pytest.fixture(scope="module", params=[EIGHT, COLOUR], ids=["eight-labels", "112x112-rgb"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A case, its data, its run, and the bundle that was built of it."""
    folder = tmp_path_factory.mktemp("other")
    data = write_prepared(request.param, folder / "data")
    run = write_run(request.param, data, folder / "run")
    bundle, measurements = build(run, data, folder / "other.edgeemo", settings=Settings(gate_min=1))
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
    assert len(calibration) == COUNTS["train"] * len(case.names) + FLAT_PICTURES
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
        build(made["run"], data, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_on_the_page_has_its_pixels(channels: int) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 12, channels), dtype=np.uint8)
    png = np.frombuffer(_png(picture), np.uint8)
    shown = cv2.cvtColor(cv2.imdecode(png, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.array_equal(shown, np.broadcast_to(picture, (20, 12, 3)))
