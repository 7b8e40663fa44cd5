"""Quantization-aware training: the simulation against NumPy, its run, and that the exported int8 is
what was simulated.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import InvalidInput, RunError
from edgeemo.optional import is_installed
from export.build import Settings, build
from tests import support
from tests.networks import KNOWN, interrupted_in_second_epoch, known_run
from training.__main__ import main
from training.fit.anew import fitted_epochs
from training.fit.recipe import Recipe
from training.networks import NETWORKS
from training.networks.layers import FakeQuantize, weights_on_grid
from training.networks.qat import finetuning, folded, simulated
from training.runs.predict import predict
from training.runs.run import load_run

pytestmark = pytest.mark.rounding


@pytest.fixture(scope="module")
def float_run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float run that knows the drawn pictures."""
    return known_run(prepared, tmp_path_factory.mktemp("float") / "nano")


def finetuned(float_run: Path, prepared: Path, out: Path, *options: str) -> Path:
    arguments = [
        "finetune",
        "--qat",
        str(float_run),
        "--data",
        str(prepared),
        "--out",
        str(out),
        *options,
    ]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture(scope="module")
def qat_run(float_run: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run after four epochs in simulated int8.

    In small steps: larger ones take a network that was made and not trained so far that its logits
    lie close together, and a processor's rounding decides what the gate says.
    """
    return finetuned(
        float_run,
        prepared,
        tmp_path_factory.mktemp("qat") / "nano",
        "--learning-rate",
        "2e-5",
        "--epochs",
        "4",
        "--balance",
        "40",
        "--batch-size",
        "16",
    )


@pytest.fixture(scope="module")
def bundle(qat_run: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of that run, which has passed the gate."""
    return build(
        qat_run,
        prepared,
        tmp_path_factory.mktemp("bundle") / "nano.edgeemo",
        settings=Settings(gate_min=1),
    )[0]


def drawn(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([support.drawn_picture(i % 7, rng) for i in range(count)])[
        ..., np.newaxis
    ].astype(np.float32)


def with_random_statistics(model: keras.Model) -> keras.Model:
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [
                    rng.uniform(0.5, 2, n),
                    rng.normal(0, 0.3, n),
                    rng.normal(0, 0.2, n),
                    rng.uniform(0.1, 2, n),
                ]
            )
    return model


def network_of(*middle: layers.Layer, rescale: bool = True) -> keras.Model:
    """A network of raw pixels and the given layers, one behind the other."""
    pixels = keras.Input(DEFAULT_SPEC.shape)
    x = layers.Rescaling(1 / 127.5, -1.0)(pixels) if rescale else pixels
    for layer in middle:
        x = layer(x)
    return keras.Model(pixels, x, name="drawn")


@pytest.mark.parametrize("name", ["nano", "with biases"])
def test_folding_normalization_away_leaves_the_function(name: str) -> None:
    keras.utils.set_random_seed(0)
    if name == "nano":
        model = NETWORKS.get("nano")(DEFAULT_SPEC, len(LABELS))
    else:
        convolution = layers.Conv2D(4, 3, strides=4, bias_initializer="normal")
        depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="normal")
        model = network_of(
            convolution,
            layers.BatchNormalization(),
            layers.ReLU(),
            depthwise,
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(7),
            layers.BatchNormalization(),
        )
    model = with_random_statistics(model)
    before, after = predict(model, drawn(14)), predict(folded(model), drawn(14))
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded(model).layers)
    assert np.abs(before).max() > 0.1
    assert np.abs(before - after).max() < 1e-4


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3, 3, 5, 8), (0, 1, 2)), ((3, 3, 6, 2), (0, 1)), ((20, 7), (0,))],
    ids=["conv", "depth", "dense"],
)
def test_weights_are_rounded_to_127_steps_of_their_channel_s_largest(
    shape: tuple[int, ...], axes: tuple[int]
) -> None:
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, shape).astype(np.float32) * rng.uniform(
        0.01, 10, shape[len(axes) :]
    ).astype(np.float32)
    kernel[..., 0] = 0
    found = keras.ops.convert_to_numpy(weights_on_grid(keras.ops.convert_to_tensor(kernel), axes))
    expected = np.empty(shape)
    channels = kernel.reshape(np.prod(shape[: len(axes)]), -1).T.astype(np.float64)
    for channel, rounded in zip(channels, expected.reshape(channels.shape[::-1]).T, strict=True):
        step = max(abs(channel)) / 127
        rounded[:] = [np.rint(w / step) * step if step else 0 for w in channel]
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert len(np.unique(np.rint(channels[-1] / abs(channels[-1]).max() * 127))) > 2


