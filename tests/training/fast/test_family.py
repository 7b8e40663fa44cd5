"""A whole family of tiny networks, from faces to run folders, inside its budget."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import softmax
from edgeemo.errors import RunError
from tests import support
from training.fast import lessons
from training.fast.faces import FaceSet, Part, pack_faces
from training.fast.family import PLAN, Options, made_of
from training.fast.job import epochs_done, remember
from training.fast.results import measured
from training.fast.run import check_begun, run_family
from training.networks import NETWORKS
from training.networks.blocks import classifier, convolution, rescaled_input
from training.runs.run import load_run

BUDGET = 180.0  # far more than the tiny networks take; a busy machine compiles for long


def tiny(spec: InputSpec, classes: int) -> keras.Model:
    pixels, x = rescaled_input(spec)
    x = convolution(convolution(x, 4, "one", stride=2), 8, "two", stride=2)
    return classifier(pixels, x, "tiny", classes, dropout=0.1)


def part(seed: int, count: int) -> Part:
    """Faces as bright as their label says; nine of ten taggers agree."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 7
    images = np.clip(30 * labels[:, None, None] + rng.integers(0, 60, (count, 48, 48)), 0, 255)
    votes = np.zeros((count, 10), np.int64)
    # Neutral, happiness, surprise, sadness, anger, disgust and fear, by the order of our labels.
    column = np.array([4, 0, 5, 6, 1, 3, 2])[labels]
    votes[np.arange(count), column] = 9
    votes[:, 0] += 1
    return Part(images.astype(np.uint8), labels, votes)


def given(**more: Any) -> dict[str, Any]:
    return {
        "budget": BUDGET,
        "teacher": "tiny",
        "networks": ("tiny",),
        "seed": 1,
        "unlabelled": None,
        "faces": None,
        "plan": False,
    } | more


@pytest.fixture(autouse=True)
def _tiny_network() -> Iterator[None]:
    with NETWORKS.added("tiny", tiny):
        yield


def test_family_leaves_runs_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    faces = FaceSet(
        part(1, 560),
        part(2, 140),
        part(3, 28).images,
        {"data": "x", "data_sets": ["x"], "data_seed": 1, "split_hash": "ab" * 32},
    )
    pack_faces(faces, tmp_path / "kit")
    said: list[str] = []
    table = run_family(tmp_path / "kit", tmp_path / "out", given(), said.append)
    assert "| tiny |" in table
    run = load_run(tmp_path / "out/tiny")
    assert run.recipe.qat
    assert run.config.split_hash == "ab" * 32
    assert run.build().count_params() == tiny(run.spec, 7).count_params() - 3 * 12
    again: list[str] = []
    second = run_family(tmp_path / "kit", tmp_path / "out", given(), again.append)
    strip = [line.rsplit("|", 2)[0] for line in table.splitlines()]
    assert [line.rsplit("|", 2)[0] for line in second.splitlines()][: len(strip)] == strip


