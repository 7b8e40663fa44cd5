"""Training on drawn pictures: the run folder, exact resumption, Ctrl-C, and backends other than TensorFlow."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeemo.contract import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.prepared import load_prepared
from edgeemo.errors import RunError, SpecMismatch
from edgeemo.evaluation import score
from edgeemo.optional import is_installed
from tests import support
from training.architectures import ARCHITECTURES, multiply_accumulates
from training.recipe import Recipe
from training.run import load_run
from training.train import evaluate_run, predict, train

RECIPE = Recipe(epochs=3, batch_size=32, warmup_epochs=1, seed=5)


def training(*arguments: object, backend: str = "tensorflow") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, cwd=support.REPOSITORY, env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three epochs."""
    out = tmp_path_factory.mktemp("run") / "three"
    train(RECIPE, prepared, out)
    return out


def test_small_has_the_counted_size_and_rescales_first() -> None:
    model = ARCHITECTURES["small"](DEFAULT_SPEC)
    widths, side, channels, parameters, macs = (24, 48, 96, 160), 48, 1, 0, 0
    for stage, width in enumerate(widths):
        side //= 2
        for fan_in in [channels] + [width] * (2 if stage < 3 else 0):
            parameters += 9 * fan_in * width + 4 * width  # kernel; scale, shift, mean and variance of the normalization
            macs += side * side * 9 * fan_in * width
        channels = width
    assert model.count_params() == parameters + 160 * 7 + 7
    assert multiply_accumulates(model) == macs + 160 * 7
    assert (model.input_shape, model.output_shape) == ((None, 48, 48, 1), (None, 7))
    rescale = model.layers[1]
    assert isinstance(rescale, keras.layers.Rescaling)
    assert (rescale.scale, rescale.offset) == (1 / 127.5, -1.0)


def test_recipe_survives_json_and_refuses_what_it_does_not_know() -> None:
    stored = strict.loads(strict.dumps(RECIPE.to_dict()))
    assert Recipe.from_dict(stored) == RECIPE
    with pytest.raises(ValueError, match="unknown fields"):
        Recipe.from_dict(stored | {"magic": 1})


def test_run_folder_holds_the_designs_files_and_its_own_predictions(run: Path, prepared: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.json", "model.keras", "model.weights.h5", "history.csv", "curves.png", "predictions_validation.npz",
        "predictions_test.npz", "confusion_validation.png", "confusion_test.png",
    }  # fmt: skip
    data = load_prepared(prepared, DEFAULT_SPEC)
    rebuilt, saved = load_run(run).build(), keras.models.load_model(run / "model.keras")
    for split in ("validation", "test"):
        with np.load(run / f"predictions_{split}.npz") as stored:
            assert np.array_equal(stored["rows"], data.indices(split))
            assert np.array_equal(stored["labels"], data.labels[stored["rows"]])
            for model in (rebuilt, saved):
                assert np.abs(predict(model, data.images[stored["rows"]]) - stored["logits"]).max() < 1e-5


def test_config_says_what_made_the_run(run: Path, prepared: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    data = load_prepared(prepared, DEFAULT_SPEC)
    assert config["recipe"]["seed"] == 5
    assert config["split_hash"] == data.split_hash
    assert config["input_fingerprint"] == DEFAULT_SPEC.fingerprint()
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["validation_top1"]))
    assert config["history"]["best_epoch"] == int(best["epoch"])
    assert len(rows) == config["history"]["epochs"] == 3
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_evaluate_gives_the_stored_predictions_score(run: Path, prepared: Path) -> None:
    with np.load(run / "predictions_test.npz") as stored:
        expected = score(stored["labels"], stored["logits"].argmax(axis=1))
    assert evaluate_run(run, prepared, "test") == expected
    done = training("evaluate", run, "--data", prepared, "--json")
    assert json.loads(done.stdout)["confusion"] == expected.confusion