@settings(max_examples=40, deadline=None)
@given(st.floats(-50, 0), st.floats(0.01, 50), st.integers(0, 2**32 - 1))
def test_activations_are_rounded_as_tflite_s_specification_says(
    low: float, high: float, seed: int
) -> None:
    x = np.random.default_rng(seed).uniform(1.5 * low - 1, 1.5 * high + 1, 500).astype(np.float32)
    found = np.asarray(FakeQuantize((low, high))(x), np.float64)
    scale = (high - low) / 255
    zero_point = np.floor(-low / scale + 0.5)  # the nudge: 0 has a code of its own
    codes = np.clip(np.floor(x / scale + 0.5) + zero_point, 0, 255)
    on_the_edge = np.abs(x / scale % 1 - 0.5) < 1e-3  # float32 may round these either way
    edge_of_zero = abs(-low / scale % 1 - 0.5) < 1e-3
    if not edge_of_zero:
        assert np.allclose(
            found[~on_the_edge],
            ((codes - zero_point) * scale)[~on_the_edge],
            atol=1e-4 * scale + 1e-6,
        )
    assert float(FakeQuantize((low, high))(np.zeros(1, np.float32))[0]) == 0


def test_the_gradient_is_straight_through_inside_and_zero_outside_of_the_range() -> None:
    x = tf.constant([-3.0, -1.1, -0.9, 0.0, 0.3, 1.9, 2.1, 50.0])
    kernel = tf.constant(np.random.default_rng(0).normal(0, 1, (3, 3, 2, 4)), tf.float32)
    layer = FakeQuantize((-1.0, 2.0))
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = tf.reduce_sum(layer(x) * 5) + tf.reduce_sum(weights_on_grid(kernel, (0, 1, 2)) * 2)
    of_x, of_kernel = tape.gradient(y, [x, kernel])
    assert of_x.numpy().tolist() == [0, 0, 5, 5, 5, 5, 0, 0]
    assert (of_kernel.numpy() == 2).all()
    assert layer.trainable_variables == []


def test_the_range_is_the_first_batch_s_and_then_follows_slowly_while_training_alone() -> None:
    layer = FakeQuantize(momentum=0.9)
    layer(np.float32([-1, 3]), training=True)
    assert (float(layer.low), float(layer.high)) == (-1, 3)
    layer(np.float32([2, 13]), training=True)
    assert np.allclose(
        [float(layer.low), float(layer.high)], [0.9 * -1 + 0.1 * 0, 0.9 * 3 + 0.1 * 13]
    )
    before = [float(layer.low), float(layer.high)]
    layer(np.float32([-100, 100]))
    assert [float(layer.low), float(layer.high)] == before
    silent = FakeQuantize()
    assert np.asarray(silent(np.zeros(4, np.float32), training=True)).tolist() == [0, 0, 0, 0]


