"""The tiny bundle, end to end: the real interpreters answer what NumPy computes."""

from pathlib import Path

import numpy as np
import pytest

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import read_bundle
from edgeemo.data.prepared import load_prepared
from tests import support

pytestmark = pytest.mark.rounding


@pytest.mark.parametrize(
    ("artifact", "tolerance"),
    # int8 logits are whole steps of a scale of about 0.1; averages and products round once each.
    [("fp32.onnx", 1e-4), ("int8.tflite", 0.25), ("int8.onnx", 0.35)],
)
def test_backends_answer_the_oracle(
    tiny_bundle: Path, prepared: Path, artifact: str, tolerance: float
) -> None:
    bundle = read_bundle(tiny_bundle)
    data = load_prepared(prepared, bundle.manifest.input_spec)
    pictures = np.asarray(data.images)
    answered = open_backend(bundle, artifact).infer(pictures)
    assert np.abs(answered - support.quadrant_logits(pictures)).max() < tolerance
    assert (answered.argmax(axis=1) == data.labels).all()
