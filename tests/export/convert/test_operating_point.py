"""That a network and its int8 simulation are brought to an operating point."""

import keras
import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.operating_point import OperatingPoint
from edgeemo.errors import RunError
from export.convert.operating_point import fold
from tests.networks import known_nano
from tests.support import drawn_faces
from training.networks.qat import simulated

POINT = OperatingPoint((0.3, 0.3, 0.01, 0.04, 0.2, 0.1, 0.05), 0.5, 0.4)


def test_a_network_and_its_simulation_get_it() -> None:
    faces = drawn_faces(24).astype(np.float32)
    network = known_nano()
    rounded = simulated(network)
    rounded(faces, training=True)  # it sees its ranges
    before = network.predict_on_batch(faces)
    before_rounded = rounded.predict_on_batch(faces)
    fold(network, POINT)
    fold(rounded, POINT)
    np.testing.assert_allclose(network.predict_on_batch(faces), POINT.applied(before), atol=1e-3)
    step = np.ptp(rounded.layers[-1].get_weights()) / 255
    differences = rounded.predict_on_batch(faces) - POINT.applied(before_rounded)
    assert np.abs(differences).max() <= 1.5 * step


def test_a_network_that_ends_otherwise_is_refused() -> None:
    pixels = keras.Input(DEFAULT_SPEC.shape)
    x = keras.layers.Conv2D(len(LABELS), 48)(pixels)
    model = keras.Model(pixels, keras.layers.Flatten()(x), name="odd")
    with pytest.raises(RunError, match="expected logits of a Dense layer .* received Flatten"):
        fold(model, POINT)
