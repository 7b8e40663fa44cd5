"""Runs that lean on other runs: teachers' scores, starting weights, and whom they refuse."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.data.ferplus import group_votes
from edgeemo.data.prepared import file_sha256, load_prepared
from edgeemo.errors import InvalidInput, RunError, SpecMismatch
from tests.networks import SEED
from training.__main__ import main
from training.fit.anew import fitted_epochs
from training.fit.distill import Teachers, informed
from training.fit.loop import (
    chosen_targets,
    fit_epoch,
    new_model,
    steps_per_epoch,
    training_faces,
)
from training.fit.recipe import Recipe
from training.fit.train import train
from training.machines.devices import Devices
from training.runs.run import load_run
from training.studies.crossval import crossval
from training.studies.sweep import sweep

pytestmark = pytest.mark.rounding

RECIPE = Recipe(model="quick", epochs=1, batch_size=32, warmup_epochs=0, seed=SEED)


@pytest.fixture(scope="module")
def teachers(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two finished runs of other seeds."""
    folder = tmp_path_factory.mktemp("teachers")
    for name in (1, 2):
        train(replace(RECIPE, seed=SEED + name), prepared, folder / str(name), pictures=False)
    return folder / "1", folder / "2"


def changed(run: Path, out: Path, **values: object) -> Path:
    """A copy of a run whose config says something else."""
    shutil.copytree(run, out)
    config = json.loads((out / "config.json").read_text()) | values
    (out / "config.json").write_text(json.dumps(config))
    return out


def test_teacher_scores_are_the_mean_of_softened_scores_over_teachers_and_mirroring(
    prepared: Path, teachers: tuple[Path, Path]
) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = np.arange(30)[::-1]
    images = np.asarray(data.images[rows])
    found = Teachers(
        replace(RECIPE, teachers=tuple(map(str, teachers)), temperature=3.0), data, rows
    ).scores()
    expected = np.zeros((30, 7))
    for path in teachers:
        model = load_run(path).build()
        for pictures in (images, np.flip(images, axis=2)):
            logits = np.asarray(model(pictures.astype(np.float32)), np.float64) / 3
            expected += np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(found, expected / 4, atol=1e-5)


@pytest.mark.parametrize("informed", [False, True])
def test_teachers_score_the_very_pixels_that_a_student_sees(
    voted: Path, teachers: tuple[Path, Path], informed: bool
) -> None:
    data = load_prepared(voted, DEFAULT_SPEC)
    names = tuple(map(str, teachers))
    recipe = replace(
        RECIPE, teachers=names, informed=informed, temperature=2.0, views=2, mixup=0.0, epochs=3
    )
    fitted = chosen_targets(recipe, data, data.indices("train"), fitted=True)
    faces = training_faces(recipe, data, fitted)
    model = new_model(
        recipe, steps_per_epoch(recipe, len(faces.images), len(LABELS)), DEFAULT_SPEC, len(LABELS)
    )
    devices = Noting()
    seen = []
    for epoch in range(3):
        fit_epoch(model, recipe, epoch, faces, title="", devices=devices)
        seen.append(devices.taken())
    networks = [load_run(path).build() for path in teachers]
    for x, y in seen:
        logits = np.array([np.asarray(network(x)) for network in networks])
        if informed:
            # What the votes add depends on the picture alone, so the teachers' part is all that may
            # differ between its variants.
            assert np.allclose(y[:, 7:].sum(axis=1), 1, atol=1e-5)
        else:
            assert np.allclose(y[:, 7:], softmax(logits / np.float32(2)).mean(axis=0), atol=1e-5)
    # The third epoch shows the first one's pictures again in another order, the second shows
    # others.
    (first, of_first), (second, _), (third, of_third) = (
        (x.reshape(len(x), -1), y) for x, y in seen
    )
    known = {row.tobytes(): scores for row, scores in zip(first, of_first, strict=True)}
    again = [row.tobytes() in known for row in third]
    assert np.mean(again) > 0.5  # but for pictures that fill no batch
    assert not any(row.tobytes() in known for row in second)
    assert not np.array_equal(first[:10], third[:10])
    for row, scores, repeated in zip(third, of_third, again, strict=True):
        assert not repeated or np.array_equal(known[row.tobytes()], scores)