def test_family_that_is_killed_goes_on_and_ends_inside_its_budget(tmp_path: Path) -> None:
    about = {"data": "x", "data_sets": ["x"], "data_seed": 1, "split_hash": "ab" * 32}
    faces = FaceSet(part(1, 280), part(2, 70), part(3, 7).images, about)
    pack_faces(faces, tmp_path / "kit")
    out = tmp_path / "out"
    words = f"family --data {tmp_path / 'kit'} --out {out} --budget 3m --device cpu"
    words += " --teacher tiny --networks tiny"
    code = (
        "from tests.training.fast.test_family import tiny; from edgeemo.cli import shell\n"
        "from training.networks import NETWORKS; from training.__main__ import main\n"
        f"with NETWORKS.added('tiny', tiny): shell.run(main, 'x', {words.split()!r})"
    )

    def begun() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=support.REPOSITORY
        )

    for sign in ("plan.json", "teacher-1/state.npz", "tiny-float/state.npz"):
        process = begun()
        while not (out / sign).is_file() and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
    teacher = epochs_done(out / "teacher-1")
    process = begun()
    said, _ = process.communicate()
    assert process.returncode == 0
    ended = re.search(r"\[ *([0-9.]+) s\] done", said)
    assert ended
    assert float(ended[1]) < BUDGET
    assert epochs_done(out / "teacher-1") == teacher > 0
    assert "| tiny |" in said
    assert (out / "results.md").read_text() in said
    assert load_run(out / "tiny").recipe.qat
    assert load_run(out / "tiny-fer2013").recipe.labels == "fer2013"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"seed": 2}, "seed 1 there and 2 here"),
        ({"faces": 100}, "faces 140 there and 100 here"),
    ],
)
def test_other_choices_do_not_go_on_with_a_family(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    options = Options(budget=9.0, teacher="tiny", networks=("tiny",))
    faces = FaceSet(part(1, 140), part(2, 70), part(3, 7).images, {"split_hash": "ab" * 32})
    begun = {"made_of": made_of(options, faces)}
    remember(tmp_path / "out", PLAN, lambda: begun)
    check_begun(tmp_path / "out", replace(options, budget=90.0), faces)
    pack_faces(faces, tmp_path / "kit")
    with pytest.raises(RunError, match=message):
        run_family(tmp_path / "kit", tmp_path / "out", given(**more), lambda line: None)


def test_runs_of_somebody_else_are_not_replaced(tmp_path: Path) -> None:
    run = tmp_path / "runs/tiny-float"
    run.mkdir(parents=True)
    (run / "model.weights.h5").write_bytes(b"mine")
    pack_faces(FaceSet(part(1, 140), part(2, 70), part(3, 7).images, {}), tmp_path / "kit")
    with pytest.raises(RunError, match="tiny-float: holds a run already"):
        run_family(tmp_path / "kit", tmp_path / "runs", given(), lambda line: None)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny-float"]


def test_plan_trains_nothing(tmp_path: Path) -> None:
    pack_faces(FaceSet(part(1, 140), part(2, 70), part(3, 7).images, {}), tmp_path / "kit")
    text = run_family(tmp_path / "kit", tmp_path / "out", given(plan=True), lambda line: None)
    teachers, *students = text.splitlines()
    assert re.fullmatch(r"teachers: \d x \d+ epochs and \d+ views", teachers)
    assert re.fullmatch(r"tiny: \d+ epochs, then \d+ in simulated int8", students[0])
    assert not (tmp_path / "out").exists()


def test_targets_blend_votes_and_labels_and_leave_unlabelled_faces_to_the_teachers() -> None:
    faces = part(1, 14)
    said = lessons.answers(faces)
    rows = np.arange(14)
    soft = np.full((2, 16, 7), 1 / 7, np.float32)
    values = lessons.default_targets(said, rows, 2, soft, 0.8, 0.5).astype(np.float64)
    # Of the votes nine tenths are for the label and one for neutral (place 1); half of the rest is
    # the label itself.
    expected = (
        0.2 * (0.5 * np.eye(7)[0] + 0.5 * (0.9 * np.eye(7)[0] + 0.1 * np.eye(7)[1])) + 0.8 / 7
    )
    np.testing.assert_allclose(values[0, 0], expected, atol=1e-3)
    np.testing.assert_allclose(values[:, 14:], 1 / 7, atol=1e-3)
    np.testing.assert_allclose(values.sum(axis=-1), 1, atol=2e-3)


def test_rare_classes_are_repeated_and_everybody_is_there() -> None:
    faces = part(1, 700)
    keep = np.concatenate(
        [np.flatnonzero(faces.labels != 2), np.flatnonzero(faces.labels == 2)[:4]]
    )
    fewer = Part(faces.images[keep], faces.labels[keep], faces.votes[keep])
    times = np.bincount(lessons.repeated(lessons.answers(fewer)), minlength=len(keep))
    assert set(times[fewer.labels == 2]) == {4}
    assert set(times[fewer.labels != 2]) == {1}


def test_heads_are_averaged_over_teachers() -> None:
    logits = np.random.default_rng(1).normal(size=(3, 5, 14)).astype(np.float32)
    expected = 0.7 * softmax(logits[..., :7]).mean(axis=0) + 0.3 * softmax(logits[..., 7:]).mean(
        axis=0
    )
    np.testing.assert_allclose(lessons.of_heads(logits, 0.7), expected, rtol=1e-5)


def test_taking_off_the_prior_gives_back_recall_of_a_rare_class() -> None:
    faces = part(1, 700)
    logits = 4 * np.eye(7, dtype=np.float32)[faces.labels]
    logits[:, 1] += 5
    logits[faces.labels != 1, 1] -= np.random.default_rng(1).uniform(0, 4, 600).astype(np.float32)
    row = measured(logits, faces)
    assert row["adjusted_recall"] > row["ferplus_recall"] + 0.1
    assert row["adjusted_top1"] >= row["ferplus_top1"] - 0.01