def test_each_pixel_value_has_a_point_of_the_first_grid() -> None:
    model = simulated(NETWORKS.get("nano")(DEFAULT_SPEC, len(LABELS)))
    rescaled = keras.Model(model.input, model.get_layer("rescale_offset_int8").output)
    pixels = np.zeros((1, 48, 48, 1), np.float32)
    pixels.flat[:256] = np.arange(256)
    found = np.asarray(rescaled(pixels)).ravel()[:256]
    assert np.allclose(found, (np.arange(256) - 128) / 127.5, atol=1e-6)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        ([layers.Conv2D(4, 3), layers.LeakyReLU(name="leak")], "how TFLite rounds the LeakyReLU "
            "leak; expected layers of"),
        ([layers.Conv2D(4, 3), layers.ReLU(), layers.BatchNormalization(name="late")], "before the "
            "BatchNormalization late"),
        ([layers.MaxPooling2D(2), layers.Conv2D(4, 3)], "expected a Rescaling of the pixels and "
            "convolutions alone"),
    ],
)  # fmt: skip
def test_a_network_that_the_simulation_does_not_know_is_refused(
    middle: list[layers.Layer], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        simulated(network_of(*middle, layers.GlobalAveragePooling2D(), layers.Dense(7)))
    with pytest.raises(RunError, match="expected a Rescaling of the pixels"):
        simulated(network_of(layers.Conv2D(4, 3), rescale=False))


def test_the_recipe_is_the_float_run_s_but_short_and_gentle(
    qat_run: Path, float_run: Path, prepared: Path
) -> None:
    run = load_run(qat_run)
    assert finetuning(
        replace(KNOWN, mixup=0.4, cutmix=1.0, ema=0.99, warmup_epochs=5), str(float_run)
    ) == replace(
        KNOWN, qat=True, init=str(float_run), epochs=8, learning_rate=1e-4, warmup_epochs=1
    )
    assert run.recipe == replace(
        finetuning(KNOWN, str(float_run)),
        epochs=4,
        balance=40,
        batch_size=16,
        learning_rate=2e-5,
    )
    assert [source.run for source in run.config.leaned_on] == [str(float_run)]
    stored = run.recipe.to_dict()
    del stored["qat"]
    assert Recipe.from_dict(stored).qat is False
    data = load_prepared(prepared, DEFAULT_SPEC)
    with np.load(qat_run / "predictions_test.npz") as predictions:
        assert (
            np.abs(
                predict(run.build(), data.images[predictions["rows"]]) - predictions["logits"]
            ).max()
            < 1e-5
        )
    kinds = {type(layer) for layer in run.build().layers}
    assert not kinds & {FakeQuantize, layers.BatchNormalization}
    assert layers.Conv2D in kinds


def test_a_resumed_run_has_the_weights_and_ranges_of_one_that_was_not_stopped(
    qat_run: Path, float_run: Path, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "resumed"
    interrupted_in_second_epoch(load_run(qat_run).recipe, prepared, out)
    finetuned(float_run, prepared, out, "--resume")
    one, other = (keras.models.load_model(run / "model.keras") for run in (qat_run, out))
    assert any(isinstance(layer, FakeQuantize) for layer in one.layers)
    for a, b in zip(one.weights, other.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    one, other = ((run / "history.csv").open(newline="") for run in (qat_run, out))
    with one, other:
        for before, after in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            assert (
                before["loss"] + before["validation_loss"]
                == after["loss"] + after["validation_loss"]
            )


def test_the_exported_int8_is_what_was_simulated(
    qat_run: Path, bundle: Bundle, prepared: Path
) -> None:
    model = keras.models.load_model(qat_run / "model.keras")
    backend = open_backend(bundle, "int8.tflite", reference_kernels=True)
    assert (backend.input_info.scale, backend.input_info.zero_point) == (1.0, -128)
    last = model.layers[-1]
    step = float(last.high - last.low) / 255
    assert np.isclose(backend.output_info.scale, step, rtol=1e-5)
    pictures = np.concatenate(
        [np.asarray(load_prepared(prepared, DEFAULT_SPEC).images), drawn(70, 5).astype(np.uint8)]
    )
    codes = (backend.infer(pictures) - predict(model, pictures)) / step
    assert (np.abs(codes) < 1.5).mean() >= 0.99
    assert np.ptp(predict(model, pictures)) > 50 * step


def test_the_manifest_says_where_each_file_s_ranges_come_from(bundle: Bundle) -> None:
    method = bundle.manifest.calibration.method
    assert (
        method == "int8.tflite: ranges of quantization-aware training; int8.onnx: ranges by min-max"
    )
    assert bundle.manifest.training["recipe"]["qat"] is True
    assert {evaluation.float_top1 for evaluation in bundle.manifest.evaluation} == {1.0}


def test_runs_that_it_cannot_start_from_are_refused(
    float_run: Path, qat_run: Path, prepared: Path, tmp_path: Path
) -> None:
    leaky = Path(shutil.copytree(float_run, tmp_path / "leaky"))
    config = json.loads((leaky / "config.json").read_text()) | {"split_hash": "0" * 64}
    (leaky / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="another split .* so it may have seen the test pictures"):
        finetuned(leaky, prepared, tmp_path / "out")
    with pytest.raises(
        RunError, match=f"was trained in simulated int8.* start from the float run {float_run}"
    ):
        finetuned(qat_run, prepared, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(
        InvalidInput, match="expected a float run as init and precision float32 for qat"
    ):
        Recipe(qat=True)
    data = load_prepared(prepared, DEFAULT_SPEC)
    with pytest.raises(RunError, match=f"take that of {float_run}"):
        next(fitted_epochs(load_run(qat_run).recipe, data, data.indices("train")))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_simulate_the_same(
    float_run: Path, prepared: Path, tmp_path: Path, backend: str
) -> None:
    if not is_installed(backend):
        pytest.skip(
            f"{backend} is not installed (jax is part of the dev environment, torch is installed "
            "by hand)"
        )
    arguments = ["finetune", "--qat", float_run, "--data", prepared, "--out", tmp_path / "run"]
    arguments += ["--epochs", "1", "--balance", "4"]
    code = (
        "import sys; from edgeemo.cli import shell; from training.__main__ import main; import "
        "numpy as np, keras\n"
        f"main({[str(part) for part in arguments]!r}, standalone_mode=False)\n"
        "from training.networks.layers import FakeQuantize; from training.runs.predict import "
        "predict\n"
        f"model = keras.models.load_model({str(tmp_path / 'run' / 'model.keras')!r})\n"
        f"pictures = np.load({str(prepared / 'images.npy')!r})[:50]\n"
        f"np.save({str(tmp_path / 'there.npy')!r}, predict(model, pictures))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=support.REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    last = model.layers[-1]
    here = predict(model, np.load(prepared / "images.npy")[:50])
    codes = (here - np.load(tmp_path / "there.npy")) / (float(last.high - last.low) / 255)
    assert (np.abs(codes) < 1.5).mean() >= 0.99
