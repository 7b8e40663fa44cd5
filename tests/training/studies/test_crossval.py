"""Cross-validation on drawn pictures: its table against the stored predictions, its folds, and
going on after an interrupt.
"""

import csv
import shutil
import statistics
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.metrics import f1_score, recall_score

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.data.ferplus import votes_to_labels
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import InvalidInput, RunError
from tests import support
from tests.networks import SEED, means
from tests.training.studies.test_review import RECIPE as QUICK
from training.__main__ import main
from training.data.prepare import prepare
from training.data.sources import SOURCES
from training.fit.recipe import Recipe
from training.networks import NETWORKS
from training.studies.crossval import crossval, mean_and_sd, table_lines

pytestmark = pytest.mark.rounding

FOLDS = 3
RECIPE = replace(QUICK, epochs=2, learning_rate=0.1, seed=SEED)  # too short to get every fold right


@pytest.fixture(scope="module")
def data(drawn_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The drawn pictures with copies of some, and votes of which every fifth picture has none and
    every seventh no majority.
    """
    folder = tmp_path_factory.mktemp("voted")
    archive, votes = Path(shutil.copy(drawn_archive, folder / "drawn.zip")), folder / "votes.csv"
    with zipfile.ZipFile(archive, "a") as entries:
        for label in (0, 3):
            picture = cv2.imdecode(
                np.frombuffer(entries.read(support.drawn_path("train", label, 1)), np.uint8), 0
            )
            copy = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()
            entries.writestr(support.drawn_path("train", label, 900), copy)
        names = [Path(name) for name in entries.namelist()]
    columns = [
        FERPLUS_COLUMNS[votes_to_labels(LABELS)[:, label].argmax()] for label in range(len(LABELS))
    ]
    with votes.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "usage", *FERPLUS_COLUMNS])
        for i, name in enumerate(names):
            counts = dict.fromkeys(FERPLUS_COLUMNS, 0)
            for share, label in (
                ((5, i % 7), (5, (i + 1) % 7)) if i % 7 == 0 else ((8, i % 7), (2, (i + 3) % 7))
            ):
                counts[columns[label]] += share
            if i % 5:
                writer.writerow([name.name, "Training", *counts.values()])
    prepare(
        [(SOURCES["fer2013"], archive)],
        folder / "data",
        ferplus=votes,
        split="official",
        progress=False,
    )
    return load_prepared(folder / "data", DEFAULT_SPEC)


@pytest.fixture(scope="module")
def done(data: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished cross-validation and its summary. Read only."""
    out = tmp_path_factory.mktemp("crossval") / "whole"
    return out, crossval(RECIPE, data.path, out, folds=FOLDS, progress=False)


def stored_folds(out: Path) -> Iterator[dict[str, np.ndarray]]:
    for fold in range(FOLDS):
        with np.load(out / "folds" / f"fold_{fold}.npz") as stored:
            yield {name: stored[name] for name in ("fitted", "rows", "logits")}


def test_figures_and_their_mean_and_sd_are_what_the_stored_predictions_say(
    data: Prepared, done: tuple[Path, dict[str, Any]]
) -> None:
    found: dict[str, list[float]] = {}
    for fold in stored_folds(done[0]):
        labels, said = data.labels[fold["rows"]], fold["logits"].argmax(axis=1)
        for label, value in zip(
            LABELS, recall_score(labels, said, average=None, zero_division=0.0), strict=True
        ):
            found.setdefault(label, []).append(value)
        found.setdefault("top1", []).append(float((labels == said).mean()))
        found.setdefault("macro_f1", []).append(
            f1_score(labels, said, average="macro", zero_division=0.0)
        )
        right = []
        for row, answer in zip(fold["rows"], said, strict=True):
            votes = dict(zip(FERPLUS_COLUMNS, data.votes[row], strict=True))  # type: ignore[index]
            best = max(votes, key=lambda column: votes[column])
            if votes[best] > 5:
                right.append(
                    votes_to_labels(LABELS)[FERPLUS_COLUMNS.index(best)].argmax() == answer
                )
        found.setdefault("ferplus_top1", []).append(float(np.mean(right)))
    summary = strict.loads((done[0] / "crossval.json").read_bytes())
    assert summary == done[1]
    assert set(summary["summary"]) == set(found)
    for name, values in found.items():
        assert summary["summary"][name]["mean"] == pytest.approx(np.mean(values))
        assert summary["summary"][name]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert len(set(found["top1"])) > 1  # or the standard deviation would say nothing
    assert summary["pictures"] == sum(fold["n"] for fold in summary["folds"])


def test_the_table_has_a_row_a_class_a_column_a_fold_and_mean_and_sd_at_the_end(
    done: tuple[Path, dict[str, Any]],
) -> None:
    lines = list(table_lines(done[1]))
    rows = {line[:12].strip(): line[12:].replace("+-", " ").split() for line in lines[2:]}
    assert list(rows) == [*LABELS, "top-1", "macro-F1", "top-1, FER+", "pictures"]
    for label in LABELS:
        values = [100 * fold["per_class_recall"][label] for fold in done[1]["folds"]]
        expected = [*values, statistics.mean(values), statistics.stdev(values)]
        assert rows[label] == [f"{value:.1f}" for value in expected]
    assert rows["pictures"] == [str(fold["n"]) for fold in done[1]["folds"]]
    assert len({len(line) for line in lines[1:-1]}) == 1


def test_no_group_is_in_two_folds_and_no_test_or_excluded_picture_in_any(
    data: Prepared, done: tuple[Path, dict[str, Any]]
) -> None:
    judged = []
    for fold in stored_folds(done[0]):
        assert not set(data.groups[fold["fitted"]]) & set(data.groups[fold["rows"]])
        used = np.concatenate([fold["fitted"], fold["rows"]])
        assert set(data.splits[used]) == {"train", "validation"}
        judged.append(fold["rows"])
    assert (
        sorted(np.concatenate(judged))
        == np.flatnonzero((data.splits == "train") | (data.splits == "validation")).tolist()
    )
    assert len(data.groups) > len(set(data.groups))  # there are copies, and test pictures
    assert (data.splits == "test").any()


def test_an_interrupted_one_goes_on_and_ends_as_if_it_had_not_been(
    data: Prepared, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    built = []

    def interrupted_in_the_second(spec: InputSpec, classes: int) -> keras.Model:
        built.append(spec)
        if len(built) == 2:
            raise KeyboardInterrupt
        return means(spec, classes)

    with NETWORKS.added("means", interrupted_in_the_second):
        with pytest.raises(RunError, match="stopped in fold 2 of 3; finished folds are kept"):
            crossval(RECIPE, data.path, tmp_path / "x", folds=FOLDS, progress=False)
        again = crossval(RECIPE, data.path, tmp_path / "x", folds=FOLDS, progress=False)
    assert len(built) == 2 + 2  # the first fold was not trained again
    assert again == done[1]


def test_the_command_prints_the_table_and_a_picture_and_trains_nothing_twice(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["crossval", str(prepared), "--folds", "2", "--seed", "5", "--out", str(out)]
    text = CliRunner().invoke(
        main, [*words, "--model", "quick", "--epochs", "1", "--batch-size", "16"]
    )
    assert text.exit_code == 0, text.output
    summary = strict.loads((out / "crossval.json").read_bytes())
    assert text.stdout.splitlines()[:-1] == list(table_lines(summary))
    assert summary["recipe"] == Recipe("quick", epochs=1, batch_size=16, seed=5).to_dict()
    (tmp_path / "recipe.json").write_text(
        strict.dumps(summary["recipe"] | {"epochs": 9, "seed": 1})
    )
    with NETWORKS.added("quick", lambda spec, classes: pytest.fail("trained again")):
        again = CliRunner().invoke(
            main,
            [*words, "--recipe", str(tmp_path / "recipe.json"), "--epochs", "1", "--json"],
            catch_exceptions=False,
        )
    assert strict.loads(again.stdout) == summary
    assert cv2.imread(str(out / "crossval.png")).std() > 5


def test_a_recipe_that_leans_on_a_run_is_refused_since_that_run_has_seen_every_fold(
    prepared: Path, tmp_path: Path
) -> None:
    for leaning in (replace(RECIPE, teachers=("runs/t",)), replace(RECIPE, init="runs/t")):
        with pytest.raises(InvalidInput, match="runs/t: it has seen pictures of every fold"):
            crossval(leaning, prepared, tmp_path / "x", folds=2, progress=False)


def test_a_loss_that_is_no_number_names_the_fold(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no number in fold 1 of 2; .* lower learning_rate"):
        crossval(
            replace(RECIPE, learning_rate=1e30, weight_decay=0.05),
            prepared,
            tmp_path / "x",
            folds=2,
            progress=False,
        )


def test_a_fold_without_a_class_counts_for_nothing() -> None:
    assert mean_and_sd([0.5, None, 0.7]) == {
        "mean": pytest.approx(0.6),
        "sd": pytest.approx(0.1 * 2**0.5),
    }
    assert mean_and_sd([None, 0.7]) == {"mean": 0.7, "sd": None}
    assert mean_and_sd([None, None]) == {"mean": None, "sd": None}