class Noting(Devices):
    """One device that notes the batches which it is given."""

    def __init__(self) -> None:
        super().__init__()
        self._batches: list[tuple[Any, Any]] = []

    def step(self, model: keras.Model, x: Any, y: Any, weights: Any) -> float:
        """The step as it is."""
        self._batches.append((x, y))
        return super().step(model, x, y, weights)

    def taken(self) -> tuple[Any, Any]:
        """All pictures and targets since the last call."""
        batches, self._batches = self._batches, []
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def test_what_teachers_say_of_variants_moves_the_informed_logits(voted: Path) -> None:
    data = load_prepared(voted, DEFAULT_SPEC)
    rows = data.indices("train")
    votes, labels = group_votes(data)[rows], data.labels[rows]
    own_class = np.eye(7, dtype=np.float32)[labels]
    logits = own_class + np.random.default_rng(4).normal(0, 1, (len(rows), 7)).astype(np.float32)
    inform = informed(votes, logits, labels, len(LABELS))
    # Teachers that are surer of the label make the regression surer of it.
    surer = logits + 3 * own_class
    own = np.arange(len(rows)), labels
    assert (softmax(inform(surer))[own] - softmax(inform(logits))[own]).mean() > 0


def test_views_without_teachers_are_refused() -> None:
    with pytest.raises(
        InvalidInput, match="expected teachers for views, and at least 0 views, received 3 and 0"
    ):
        Recipe(views=3)


