"""Seeds side by side: each run is that of its seed alone but for rounding."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeemo.errors import Interrupted
from tests.networks import KNOWN, CtrlC
from training.fit.diverged import Diverged
from training.fit.events import Events
from training.fit.recipe import Augmentation
from training.fit.side_by_side import train_side_by_side
from training.fit.train import train
from training.runs.run import load_run
from training.runs.seeds import is_finished
from training.studies.seeds import train_seeds

# All that draws by the seed: dropout, the order, the pictures, mixup; and an average of the weights.
RECIPE = replace(
    KNOWN,
    model="quick",
    epochs=2,
    batch_size=64,
    learning_rate=0.01,
    warmup_epochs=1,
    ema=0.9,
    mixup=0.2,
    augmentation=Augmentation(),
)
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def two(voted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs of two seeds, side by side, the second one's second epoch interrupted once."""
    out = tmp_path_factory.mktemp("seeds") / "two"

    def events(run: Path) -> Events:
        return CtrlC() if run.name == "seed-2" else Events(run)

    with pytest.raises(Interrupted, match="stopped in seeds 1, 2 side by side, runs 1, 2 of 2"):
        train_seeds(RECIPE, SEEDS, voted, out, events=events, pictures=False, side_by_side=True)
    train_seeds(RECIPE, SEEDS, voted, out, resume=True, pictures=False, side_by_side=True)
    return out


@pytest.fixture(scope="module")
def alone(voted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the second seed, by `train`."""
    out = tmp_path_factory.mktemp("alone") / "seed-2"
    train(replace(RECIPE, seed=2), voted, out, pictures=False)
    return out


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_seed_s_run_is_that_of_train_but_for_rounding(two: Path, alone: Path) -> None:
    ours, theirs = load_run(two / "seed-2"), load_run(alone)
    assert ours.recipe == theirs.recipe
    for a, b in zip(ours.build().get_weights(), theirs.build().get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    other = load_run(two / "seed-1").build().get_weights()
    assert np.abs(other[0] - ours.build().get_weights()[0]).max() > 0.01
    for row, expected in zip(rows(two / "seed-2"), rows(alone), strict=True):
        for name in ("loss", "validation_loss", "validation_top1", "validation_macro_f1"):
            assert float(row[name]) == pytest.approx(float(expected[name]), abs=1e-3)
    for split in ("validation", "test"):
        of_seed, expected = (
            np.load(run / f"predictions_{split}.npz")["logits"] for run in (two / "seed-2", alone)
        )
        np.testing.assert_allclose(of_seed, expected, atol=1e-3)


def test_runs_side_by_side_are_finished_and_leave_what_a_run_alone_leaves(
    two: Path, alone: Path
) -> None:
    for seed in SEEDS:
        run = two / f"seed-{seed}"
        assert is_finished(run)
        assert len(rows(run)) == RECIPE.epochs
    names = {path.name for path in (two / "seed-2").iterdir()}
    assert names == {path.name for path in alone.iterdir()}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (32, r"^seed 1: the loss became (nan|inf) at step \d of the first epoch"),
        # What the one step of an epoch made is seen by validation first.
        (64, r"^seed 1: the loss of validation became (nan|inf) after epoch 1"),
    ],
)
def test_a_loss_that_is_no_number_names_its_seed_and_keeps_nothing_broken(
    voted: Path, tmp_path: Path, batch: int, message: str
) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, warmup_epochs=0, batch_size=batch)
    with pytest.raises(Diverged, match=message):
        train_side_by_side(
            [replace(recipe, seed=seed) for seed in SEEDS],
            voted,
            [tmp_path / str(seed) for seed in SEEDS],
            pictures=False,
        )
    assert not any((tmp_path / str(seed) / "model.weights.h5").exists() for seed in SEEDS)
