"""TensorBoard's event files: its own reader finds history.csv in them, with and without TensorFlow,
and after a resume.
"""

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests import support
from tests.networks import SEED, interrupted_in_second_epoch
from training.fit.events import FOLDER, TAGS, Events
from training.fit.recipe import Recipe
from training.fit.train import train
from training.runs.run import load_run

pytestmark = pytest.mark.rounding

RECIPE = Recipe(
    model="quick",
    epochs=3,
    batch_size=64,
    warmup_epochs=1,
    learning_rate=1e-3,
    mixup=0,
    ema=0,
    seed=SEED,
)


def read(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / FOLDER))
    events.Reload()
    return events


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def check_holds_history(events: EventAccumulator, run: Path) -> None:
    for name, tag in TAGS.items():
        if name != "learning_rate":
            points = [(point.step, point.value) for point in events.Scalars(tag)]
            assert points == [
                (row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in history(run)
            ], tag


def test_events_hold_history_the_schedule_and_the_confusion_matrix(
    prepared: Path, tmp_path: Path
) -> None:
    train(RECIPE, prepared, tmp_path, events=Events(tmp_path))
    events = read(tmp_path)
    assert set(events.Tags()["scalars"]) == set(TAGS.values())
    check_holds_history(events, tmp_path)
    # One epoch of warm-up to the peak, then a cosine to 0 at the end of the third.
    expected = [1e-3 * (1 + math.cos(math.pi * share)) / 2 for share in (0, 0.5, 1)]
    assert [point.value for point in events.Scalars("learning_rate")] == pytest.approx(
        expected, abs=1e-8
    )
    (image,) = events.Images("validation/confusion")
    assert image.step == 3
    assert image.encoded_image_string == (tmp_path / "confusion_validation.png").read_bytes()
    assert (image.width, image.height) == (768, 672)  # 6.4 by 5.6 inches of 120 dots


def test_a_run_that_is_resumed_with_events_has_all_of_its_epochs(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    interrupted_in_second_epoch(RECIPE, prepared, out)
    assert not (out / FOLDER).exists()
    train(load_run(out).recipe, prepared, out, resume=True, events=Events(out), pictures=False)
    check_holds_history(read(out), out)
    assert [point.step for point in read(out).Scalars("learning_rate")][-1] == 3


def test_a_resumed_run_appends_and_replaces_what_an_interrupted_epoch_left(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    first = Events(tmp_path)
    first.begin([])
    for row in rows:
        first.epoch(row)
    # The third epoch's checkpoint was never written: it is trained again.
    second = Events(tmp_path)
    second.begin(rows[:2])
    second.epoch({"epoch": 3, "loss": 0.25})
    assert len(list((tmp_path / FOLDER).iterdir())) == 2
    assert [(point.step, point.value) for point in read(tmp_path).Scalars("loss/training")] == [
        (1, 1.0), (2, 0.5), (3, 0.25),
    ]  # fmt: skip


def test_writing_events_imports_neither_tensorflow_nor_keras(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(support.png_of(5, 3))
    code = (
        "import sys; from pathlib import Path; from training.fit.events import Events\n"
        f"events = Events(Path({str(tmp_path)!r})); events.begin([]); events.epoch({{'epoch': 1, "
        "'loss': 0.5})\n"
        f"events.picture('drawn', Path({str(picture)!r}), 1)\n"
        "sys.exit(' '.join({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=support.REPOSITORY,
    )
    assert done.stderr == "\n"  # an empty list of packages
    (point,), (image,) = read(tmp_path).Scalars("loss/training"), read(tmp_path).Images("drawn")
    assert (point.step, point.value) == (1, 0.5)
    assert (image.width, image.height, image.encoded_image_string) == (5, 3, picture.read_bytes())
