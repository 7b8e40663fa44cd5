"""The gradient steps: the loss against NumPy, averaged weights, blended pictures, and the ways that
fitting stops.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import InvalidInput, RunError
from tests.networks import SEED, STILL, interrupted_in_second_epoch
from training.fit.augment import cut_mixed
from training.fit.epochs import is_tired
from training.fit.loop import (
    Faces,
    Objective,
    averaged_weights,
    chosen_targets,
    fit_epoch,
    new_model,
    steps_per_epoch,
    training_faces,
)
from training.fit.recipe import Recipe
from training.fit.train import train
from training.runs.run import load_run

pytestmark = pytest.mark.rounding

RECIPE = Recipe(model="quick", epochs=2, batch_size=32, warmup_epochs=0, mixup=0, ema=0, seed=SEED)


def log_scores(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 1.0), (0.5, 2.0), (0.9, 4.0), (1.0, 1.0)])
def test_distillation_is_hinton_s_sum_of_two_cross_entropies(
    share: float, temperature: float
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20, 7))
    labels, teacher = rng.dirichlet(np.ones(7), 20), rng.dirichlet(np.ones(7), 20)
    recipe = replace(
        RECIPE, labels="ferplus", teachers=("t",), distill=share, temperature=temperature
    )
    found = Objective(recipe, 7).call(
        keras.ops.convert_to_tensor(np.concatenate([labels, teacher], axis=1), "float32"),
        keras.ops.convert_to_tensor(logits, "float32"),
    )
    hard = -(labels * log_scores(logits)).sum(axis=1)
    soft = -(teacher * log_scores(logits / temperature)).sum(axis=1)
    expected = (1 - share) * hard + share * temperature**2 * soft
    assert np.allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3))
def test_cutmix_pastes_one_box_and_weighs_targets_by_what_is_left(seed: int, alpha: float) -> None:
    rng = np.random.default_rng(seed)
    # Each picture is one grey of its own, so that every pixel says where it came from.
    images = np.broadcast_to(
        np.arange(12, dtype=np.float32)[:, None, None, None], (12, 48, 48, 1)
    ).copy()
    targets = np.eye(12, dtype=np.float32)
    blended, shares = cut_mixed(images, targets, alpha, rng)
    for i in range(12):
        pasted = blended[i, :, :, 0] != i
        came_from = np.bincount(blended[i].astype(int).ravel(), minlength=12) / 48**2
        assert np.allclose(shares[i], came_from, atol=1e-6)
        rows, columns = np.flatnonzero(pasted.any(axis=1)), np.flatnonzero(pasted.any(axis=0))
        assert pasted.sum() == len(rows) * len(columns)
        assert len(rows) == len(columns)
    assert np.array_equal(images[:, 0, 0, 0], np.arange(12))


def test_mixup_and_cutmix_together_give_each_picture_one_of_the_two(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    recipe = replace(RECIPE, mixup=0.4, cutmix=1.0, epochs=1)
    faces = training_faces(
        recipe, data, chosen_targets(recipe, data, data.indices("train"), fitted=True)
    )
    model = new_model(
        recipe, steps_per_epoch(recipe, len(faces.images), len(LABELS)), DEFAULT_SPEC, len(LABELS)
    )
    assert 0 < fit_epoch(model, recipe, 0, faces, title="") < 10


def test_an_epoch_leaves_what_fills_no_batch_and_never_runs_dry() -> None:
    assert steps_per_epoch(replace(RECIPE, batch_size=32), 100, 7) == 3
    assert steps_per_epoch(replace(RECIPE, batch_size=128), 100, 7) == 1
    assert steps_per_epoch(replace(RECIPE, batch_size=32, balance=10), 5, 7) == 2


def test_averaged_weights_are_the_moving_average_of_the_weights_after_each_step(
    prepared: Path,
) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    recipe = replace(
        RECIPE, ema=0.7, optimizer="sgd", learning_rate=0.05, final_rate=1.0, augmentation=STILL
    )
    faces = training_faces(
        recipe, data, chosen_targets(recipe, data, data.indices("train")[:64], fitted=True)
    )
    model = new_model(recipe, 1, DEFAULT_SPEC, len(LABELS))
    average = None
    # Epochs of one step each, so that the weights can be read after every one.
    for epoch in range(4):
        fit_epoch(model, replace(recipe, batch_size=64, epochs=4), epoch, faces, title="")
        now = [variable.numpy() for variable in model.trainable_variables]
        average = (
            now
            if average is None
            else [0.7 * a + 0.3 * n for a, n in zip(average, now, strict=True)]
        )
    before = model.get_weights()
    with averaged_weights(model):
        for expected, variable in zip(average, model.trainable_variables, strict=True):
            assert np.allclose(expected, variable.numpy(), atol=1e-6)
    assert any(np.abs(a - n).max() > 1e-4 for a, n in zip(average, now, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_the_average_begins_with_the_warm_up_s_end(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    recipe = replace(RECIPE, ema=0.9, warmup_epochs=1, learning_rate=0.01, epochs=3)
    faces = training_faces(
        recipe, data, chosen_targets(recipe, data, data.indices("train"), fitted=True)
    )
    model = new_model(
        recipe, steps_per_epoch(recipe, len(faces.images), len(LABELS)), DEFAULT_SPEC, len(LABELS)
    )
    for epoch, differs in ((0, False), (1, True)):
        fit_epoch(model, recipe, epoch, faces, title="")
        fitted = [variable.numpy() for variable in model.trainable_variables]
        with averaged_weights(model):
            averaged = [variable.numpy() for variable in model.trainable_variables]
        same = all(np.array_equal(one, other) for one, other in zip(fitted, averaged, strict=True))
        assert same is not differs


def test_the_rate_warms_up_and_then_follows_the_cosine_to_its_end() -> None:
    recipe = replace(RECIPE, epochs=10, warmup_epochs=2, learning_rate=0.1, final_rate=0.05)
    rate = new_model(recipe, 50, DEFAULT_SPEC, len(LABELS)).optimizer._learning_rate
    expected = {
        0: 0.005,
        50: 0.0525,
        100: 0.1,
        300: 0.1 * (0.05 + 0.95 * 0.5),
        500: 0.005,
        600: 0.005,
    }
    for step, value in expected.items():
        assert abs(float(rate(step)) - value) < 1e-6


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_fits_and_leaves_a_float32_network(
    prepared: Path, tmp_path: Path, precision: str
) -> None:
    if precision == "bfloat16" and "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip(
            "oneDNN, held to less than the processor, has no bfloat16, and TensorFlow, which asks"
            " the processor, thinks that it has"
        )
    train(
        replace(RECIPE, epochs=1, precision=precision, ema=0.5),
        prepared,
        tmp_path / "run",
        pictures=False,
    )
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("scores", "patience", "tired"),
    [
        ([0.1, 0.2, 0.3], 1, False),
        ([0.1, 0.3, 0.2], 1, True),
        ([0.1, 0.3, 0.2], 2, False),
        ([0.3, 0.2, 0.3], 2, True),
        ([0.3, 0.2, 0.1], 0, False),
        ([0.3], 1, False),
    ],
)
def test_patience_ends_what_has_not_become_better(
    scores: list[float], patience: int, tired: bool
) -> None:
    assert is_tired([{"validation_top1": score} for score in scores], patience) is tired


def test_early_stop_ends_the_run_and_keeps_the_best_epoch(prepared: Path, tmp_path: Path) -> None:
    # A rate of almost nothing changes no answer, for want of statistics that follow the batches:
    # no epoch is better than the first.
    recipe = replace(RECIPE, model="means", epochs=50, patience=2, learning_rate=1e-12)
    train(recipe, prepared, tmp_path / "run", pictures=False)
    history = load_run(tmp_path / "run").config.history
    assert history is not None
    assert (history.epochs, history.best_epoch) == (3, 1)


class FullDevice:
    """A compiled model in the place of Keras', on a device whose memory is full."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def reset_metrics(self) -> None:
        pass

    def train_on_batch(self, *_: object, **__: object) -> float:
        raise self._error