def test_a_last_run_fits_validation_too_and_keeps_the_last_epoch(
    prepared: Path, tmp_path: Path
) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    recipe = replace(RECIPE, epochs=3, with_validation=True, learning_rate=0.02)
    train(recipe, prepared, tmp_path / "run", pictures=False)
    run = load_run(tmp_path / "run")
    rows = np.concatenate([data.indices("train"), data.indices("validation")])
    assert run.config.faces["train"] == len(rows)
    assert run.config.history.best_epoch == 3
    weights = [model.get_weights() for model, _ in fitted_epochs(recipe, data, rows)]
    for one, other in zip(run.build().get_weights(), weights[-1], strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_what_has_seen_validation_judges_nothing_by_it(
    prepared: Path, teachers: tuple[Path, Path], tmp_path: Path
) -> None:
    config = json.loads((teachers[0] / "config.json").read_text())
    seen = changed(
        teachers[0], tmp_path / "seen", recipe=config["recipe"] | {"with_validation": True}
    )
    for use in ({"teachers": (str(seen),)}, {"init": str(seen)}):
        with pytest.raises(RunError, match="was trained on the validation pictures too"):
            train(replace(RECIPE, **use), prepared, tmp_path / "student", pictures=False)
        assert not (tmp_path / "student").exists()
        train(
            replace(RECIPE, with_validation=True, **use),
            prepared,
            tmp_path / next(iter(use)),
            pictures=False,
        )
    with pytest.raises(InvalidInput, match="expected a patience of 0 with with_validation"):
        Recipe(with_validation=True, patience=3)
    for judge in (sweep, crossval):
        with pytest.raises(InvalidInput, match="expected a recipe without with_validation"):
            judge(replace(RECIPE, with_validation=True), prepared, tmp_path / "out")
    shown = CliRunner().invoke(
        main, ["evaluate", str(seen), "--data", str(prepared), "--split", "validation"]
    )
    assert "float, validation (fitted to)" in shown.output
    held_out = CliRunner().invoke(
        main, ["evaluate", str(seen), "--data", str(prepared), "--split", "test"]
    )
    assert "fitted to" not in held_out.output


def test_an_informed_teacher_knows_how_often_a_vote_means_a_label() -> None:
    # Ten votes for column c mean label c in six of ten cases, and each other label as often as the
    # rest allows.
    rng = np.random.default_rng(1)
    column = rng.integers(0, len(LABELS), 20_000)
    votes = np.zeros((20_000, len(FERPLUS_COLUMNS)), np.int64)
    votes[np.arange(20_000), column] = 10
    labels = np.where(rng.random(20_000) < 0.6, column, rng.integers(0, len(LABELS), 20_000))
    zeros = np.zeros((20_000, 7), np.float32)
    scores = softmax(informed(votes, zeros, labels, len(LABELS))(zeros))
    expected = np.full((len(LABELS), len(LABELS)), 0.4 / 7) + 0.6 * np.eye(len(LABELS))
    assert np.allclose(scores, expected[column], atol=0.03)


def test_an_informed_teacher_without_votes_follows_the_teachers() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 1, (20_000, 7)).astype(np.float32)
    true = softmax(logits)
    labels = (rng.random((20_000, 1)) > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
    scores = softmax(informed(np.full((20_000, 10), -1), logits, labels, len(LABELS))(logits))
    assert np.abs(scores - true).mean() < 0.01


def test_an_informed_teacher_gives_a_class_without_faces_nothing(
    voted: Path, teachers: tuple[Path, Path]
) -> None:
    data = load_prepared(voted, DEFAULT_SPEC)
    rows = data.indices("train")
    rows = rows[data.labels[rows] != LABELS.index("fear")]
    recipe = replace(RECIPE, teachers=(str(teachers[0]),), informed=True)
    scores = Teachers(recipe, data, rows).scores()
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert scores[:, LABELS.index("fear")].max() < 1e-6
    # It has seen what the votes say, so it is nearer to the labels than the teacher alone.
    own = np.arange(len(rows)), data.labels[rows]
    assert (
        scores[own].mean()
        > Teachers(replace(recipe, informed=False), data, rows).scores()[own].mean()
    )


def test_votes_alone_or_for_soft_labels_inform_nobody() -> None:
    for recipe in ({"teachers": ()}, {"teachers": ("t",), "labels": "ferplus"}):
        with pytest.raises(
            InvalidInput, match="expected teachers and labels fer2013 for informed teachers"
        ):
            Recipe(informed=True, **recipe)


def test_a_distilled_run_says_whom_it_learned_from_and_resumes_by_itself(
    voted: Path, teachers: tuple[Path, Path], tmp_path: Path
) -> None:
    both, out = ",".join(map(str, teachers)), tmp_path / "student"
    options = [
        "--data",
        str(voted),
        "--out",
        str(out),
        "--model",
        "quick",
        "--epochs",
        "1",
        "--batch-size",
        "32",
    ]
    done = CliRunner().invoke(
        main, ["train", *options, "--distill", both, "--distill-share", "0.7", "--distill-votes"]
    )
    assert done.exit_code == 0, done.output
    run = load_run(out)
    assert run.recipe.teachers == tuple(map(str, teachers))
    assert (run.recipe.distill, run.recipe.informed) == (0.7, True)
    for path, source in zip(teachers, run.config.leaned_on, strict=True):
        assert (source.use, source.run) == ("teacher", str(path))
        assert source.weights_sha256 == file_sha256(path / "model.weights.h5")


def test_training_starts_from_the_weights_of_another_run(
    prepared: Path, teachers: tuple[Path, Path], tmp_path: Path
) -> None:
    still = replace(RECIPE, init=str(teachers[0]), learning_rate=1e-12, ema=0.0)
    train(still, prepared, tmp_path / "student", pictures=False)
    before, after = (load_run(path).build() for path in (teachers[0], tmp_path / "student"))
    # Steps of almost no length leave the weights; only the normalization's statistics go on.
    for one, other in zip(before.trainable_variables, after.trainable_variables, strict=True):
        assert np.allclose(one.numpy(), other.numpy(), atol=1e-6)
    with pytest.raises(
        RunError, match="is a quick, a small cannot start from it; add --model quick"
    ):
        train(replace(still, model="small"), prepared, tmp_path / "other", pictures=False)


@pytest.mark.parametrize("use", ["--distill", "--init"])
def test_a_run_that_may_have_seen_the_test_pictures_is_refused(
    prepared: Path, teachers: tuple[Path, Path], tmp_path: Path, use: str
) -> None:
    leaky = changed(teachers[0], tmp_path / "leaky", split_hash="0" * 64)
    options = ["--data", str(prepared), "--out", str(tmp_path / "student"), "--model", "nano"]
    done = CliRunner().invoke(main, ["train", *options, use, str(leaky)])
    assert isinstance(done.exception, RunError)
    assert "so it may have seen the test pictures" in str(done.exception)
    assert not (tmp_path / "student").exists()


def test_a_teacher_of_other_labels_or_input_or_without_weights_is_refused(
    prepared: Path, teachers: tuple[Path, Path], tmp_path: Path
) -> None:
    def distil(path: Path) -> None:
        train(
            replace(RECIPE, teachers=(str(path),)), prepared, tmp_path / "student", pictures=False
        )

    permuted = [*LABELS[1:], LABELS[0]]
    with pytest.raises(RunError, match="label"):
        distil(changed(teachers[0], tmp_path / "permuted", labels=permuted))
    spec = replace(DEFAULT_SPEC, height=64, width=64)
    other = changed(
        teachers[0],
        tmp_path / "spec",
        input_spec=spec.to_dict(),
        input_fingerprint=spec.fingerprint(),
    )
    with pytest.raises(SpecMismatch, match=DEFAULT_SPEC.fingerprint()):
        distil(other)
    unfinished = changed(teachers[0], tmp_path / "unfinished")
    (unfinished / "model.weights.h5").unlink()
    with pytest.raises(
        RunError, match="is not finished; finish it with: python -m training train --resume"
    ):
        distil(unfinished)
    assert not (tmp_path / "student").exists()
