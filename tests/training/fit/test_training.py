"""Training on drawn pictures: the run folder, exact resumption, Ctrl-C, and backends other than
TensorFlow.
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
from click.testing import CliRunner

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import InvalidInput, RunError, SpecMismatch
from edgeemo.optional import is_installed
from edgeemo.proof.evaluation import score
from tests import support
from tests.networks import KNOWN, SEED, interrupted_in_second_epoch
from training.__main__ import main
from training.fit.augment import augmented_epoch, mixed
from training.fit.balance import balanced_rows
from training.fit.recipe import Recipe
from training.fit.targets import targets
from training.fit.train import train
from training.networks import NETWORKS
from training.runs.evaluate import evaluate_run, scorecards
from training.runs.predict import predict
from training.runs.run import load_run

pytestmark = pytest.mark.rounding

RECIPE = Recipe(model="quick", epochs=3, batch_size=32, warmup_epochs=1, seed=SEED)
BALANCED_MIX = replace(RECIPE, labels="mix", mix=0.4, balance=20)


@pytest.fixture(scope="module")
def run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three epochs."""
    out = tmp_path_factory.mktemp("run") / "three"
    train(RECIPE, prepared, out)
    return out


def test_recipe_survives_json_and_refuses_what_it_does_not_know() -> None:
    stored = strict.loads(strict.dumps(RECIPE.to_dict()))
    assert Recipe.from_dict(stored) == RECIPE
    with pytest.raises(ValueError, match="unknown fields"):
        Recipe.from_dict(stored | {"magic": 1})


def test_a_recipe_from_before_class_handling_means_what_it_did() -> None:
    stored = RECIPE.to_dict()
    for name in ("mix", "balance", "class_weight", "focal"):
        del stored[name]
    assert Recipe.from_dict(stored) == RECIPE
    del stored["epochs"]
    with pytest.raises(ValueError, match="missing fields"):
        Recipe.from_dict(stored)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"balance": 5, "class_weight": True}, "at most one .* received balance and class_weight"),
        ({"focal": 2.0, "class_weight": True}, "at most one .* received class_weight and focal"),
        ({"balance": 5, "focal": 2.0}, "at most one .* received balance and focal"),
        ({"balance": -1}, "at least 0"),
        ({"focal": -0.5}, "at least 0"),
        ({"focal": float("nan")}, "at least 0"),
        ({"labels": "votes"}, "labels of fer2013, ferplus, mix"),
        ({"mix": 1.5}, "a mix of 0 to 1"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_a_recipe_that_cannot_be_fitted_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        replace(RECIPE, **wrong)  # type: ignore[arg-type]


def test_run_folder_holds_the_designs_files_and_its_own_predictions(
    run: Path, prepared: Path
) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "model.keras",
        "model.weights.h5",
        "history.csv",
        "curves.png",
        "predictions_validation.npz",
        "predictions_test.npz",
        "confusion_validation.png",
        "confusion_test.png",
        "reliability_validation.png",
        "reliability_test.png",
    }
    data = load_prepared(prepared, DEFAULT_SPEC)
    rebuilt, saved = load_run(run).build(), keras.models.load_model(run / "model.keras")
    for split in ("validation", "test"):
        with np.load(run / f"predictions_{split}.npz") as stored:
            assert np.array_equal(stored["rows"], data.indices(split))
            assert np.array_equal(stored["labels"], data.labels[stored["rows"]])
            for model in (rebuilt, saved):
                assert (
                    np.abs(predict(model, data.images[stored["rows"]]) - stored["logits"]).max()
                    < 1e-5
                )


def test_config_says_what_made_the_run(run: Path, prepared: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    data = load_prepared(prepared, DEFAULT_SPEC)
    assert config["recipe"]["seed"] == SEED
    assert config["split_hash"] == data.split_hash
    assert config["input_fingerprint"] == DEFAULT_SPEC.fingerprint()
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["validation_top1"]))
    assert config["history"]["best_epoch"] == int(best["epoch"])
    assert len(rows) == config["history"]["epochs"] == 3


