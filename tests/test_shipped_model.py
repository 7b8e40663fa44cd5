"""The bundle that ships: finds what it has to find, keeps its promises, and holds nobody's face."""

from pathlib import Path

import numpy as np
import pytest
import skimage

from edgeemo import Recognizer, load_bundle
from edgeemo.labelled import load_inputs
from export.gate import MAX_DROP_UPPER_BOUND, MIN_AGREEMENT
from export.selftest import selftest_inputs
from tests.support import shared

ASTRONAUT = Path(skimage.__file__).parent / "data" / "astronaut.png"
YUNET = ("models", "face_detection_yunet_2026may.onnx")


@pytest.mark.parametrize("detector", ["haar", "yunet"])
def test_astronaut_smiles(detector: str) -> None:
    model = shared(*YUNET) if detector == "yunet" else None
    with Recognizer(detector=detector, detector_model=model) as recognizer:
        (face,) = recognizer.predict(ASTRONAUT)
    assert face.emotion == "happy"
    assert abs(face.box.x - 177) < 20
    assert abs(face.box.y - 66) < 20


@pytest.mark.parametrize("detector", ["haar", "yunet"])
@pytest.mark.parametrize("artifact", ["int8.tflite", "int8.onnx", "fp32.onnx"])
def test_portrait_has_one_happy_face_and_the_empty_picture_none(detector: str, artifact: str) -> None:
    model = shared(*YUNET) if detector == "yunet" else None
    with Recognizer(detector=detector, detector_model=model, artifact=artifact) as recognizer:
        assert [face.emotion for face in recognizer.predict(shared("media", "justin.jpg"))] == ["happy"]
        assert recognizer.predict(shared("media", "no-faces.jpg")) == []


def test_manifest_meets_the_bars() -> None:
    manifest = load_bundle("small").manifest
    assert manifest.artifact("int8.tflite").bytes <= 700_000
    measured = {evaluation.artifact: evaluation for evaluation in manifest.evaluation}
    assert set(measured) == {"int8.tflite", "int8.onnx"}
    assert measured["int8.tflite"].top1 >= 0.655
    for evaluation in measured.values():
        assert (evaluation.n, evaluation.split) == (3579, "test")
        assert evaluation.agreement >= MIN_AGREEMENT
        assert evaluation.drop_interval[1] < MAX_DROP_UPPER_BOUND


@pytest.mark.parametrize("artifact", ["int8.tflite", "int8.onnx"])
def test_public_test_gives_the_promised_matrix(artifact: str) -> None:
    archive = shared("data", "fer2013.zip")
    with Recognizer("small", detector="whole", artifact=artifact) as recognizer:
        assert recognizer.bundle is not None
        labelled = load_inputs(archive, "test", recognizer.spec)
        predicted = recognizer.infer(labelled.inputs).argmax(axis=1)
        (promise,) = (e for e in recognizer.bundle.manifest.evaluation if e.artifact == artifact)
    confusion = np.zeros((7, 7), int)
    np.add.at(confusion, (labelled.labels, predicted), 1)
    # Optimized kernels differ by a few steps among processors, which turns a face in some hundreds.
    assert np.abs(confusion - np.array(promise.confusion)).sum() <= 2 * 0.005 * promise.n


def test_bundle_holds_drawn_patterns_and_no_face() -> None:
    assert np.array_equal(load_bundle("small").selftest().inputs, selftest_inputs(seed=1))
