"""How layers compute under torch: its own normalization kernel gives what Keras's gives."""

import os
import subprocess
import sys

import pytest

from edgeemo.optional import is_installed
from tests import support

CODE = """
import keras, numpy as np
from training.networks import NETWORKS
from edgeemo.contract.input_spec import DEFAULT_SPEC
from training.machines.compute import fuse_normalization

rng = np.random.default_rng(1)
pictures = rng.uniform(0, 255, (64, 48, 48, 1)).astype(np.float32)
targets = np.eye(7, dtype=np.float32)[rng.integers(0, 7, 64)]
ends = []
for fused in (False, True):
    keras.utils.set_random_seed(1)
    model = NETWORKS.get("nano")(DEFAULT_SPEC, len(LABELS))
    if fused:
        fuse_normalization(model)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss)
    losses = [float(model.train_on_batch(pictures, targets)) for _ in range(5)]
    ends.append((losses, model.predict_on_batch(pictures), model.get_weights()))
(losses, said, weights), (fused_losses, fused_said, fused_weights) = ends
assert losses[-1] < losses[0]
assert np.allclose(losses, fused_losses, atol=1e-4), (losses, fused_losses)
assert np.allclose(said, fused_said, atol=1e-3), np.abs(said - fused_said).max()
for one, other in zip(weights, fused_weights, strict=True):
    assert np.allclose(one, other, rtol=1e-3, atol=1e-4), np.abs(one - other).max()
"""


def test_torch_normalizes_as_keras_does() -> None:
    if not is_installed("torch"):
        pytest.skip("torch is not installed (it is installed by hand)")
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=support.REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    assert done.returncode == 0, done.stderr