def test_training_makes_the_loss_fall(prepared: Path, tmp_path: Path) -> None:
    # Of still pictures and hard labels, which a dense layer tells apart: it falls to a third and
    # less.
    recipe = replace(KNOWN, model="means", epochs=5, batch_size=16, learning_rate=0.3)
    assert train(recipe, prepared, tmp_path / "run", pictures=False).top1 == 1.0
    with (tmp_path / "run" / "history.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0] / 2


def test_evaluate_gives_the_stored_predictions_score(run: Path, prepared: Path) -> None:
    with np.load(run / "predictions_test.npz") as stored:
        expected = score(stored["labels"], stored["logits"].argmax(axis=1), LABELS)
    assert evaluate_run(run, prepared, "test") == expected
    done = CliRunner().invoke(main, ["evaluate", str(run), "--data", str(prepared), "--json"])
    assert json.loads(done.stdout)["confusion"] == expected.confusion


def numpy_loss(
    logits: np.ndarray, targets: np.ndarray, gamma: float, smoothing: float
) -> np.ndarray:
    """(n,) focal loss of Lin et al. (2017) for soft targets, alpha 1; gamma 0 is cross-entropy."""
    smooth = targets * (1 - smoothing) + smoothing / len(LABELS)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return -(smooth * (1 - p) ** gamma * np.log(p)).sum(axis=1)


@pytest.mark.parametrize(
    "choice",
    [
        {"labels": "fer2013", "focal": 2.0},
        {"labels": "ferplus", "balance": 25},
        {"labels": "mix", "mix": 0.3, "class_weight": True},
    ],
)
def test_the_first_epoch_s_loss_is_the_one_that_the_recipe_says(
    voted: Path, tmp_path: Path, choice: dict[str, object]
) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=1024, **choice)  # type: ignore[arg-type]
    train(recipe, voted, tmp_path / "run", pictures=False)
    with (tmp_path / "run" / "history.csv").open() as file:
        found = float(next(csv.DictReader(file))["loss"])
    # The one step of the one epoch, worked out again.
    data = load_prepared(voted, DEFAULT_SPEC)
    part = targets(
        data,
        data.indices("train"),
        recipe.labels,
        recipe.mix,
        0.1 if recipe.labels == "mix" else 0.0,
    )
    rng = np.random.default_rng([recipe.seed, 0])
    drawn = np.arange(len(part.rows))
    if recipe.balance:
        drawn = balanced_rows(part.values.argmax(axis=1), recipe.balance, LABELS, rng)
        assert len(drawn) == 7 * 25
    order = rng.permutation(drawn)
    x = augmented_epoch(data.images[part.rows][order], recipe.augmentation, rng)
    x, y = mixed(x, part.values[order], recipe.mixup, rng)
    keras.utils.set_random_seed(recipe.seed)
    logits = np.asarray(
        NETWORKS.get(recipe.model)(DEFAULT_SPEC, len(LABELS))(x, training=True), np.float64
    )
    losses = numpy_loss(logits, y, recipe.focal, 0.1 if recipe.labels == "fer2013" else 0.0)
    if recipe.class_weight:
        losses *= y @ (len(part.values) / (7 * part.values.sum(axis=0)))
    assert abs(found - losses.mean()) < 1e-4


