"""Several seeds of one recipe: each run is that of its seed, the whole goes on and teaches."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.errors import Interrupted, MissingFile, RunError
from edgeemo.proof.evaluation import score
from tests import support
from tests.networks import KNOWN, CtrlC
from training.__main__ import main
from training.fit.events import Events
from training.fit.train import train
from training.machines.choose import augmented_where, choose_side_by_side, with_pipeline
from training.machines.devices import ONE
from training.runs.evaluate import scorecards
from training.runs.run import load_run
from training.runs.seeds import read_seeds, runs_at, seed_folder
from training.studies.seeds import table_lines, train_seeds

pytestmark = pytest.mark.rounding

RECIPE = replace(KNOWN, model="means", epochs=2, batch_size=32, learning_rate=0.1)
WEIGHTS = "model.weights.h5"


def arrays(run: Path, split: str) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    with np.load(run / f"predictions_{split}.npz") as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def two(voted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of the seeds 1 and 2."""
    out = tmp_path_factory.mktemp("seeds") / "two"
    train_seeds(RECIPE, (1, 2), voted, out, pictures=False)
    return out


def test_a_seed_s_run_is_that_of_train_with_this_seed_bit_for_bit(
    two: Path, voted: Path, tmp_path: Path
) -> None:
    train(replace(RECIPE, seed=2), voted, tmp_path / "plain", pictures=False)
    ours, plain = load_run(two / "seed-2"), load_run(tmp_path / "plain")
    for a, b in zip(ours.build().get_weights(), plain.build().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert ours.recipe == plain.recipe
    for split in ("validation", "test"):
        of_seed, alone = arrays(two / "seed-2", split), arrays(tmp_path / "plain", split)
        assert all(np.array_equal(of_seed[name], alone[name]) for name in alone)
    names = {path.name for path in (two / "seed-2").iterdir()}
    assert names == {path.name for path in (tmp_path / "plain").iterdir()}
    assert not np.array_equal(
        arrays(two / "seed-1", "test")["logits"], arrays(two / "seed-2", "test")["logits"]
    )


def test_results_hold_each_run_s_figures_their_spread_and_those_of_all_together(
    two: Path, voted: Path
) -> None:
    results = json.loads((two / "results.json").read_text())
    top1 = [row["test"]["top1"] for row in results["runs"]]
    for row in results["runs"]:
        cards = scorecards(two / f"seed-{row['seed']}", voted, "test")
        assert row["test"] == {
            "top1": cards["labels"].top1,
            "macro_f1": cards["labels"].macro_f1,
            "ferplus_top1": cards["ferplus_majority"].top1,
        }
    spread = results["summary"]["test"]["top1"]
    assert spread["mean"] == pytest.approx(np.mean(top1))
    assert spread["sd"] == pytest.approx(np.std(top1, ddof=1))
    stored = [arrays(two / f"seed-{seed}", "test") for seed in (1, 2)]
    mean = np.mean([softmax(one["logits"]) for one in stored], axis=0)
    expected = score(stored[0]["labels"], mean.argmax(axis=1), LABELS)
    assert results["together"]["test"]["top1"] == expected.top1
    lines = list(table_lines(results))
    assert [line.split()[0] for line in lines[3:]] == ["1", "2", "mean", "sd", "together"]
    assert f"{100 * top1[1]:.2f}" in lines[4]
    assert max(map(len, lines)) <= 100


def test_what_was_interrupted_goes_on_as_if_nothing_had_been(
    two: Path, voted: Path, tmp_path: Path
) -> None:
    def events(run: Path) -> Events:
        return CtrlC() if run.name == "seed-2" else Events(run)

    out = tmp_path / "again"
    with pytest.raises(Interrupted, match="stopped in seed 2, run 2 of 2.* --resume --data"):
        train_seeds(RECIPE, (1, 2), voted, out, events=events, pictures=False)
    assert list((out / "seed-1" / "tensorboard").iterdir())
    first = (out / "seed-1" / WEIGHTS).stat().st_mtime_ns
    with pytest.raises(RunError, match="finish with: python -m training train --resume"):
        runs_at(str(out))
    results = train_seeds(RECIPE, (1, 2), voted, out, resume=True, pictures=False)
    assert (out / "seed-1" / WEIGHTS).stat().st_mtime_ns == first
    for seed in (1, 2):
        ours, whole = (seed_folder(folder, seed) for folder in (out, two))
        for name, value in arrays(whole, "test").items():
            np.testing.assert_array_equal(arrays(ours, "test")[name], value)
    assert [row["test"] for row in results["runs"]] == [
        row["test"] for row in json.loads((two / "results.json").read_text())["runs"]
    ]


def test_all_runs_of_a_folder_are_teachers_and_are_named_in_the_student_s_config(
    two: Path, voted: Path, tmp_path: Path
) -> None:
    words = ("train", "--data", voted, "--model", "means", "--epochs", 1, "--seed", 3)
    done = support.done_here(
        main, "x", *words, "--no-pictures", "--distill", two, "--out", tmp_path / "student"
    )
    assert done.returncode == 0, done.stderr
    config = load_run(tmp_path / "student").config
    runs = [str(two / f"seed-{seed}") for seed in (1, 2)]
    assert config.recipe["teachers"] == runs
    assert [(source.use, source.run, source.seed) for source in config.leaned_on] == [
        ("teacher", run, seed) for run, seed in zip(runs, (1, 2), strict=True)
    ]


def test_json_is_all_that_is_on_stdout(two: Path, voted: Path) -> None:
    done = support.done_here(
        main, "x", "train", "--data", voted, "--resume", "--json", "--out", two
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((two / "results.json").read_text())
    assert "\ntogether  " in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--seeds", "1,2"], 1, "holds the runs of seeds 1, 2 already; add --resume"),
        ([], 1, "holds the runs of several seeds; add --resume"),
        (["--resume", "--seeds", "1,3"], 1, "seeds 1, 2, of which 2 is not named"),
        (["--resume", "--epochs", "5"], 1, r"another recipe \(epochs 2 there and 5 here\)"),
        (["--resume", "--devices", "1"], 2, "leave out --devices"),
        (["--seeds", "1,2", "--seed", "3"], 2, "leave out --seed"),
        (["--seeds", ""], 2, "an empty word after --seeds"),
        (["--seeds", "1,1"], 2, "expected each seed once, received 1 twice"),
        (["--seeds", "1,two"], 2, "expected seeds like 1,2,3, received '1,two'"),
        (["--seeds", "-1"], 2, "expected seeds like 1,2,3, received '-1'"),
        (["--seeds", "4294967296"], 2, "expected seeds of 0 to 4294967295"),
        (["--seeds", ",".join(map(str, range(101)))], 2, "expected 1 to 100 seeds, received 101"),
        (["--seeds", "9" * 5000], 2, "expected seeds like 1,2,3, received '9999"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_several_seeds_is_refused_in_one_line(
    two: Path, voted: Path, words: list[str], code: int, message: str
) -> None:
    before = sorted(path.stat().st_mtime_ns for path in two.rglob("*"))
    done = support.done_here(main, "x", "train", "--data", voted, "--out", two, *words)
    assert done.returncode == code
    assert re.search(message, done.stderr.strip().splitlines()[-1]), done.stderr
    assert sorted(path.stat().st_mtime_ns for path in two.rglob("*")) == before


def test_several_machines_do_not_train_several_seeds(
    two: Path, voted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    words = ("train", "--data", voted, "--seeds", "1,2", "--out", tmp_path / "new")
    done = support.done_here(main, "x", *words)
    assert done.returncode == 1
    assert "TF_CONFIG is set" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_run_of_one_seed_is_not_replaced_nor_taken_for_several(two: Path, voted: Path) -> None:
    one = two / "seed-1"
    with pytest.raises(RunError, match="holds a run of one seed already"):
        train_seeds(RECIPE, (1, 2), voted, one)
    with pytest.raises(RunError, match="resume it without --seeds"):
        train_seeds(RECIPE, (1, 2), voted, one, resume=True)
    with pytest.raises(MissingFile, match="name one of them, for example .*seed-1"):
        load_run(two)
    assert runs_at(str(one)) == (str(one),)


def test_a_damaged_list_of_seeds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seeds.json").write_text('{"seeds": [1, 1]}')
    with pytest.raises(RunError, match="not what `train --seeds` wrote"):
        read_seeds(tmp_path)


def test_side_by_side_is_refused_for_one_seed_and_on_other_backends_than_jax(
    voted: Path, tmp_path: Path
) -> None:
    words = ("train", "--data", voted, "--out", tmp_path / "out", "--side-by-side")
    done = support.done_here(main, "x", *words)
    assert done.returncode == 2
    assert "--side-by-side and --one-by-one need several --seeds" in done.stderr
    done = support.done_here(main, "x", *words, "--seeds", "1,2")
    assert done.returncode == 1
    assert "under JAX alone, received Keras on tensorflow; set KERAS_BACKEND=jax" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not choose_side_by_side(None)
    assert not choose_side_by_side(False)


def test_a_pipeline_on_the_device_is_refused_on_other_backends_than_jax(
    voted: Path, tmp_path: Path
) -> None:
    words = ("train", "--data", voted, "--out", tmp_path / "out", "--pipeline", "device")
    done = support.done_here(main, "x", *words)
    assert done.returncode == 1
    assert "needs Keras on JAX and one device, received tensorflow and 1 device" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("backend", "gpus", "devices", "where"),
    [
        ("jax", 1, 1, "device"),
        ("jax", 4, 1, "device"),
        ("jax", 4, 4, "host"),  # Keras' data parallelism takes batches from the host
        ("jax", 0, 1, "host"),
        ("tensorflow", 1, 1, "host"),
        ("torch", 1, 1, "host"),
    ],
)
def test_faces_are_augmented_on_the_device_on_one_gpu_under_jax(
    backend: str, gpus: int, devices: int, where: str
) -> None:
    assert augmented_where(backend, gpus, devices) == where
    assert with_pipeline(RECIPE, ONE, settled=True) is RECIPE