@pytest.mark.parametrize(
    "words",
    [
        "OOM when allocating tensor with shape[128,64,48,48] and type float on GPU:0",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes",
    ],
)
def test_a_full_memory_names_the_batch_size_to_try(words: str) -> None:
    faces = Faces(
        np.zeros((64, 48, 48, 1), np.uint8),
        np.eye(7, dtype=np.float32)[np.arange(64) % 7],
        LABELS,
    )
    with pytest.raises(
        RunError, match="too small for a batch of 32 with quick; try --batch-size 16 "
    ):
        device: Any = FullDevice(RuntimeError(words))
        fit_epoch(device, RECIPE, 0, faces, title="")
    with pytest.raises(RuntimeError, match="something else"):
        device = FullDevice(RuntimeError("something else"))
        fit_epoch(device, RECIPE, 0, faces, title="")


def test_a_loss_that_becomes_no_number_later_leaves_the_best_weights_so_far(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    recipe = replace(RECIPE, optimizer="sgd", learning_rate=1e-3, epochs=40)
    interrupted_in_second_epoch(recipe, prepared, out)
    config = strict.loads((out / "config.json").read_bytes())
    config["recipe"]["learning_rate"] = 1e38
    (out / "config.json").write_text(strict.dumps(config))
    with np.load(out / "checkpoint.npz") as stored:
        best = [
            stored[f"best_{i}"]
            for i in range(sum(name.startswith("best_") for name in stored.files))
        ]
    with pytest.raises(
        RunError, match=r"the loss became (nan|inf) at step \d+ of epoch .*kept in model.weights.h5"
    ):
        train(load_run(out).recipe, prepared, out, resume=True, pictures=False)
    kept = load_run(out).build().get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, best, strict=True))


@pytest.mark.parametrize(
    "wrong",
    [
        {"optimizer": "magic"},
        {"precision": "int8"},
        {"ema": 1.0},
        {"ema": -0.1},
        {"distill": 1.1},
        {"temperature": 0.0},
        {"final_rate": 2.0},
        {"learning_rate": float("nan")},
        {"mixup": -1.0},
        {"cutmix": float("inf")},
        {"patience": -1},
    ],
)
def test_a_recipe_that_cannot_be_fitted_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        replace(RECIPE, **wrong)  # type: ignore[arg-type]