def interrupted_after_first_epoch(prepared: Path, out: Path, recipe: Recipe) -> subprocess.Popen[str]:
    """A real training process that gets Ctrl-C once its first epoch is finished."""
    code = (
        "from pathlib import Path; from edgeemo.cli import shell; import click, sys\n"
        "from training.train import train; from training.recipe import Recipe\n"
        f"recipe = Recipe.from_dict({recipe.to_dict()!r})\n"
        f"@click.command()\ndef main(): train(recipe, Path({str(prepared)!r}), Path({str(out)!r}))\n"
        "shell.run(main, 'train', [])"
    )
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", code],  # a shell's background job ignores it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=support.REPOSITORY,
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.npz").is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    return process


def test_ctrl_c_leaves_a_checkpoint_and_resuming_gives_the_same_weights(
    run: Path, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "resumed"
    process = interrupted_after_first_epoch(prepared, out, RECIPE)
    _, stderr = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.fail("the training ended before it could be interrupted; make RECIPE longer")
    assert process.returncode == 1
    assert "go on with: python -m training train --resume" in stderr.splitlines()[-1]
    assert {path.name for path in out.iterdir()} <= {"config.json", "checkpoint.npz", "history.csv"}
    train(RECIPE, prepared, out, resume=True)
    assert "checkpoint.npz" not in {path.name for path in out.iterdir()}
    for one, other in zip(load_run(run).build().get_weights(), load_run(out).build().get_weights(), strict=True):
        assert np.array_equal(one, other)

    def losses(path: Path) -> list[str]:
        with (path / "history.csv").open() as file:
            return [row["loss"] + row["validation_loss"] for row in csv.DictReader(file)]

    assert losses(out) == losses(run)


def test_refusals_name_the_way_out(run: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds a run already; add --resume"):
        train(RECIPE, prepared, run)
    with pytest.raises(RunError, match="nothing to resume, the run is finished"):
        train(RECIPE, prepared, run, resume=True)
    begun = Path(shutil.copytree(run, tmp_path / "begun"))
    (begun / "checkpoint.npz").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"begun with another recipe \(epochs 3 there and 4 here\)"):
        train(replace(RECIPE, epochs=4), prepared, begun, resume=True)
    with pytest.raises(RunError, match="checkpoint.npz: does not fit the network"):
        train(RECIPE, prepared, begun, resume=True)
    (begun / "checkpoint.npz").unlink()
    (begun / "model.weights.h5").unlink()
    with pytest.raises(RunError, match="no epoch was finished; run the same command without --resume"):
        train(RECIPE, prepared, begun, resume=True)
    with pytest.raises(RunError, match="the run has no model.weights.h5; finish it with"):
        load_run(begun).build()


def test_run_of_another_input_spec_is_refused_with_both_fingerprints(run: Path, prepared: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    spec = replace(DEFAULT_SPEC, height=64, width=64)
    config |= {"input_spec": spec.to_dict(), "input_fingerprint": spec.fingerprint()}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecMismatch, match=rf"{DEFAULT_SPEC.fingerprint()}.*expected {spec.fingerprint()}"):
        evaluate_run(other, prepared, "test")


def test_loss_that_is_no_number_stops_at_its_step_and_keeps_nothing_broken(prepared: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(RunError, match=r"the loss became (nan|inf) at step \d+"):
        train(recipe, prepared, tmp_path / "nan")
    assert not (tmp_path / "nan" / "model.weights.h5").exists()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_and_their_weights_load_under_tensorflow(
    prepared: Path, tmp_path: Path, backend: str
) -> None:
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed (jax is part of the dev environment, torch is installed by hand)")
    code = (
        "from pathlib import Path; from training.backend import choose_backend; choose_backend()\n"
        "from training.train import train; from training.recipe import Recipe\n"
        f"train(Recipe(epochs=1, batch_size=32), Path({str(prepared)!r}), Path({str(tmp_path / 'run')!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=support.REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": backend},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"Keras on {backend}" in done.stdout
    data = load_prepared(prepared, DEFAULT_SPEC)
    with np.load(tmp_path / "run" / "predictions_test.npz") as stored:
        here = predict(load_run(tmp_path / "run").build(), data.images[stored["rows"]])
        assert np.abs(here - stored["logits"]).max() < 1e-4
    assert keras.models.load_model(tmp_path / "run" / "model.keras").count_params() == 411_807