def test_config_accounts_for_the_pictures_and_votes_that_the_labels_leave_out(
    voted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    recipe = replace(RECIPE, epochs=1, labels="ferplus", class_weight=True)
    card = train(recipe, voted, out, pictures=False)
    config, data = json.loads((out / "config.json").read_text()), load_prepared(voted, DEFAULT_SPEC)
    part = targets(data, data.indices("train"), "ferplus")
    assert config["faces"]["train"] == len(part.rows) < len(data.indices("train"))
    assert config["left_out"]["train"] == part.left_out
    assert config["left_out"]["train"]["votes not known"] > 0
    assert config["votes_dropped"]["train"] == part.votes_dropped
    expected = len(part.rows) / (7 * part.values.sum(axis=0))
    assert np.allclose([config["class_weights"][label] for label in LABELS], expected, rtol=1e-5)
    # The scorecard stays on the hard labels of every test picture; the majority has a card of its
    # own.
    assert data.votes is not None
    rows = data.indices("test")
    predicted = predict(load_run(out).build(), data.images[rows]).argmax(axis=1)
    assert card == score(data.labels[rows], predicted, LABELS)
    labels, known = ferplus_majority(data.votes[rows], LABELS)
    assert scorecards(out, voted, "test")["ferplus_majority"] == score(
        labels[known], predicted[known], LABELS
    )
    found = json.loads(
        CliRunner().invoke(main, ["evaluate", str(out), "--data", str(voted), "--json"]).stdout
    )
    assert (found["n"], found["ferplus_majority"]["n"]) == (len(rows), int(known.sum()))
    assert found["ferplus_majority"]["top1"] == (labels == predicted)[known].mean()


@pytest.mark.parametrize(
    "options", [["--balance", "20", "--class-weight"], ["--focal", "2", "--balance", "20"]]
)
def test_two_ways_of_class_handling_at_once_are_wrong_usage(
    prepared: Path, tmp_path: Path, options: list[str]
) -> None:
    done = CliRunner().invoke(
        main, ["train", "--data", str(prepared), "--out", str(tmp_path / "run"), *options]
    )
    assert done.exit_code == 2
    assert "expected at most one of balance, class_weight and focal" in " ".join(
        done.stderr.split()
    )
    assert not (tmp_path / "run").exists()


def test_ctrl_c_ends_the_process_in_one_line_that_says_how_to_go_on(
    voted: Path, tmp_path: Path
) -> None:
    # Epochs enough that some are left when the signal comes.
    out, recipe = tmp_path / "run", replace(RECIPE, epochs=500)
    process = support.interrupted_after_first_epoch(voted, out, recipe)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: python -m training train --resume" in stderr.splitlines()[-1]
    assert {path.name for path in out.iterdir()} <= {"config.json", "checkpoint.npz", "history.csv"}


@pytest.mark.parametrize("recipe", [RECIPE, BALANCED_MIX], ids=["plain", "balanced mix"])
def test_ctrl_c_leaves_a_checkpoint_and_resuming_gives_the_same_weights(
    run: Path, voted: Path, tmp_path: Path, recipe: Recipe
) -> None:
    out = tmp_path / "resumed"
    if recipe != RECIPE:
        run = tmp_path / "whole"
        train(recipe, voted, run, pictures=False)
    interrupted_in_second_epoch(recipe, voted, out)
    assert {path.name for path in out.iterdir()} == {"config.json", "checkpoint.npz", "history.csv"}
    train(recipe, voted, out, resume=True, pictures=False)
    files = {path.name for path in out.iterdir()}
    assert "checkpoint.npz" not in files
    assert not any(name.endswith(".png") for name in files)
    for one, other in zip(
        load_run(run).build().get_weights(), load_run(out).build().get_weights(), strict=True
    ):
        assert np.array_equal(one, other)

    def losses(path: Path) -> list[str]:
        with (path / "history.csv").open() as file:
            return [row["loss"] + row["validation_loss"] for row in csv.DictReader(file)]

    assert losses(out) == losses(run)
    assert (out / "history.csv").read_text().splitlines()[0] == (
        run / "history.csv"
    ).read_text().splitlines()[0]


def test_refusals_name_the_way_out(run: Path, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds a run already; add --resume"):
        train(RECIPE, prepared, run, pictures=False)
    with pytest.raises(RunError, match="nothing to resume, the run is finished"):
        train(RECIPE, prepared, run, resume=True, pictures=False)
    begun = Path(shutil.copytree(run, tmp_path / "begun"))
    (begun / "checkpoint.npz").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"begun with another recipe \(epochs 3 there and 4 here\)"):
        train(replace(RECIPE, epochs=4), prepared, begun, resume=True, pictures=False)
    with pytest.raises(RunError, match="checkpoint.npz: does not fit the network"):
        train(RECIPE, prepared, begun, resume=True, pictures=False)
    (begun / "checkpoint.npz").unlink()
    (begun / "model.weights.h5").unlink()
    with pytest.raises(
        RunError, match="no epoch was finished; run the same command without --resume"
    ):
        train(RECIPE, prepared, begun, resume=True, pictures=False)
    with pytest.raises(RunError, match="the run has no model.weights.h5; finish it with"):
        load_run(begun).build()


def test_run_of_another_input_spec_is_refused_with_both_fingerprints(
    run: Path, prepared: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text())
    spec = replace(DEFAULT_SPEC, height=64, width=64)
    config |= {"input_spec": spec.to_dict(), "input_fingerprint": spec.fingerprint()}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        SpecMismatch,
        match=rf"{DEFAULT_SPEC.fingerprint()}.*expected 64x64-grey \({spec.fingerprint()}",
    ):
        evaluate_run(other, prepared, "test")


def test_loss_that_is_no_number_stops_at_its_step_and_keeps_nothing_broken(
    prepared: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(RunError, match=r"the loss became (nan|inf) at step \d+"):
        train(recipe, prepared, tmp_path / "nan", pictures=False)
    assert not (tmp_path / "nan" / "model.weights.h5").exists()


def test_network_that_only_validation_sees_broken_ends_the_run_in_one_line(
    prepared: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, model="means", learning_rate=1e38, warmup_epochs=0, batch_size=127)
    with pytest.raises(RunError, match=r"the loss of validation became (nan|inf) after epoch 1: "):
        train(recipe, prepared, tmp_path / "nan", pictures=False)
    assert not (tmp_path / "nan" / "model.weights.h5").exists()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_and_their_weights_load_under_tensorflow(
    prepared: Path, tmp_path: Path, backend: str
) -> None:
    if not is_installed(backend):
        pytest.skip(
            f"{backend} is not installed (jax is part of the dev environment, torch is installed "
            "by hand)"
        )
    code = (
        "from pathlib import Path; from training.machines.backend import choose_backend; "
        "choose_backend()\n"
        # What Keras would import for features that nobody here uses.
        "import sys; assert not {'sklearn', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "from training.fit.train import train; from training.fit.recipe import Recipe\n"
        "import tests.networks  # its small network\n"
        f"train(Recipe(model='quick', epochs=1, batch_size=32), Path({str(prepared)!r}), "
        f"Path({str(tmp_path / 'run')!r}))"
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
    assert f"Keras on {backend}" in done.stdout
    data = load_prepared(prepared, DEFAULT_SPEC)
    with np.load(tmp_path / "run" / "predictions_test.npz") as stored:
        here = predict(load_run(tmp_path / "run").build(), data.images[stored["rows"]])
        assert np.abs(here - stored["logits"]).max() < 1e-4
    assert keras.models.load_model(tmp_path / "run" / "model.keras").count_params() == 1_439
