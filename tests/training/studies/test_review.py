"""Label review on drawn pictures: planted wrong labels are found, by networks that never saw them
or their copies.
"""

import base64
import csv
import html.parser
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.contract.run import RunConfig, write_run_config
from edgeemo.data.ferplus import votes_to_labels
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import DataError, RunError, StorageError
from tests import support
from tests.networks import SEED, means
from training.__main__ import main
from training.data.prepare import prepare
from training.data.reviewed import read_reviewed
from training.data.sources import SOURCES
from training.fit.recipe import Augmentation, Recipe
from training.networks import NETWORKS
from training.studies.folds import fold_numbers, out_of_fold
from training.studies.ranking import rank
from training.studies.review import contradicted, ferplus_check, review
from training.studies.review_files import COLUMNS, write_csv, write_page

pytestmark = pytest.mark.rounding

PER_CLASS, FOLDS = 14, 3
STILL = Augmentation(0.0, 0.0, 0.0, 0.0, 0.05, 0.05, 0.0, 4, 0.0)
RECIPE = Recipe(
    "means",
    epochs=15,
    batch_size=16,
    learning_rate=0.3,
    label_smoothing=0.0,
    mixup=0.0,
    weight_decay=0.0,
    augmentation=STILL,
    seed=SEED,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str]]:
    """A zip with planted wrong labels, its FER+ votes, and the true label by path of each planted
    picture.

    Of each class one picture lies in a wrong folder; three of these have a copy there. The votes
    are the truth's, but for two rightly labelled pictures whose votes are for contempt.
    """
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(3)
    entries: dict[str, bytes] = {}
    planted: dict[str, str] = {}
    votes: dict[str, dict[str, int]] = {}
    for label, name in enumerate(LABELS):
        for i in range(PER_CLASS):
            picture = support.drawn_picture(label, rng)
            wrong = LABELS[(label + 3) % 7]
            path = support.drawn_path("train" if i < PER_CLASS - 4 else "test", label, i)
            if i == 0:
                path = path.replace(f"/{name}/", f"/{wrong}/")
                planted[path] = name
            entries[path] = support.encoded(picture)
            column = FERPLUS_COLUMNS[votes_to_labels(LABELS)[:, label].argmax()]
            votes[Path(path).name] = (
                {"contempt": 9} if i == 1 and label < 2 else {column: 8, "unknown": 1}
            )
            if i == 0 and label < 3:
                copy = support.drawn_path("train", label, 900).replace(f"/{name}/", f"/{wrong}/")
                entries[copy] = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])[
                    1
                ].tobytes()
                planted[copy] = name
    (folder / "planted.zip").write_bytes(support.zip_bytes(entries))
    with (folder / "votes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "usage", *FERPLUS_COLUMNS])
        writer.writerows(
            [name, "Training", *(v.get(c, 0) for c in FERPLUS_COLUMNS)] for name, v in votes.items()
        )
    return folder / "planted.zip", folder / "votes.csv", planted


def prepared_from(
    sources: tuple[Path, Path, dict[str, str]], out: Path, **options: Any
) -> Prepared:
    prepare([(SOURCES["fer2013"], sources[0])], out, ferplus=sources[1], progress=False, **options)
    return load_prepared(out, DEFAULT_SPEC)


@pytest.fixture(scope="module")
def data(
    sources: tuple[Path, Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Prepared:
    return prepared_from(sources, tmp_path_factory.mktemp("prepared") / "planted")


@pytest.fixture(scope="module")
def run(data: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What review reads of a run: its config."""
    out = tmp_path_factory.mktemp("run")
    write_run_config(out, RunConfig(RECIPE.to_dict(), LABELS, DEFAULT_SPEC, data.split_hash))
    return out


@pytest.fixture(scope="module")
def reviewed(
    data: Prepared, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The review of the planted data and its summary. Read only."""
    out = tmp_path_factory.mktemp("review") / "planted"
    return out, review(data.path, run, out, folds=FOLDS, epochs=RECIPE.epochs, progress=False)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- what is found


def test_planted_wrong_labels_rank_first_each_once_with_the_truth_as_suggestion(
    data: Prepared,
    sources: tuple[Path, Path, dict[str, str]],
    reviewed: tuple[Path, dict[str, Any]],
) -> None:
    planted = sources[2]
    first = rows_of(reviewed[0] / "review.csv")[:7]
    assert {row["path"] for row in first} <= set(planted)
    assert len({row["group"] for row in first}) == 7
    assert all(row["suggestion"] == planted[row["path"]] for row in first)
    assert [int(row["rank"]) for row in first] == list(range(1, 8))
    by_path = {row["path"]: row for row in data.rows}
    for row in first:
        assert {
            name: by_path[row["path"]][name] for name in ("source", "sha256", "group", "label")
        } == {name: row[name] for name in ("source", "sha256", "group", "label")}


def test_quality_is_the_probability_that_other_networks_give_the_label(
    data: Prepared, reviewed: tuple[Path, dict[str, Any]]
) -> None:
    out, summary = reviewed
    scores = {}
    for fold in range(FOLDS):
        with np.load(out / "folds" / f"fold_{fold}.npz") as stored:
            raised = np.exp(stored["logits"].astype(np.float64))
            scores |= dict(
                zip(
                    stored["rows"].tolist(), raised / raised.sum(axis=1, keepdims=True), strict=True
                )
            )
    row_of = {row["path"]: i for i, row in enumerate(data.rows)}
    listed = rows_of(out / "review.csv")
    assert len(listed) == summary["suspects"]
    for row in listed:
        given = scores[row_of[row["path"]]]
        assert float(row["quality"]) == pytest.approx(given[LABELS.index(row["label"])], abs=2e-6)
        assert float(row["confidence"]) == pytest.approx(given.max(), abs=2e-6)
        assert row["suggestion"] == LABELS[given.argmax()] != row["label"]
    qualities = [float(row["quality"]) for row in listed]
    assert qualities == sorted(qualities)


def test_of_copies_with_one_label_only_the_least_trusted_is_listed(data: Prepared) -> None:
    rows = np.arange(5)
    few = replace(
        data,
        labels=np.array([0, 0, 1, 0, 2]),
        groups=np.array([7, 7, 7, 8, 9]),
        splits=np.full(5, "train"),
    )
    logits = np.zeros((5, 7), np.float32)
    logits[np.arange(5), few.labels] = [1.0, -1.0, 0.5, 0.0, -2.0]
    ranking = rank(few, rows, logits)
    assert ranking.rows.tolist() == [4, 1, 3, 2]  # row 0 is a copy of row 1
    e = np.exp(np.float64(-2))
    assert ranking.quality[0] == pytest.approx(e / (e + 6))
    assert (ranking.suggestions[0], ranking.confidence[0]) == (0, pytest.approx(1 / (e + 6)))


# --- no network judges what it was fitted to


def test_no_network_was_fitted_to_a_copy_of_what_it_judged(
    data: Prepared, reviewed: tuple[Path, dict[str, Any]]
) -> None:
    judged: list[int] = []
    for fold in range(FOLDS):
        with np.load(reviewed[0] / "folds" / f"fold_{fold}.npz") as stored:
            assert not set(data.groups[stored["fitted"]]) & set(data.groups[stored["rows"]])
            assert (
                sorted([*stored["fitted"], *stored["rows"]])
                == np.flatnonzero(data.splits != "excluded").tolist()
            )
            judged += stored["rows"].tolist()
    assert sorted(judged) == np.flatnonzero(data.splits != "excluded").tolist()
    assert np.bincount(data.groups).max() == 2  # there are copies


def test_a_label_that_only_copies_tell_is_not_known(data: Prepared, tmp_path: Path) -> None:
    # Six white copies are called disgust, and nothing else is white: who fitted one of them knows
    # the label of the others.
    white = np.flatnonzero(data.labels == LABELS.index("happy"))[:6]
    images, labels, groups = np.array(data.images), data.labels.copy(), data.groups.copy()
    images[white], labels[white], groups[white] = 255, LABELS.index("disgust"), groups.max() + 1
    known = {}
    for name, kept_apart in (("apart", groups), ("together", np.arange(len(groups)))):
        changed = replace(data, images=images, labels=labels, groups=kept_apart)
        rows, logits = out_of_fold(RECIPE, changed, 2, tmp_path / name, progress=False)
        known[name] = (logits.argmax(axis=1) == labels[rows])[np.isin(rows, white)]
    assert known["together"].all()
    assert not known["apart"].any()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), folds=st.integers(2, 6), copies=st.integers(1, 4))
def test_folds_keep_groups_whole_and_spread_classes(seed: int, folds: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, copies + 1, 7 * 12)
    groups = np.repeat(rng.permutation(len(sizes)), sizes)
    labels = np.repeat(np.arange(len(sizes)) % 7, sizes)
    order = rng.permutation(len(groups))
    groups, labels = groups[order], labels[order]
    numbers = fold_numbers(labels, groups, folds, seed, LABELS)
    assert set(numbers) == set(range(folds))
    assert all(len(set(numbers[groups == group])) == 1 for group in range(len(sizes)))
    assert np.array_equal(numbers, fold_numbers(labels, groups, folds, seed, LABELS))
    if copies == 1:
        counts = np.array(
            [np.bincount(labels[numbers == fold], minlength=7) for fold in range(folds)]
        )
        assert (np.ptp(counts, axis=0) <= 2).all()


def test_a_class_of_fewer_groups_than_folds_is_refused() -> None:
    labels, groups = np.array([0] * 6 + [3] * 6), np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7])
    with pytest.raises(DataError, match="at least 3 groups .* found 2 of fear; use fewer --folds"):
        fold_numbers(labels, groups, 3, 1, LABELS)


def test_excluded_pictures_are_neither_fitted_nor_judged(data: Prepared, tmp_path: Path) -> None:
    splits = data.splits.astype("U10")
    splits[::10] = "excluded"
    recipe = replace(RECIPE, epochs=1)
    rows, logits = out_of_fold(recipe, replace(data, splits=splits), 2, tmp_path, progress=False)
    assert rows.tolist() == [i for i in range(len(splits)) if i % 10]
    assert logits.shape == (len(rows), 7)
    with np.load(tmp_path / "fold_0.npz") as stored:
        assert (stored["fitted"] % 10 != 0).all()


# --- finished folds are kept


def folder_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_second_call_trains_nothing_and_says_the_same(
    data: Prepared, run: Path, reviewed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(reviewed[0], tmp_path / "again"))
    before, texts = (
        folder_times(out / "folds"),
        {name: (out / name).read_text() for name in ("review.csv", "review.html")},
    )
    # A network that cannot be built: whoever trains, fails.
    with NETWORKS.added("means", lambda spec, classes: pytest.fail("trained again")):
        summary = review(data.path, run, out, folds=FOLDS, epochs=RECIPE.epochs, progress=False)
    assert summary == reviewed[1]
    assert folder_times(out / "folds") == before
    assert (out / "review.csv").read_text() == texts["review.csv"]
    assert (out / "review.html").read_text() == texts["review.html"].replace(
        str(reviewed[0]), str(out)
    )


def test_folds_of_other_data_recipe_or_seed_and_damaged_ones_are_fitted_again(
    data: Prepared, tmp_path: Path
) -> None:
    quick = replace(RECIPE, epochs=1)
    _, first = out_of_fold(quick, data, 2, tmp_path, progress=False)
    os.utime(tmp_path / "fold_1.npz", ns=(1, 1))

    def refitted(recipe: Recipe, used: Prepared, folds: int = 2) -> bool:
        copy = Path(shutil.copytree(tmp_path, tmp_path.with_name("copy"), dirs_exist_ok=True))
        out_of_fold(recipe, used, folds, copy, progress=False)
        done = (copy / "fold_1.npz").stat().st_mtime_ns != 1
        shutil.rmtree(copy)
        return done

    assert not refitted(quick, data)
    assert refitted(replace(quick, learning_rate=0.2), data)
    assert refitted(replace(quick, seed=SEED + 1), data)
    assert refitted(quick, data, folds=3)
    assert refitted(quick, replace(data, dataset=data.dataset | {"index_sha256": "0" * 64}))
    (tmp_path / "fold_1.npz").write_bytes((tmp_path / "fold_1.npz").read_bytes()[:300])
    _, again = out_of_fold(quick, data, 2, tmp_path, progress=False)
    assert np.allclose(again, first, atol=1e-5)


def test_an_interrupt_keeps_the_finished_folds(data: Prepared, tmp_path: Path) -> None:
    built = []

    def interrupted_in_the_second(spec: InputSpec, classes: int) -> keras.Model:
        built.append(spec)
        if len(built) == 2:
            raise KeyboardInterrupt
        return means(spec, classes)

    with NETWORKS.added("means", interrupted_in_the_second):
        with pytest.raises(
            RunError,
            match="stopped in fold 2 of 3; finished folds are kept in .*: run the same command",
        ):
            out_of_fold(replace(RECIPE, epochs=1), data, 3, tmp_path, progress=False)
        assert [path.name for path in tmp_path.iterdir()] == ["fold_0.npz"]
        built.append(DEFAULT_SPEC)
        out_of_fold(replace(RECIPE, epochs=1), data, 3, tmp_path, progress=False)
    assert len(built) == 3 + 2  # two folds were left


# --- FER+ as the judge


def test_votes_contradict_a_label_that_another_column_outvotes() -> None:
    columns = {name: i for i, name in enumerate(FERPLUS_COLUMNS)}

    def votes(**given: int) -> list[int]:
        return [given.get(name, 0) for name in columns]

    table = np.array(
        [
            votes(anger=6, sadness=4),
            votes(anger=4, sadness=6),
            votes(anger=5, sadness=5),  # a tie with the label in it
            votes(fear=5, sadness=5),
            votes(anger=3, contempt=4, sadness=3),
            votes(anger=4, unknown=5),
            votes(anger=4, NF=5),
            votes(anger=4, NF=4),
        ]
    )
    angry = np.zeros(len(table), np.int64)
    assert contradicted(table, angry, LABELS).tolist() == [
        False,
        True,
        False,
        True,
        True,
        True,
        True,
        False,
    ]


def test_precision_and_base_rate_are_those_of_the_planted_labels(
    data: Prepared, run: Path, reviewed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, summary = reviewed
    check = summary["ferplus"]
    # Copies with the same label count once: 7 planted and 2 with votes for contempt, of 7 x 14
    # pictures.
    assert check["pictures_with_votes"] == 7 * PER_CLASS
    assert check["base_rate"] == pytest.approx((7 + 2) / (7 * PER_CLASS))
    assert check["suspects_with_votes"] == summary["suspects"]
    assert check["contradicted"] >= 7
    assert check["precision"] == check["contradicted"] / summary["suspects"]
    assert check["lift"] == pytest.approx(check["precision"] / check["base_rate"])
    shutil.copytree(out / "folds", tmp_path / "first" / "folds")
    first = review(
        data.path, run, tmp_path / "first", folds=FOLDS, epochs=RECIPE.epochs, top=7, progress=False
    )
    check = first["ferplus"]
    assert (first["suspects"], check["contradicted"], check["suggestion_agrees"]) == (7, 7, 7)
    # Wilson's lower bound for 7 of 7 is n / (n + z^2).
    assert check["interval"] == pytest.approx([7 / (7 + 1.959964**2), 1.0])
    assert strict.loads((out / "review.json").read_text()) == summary


def test_without_votes_nothing_is_claimed(data: Prepared) -> None:
    ranking = rank(data, np.arange(10), np.eye(10, 7, dtype=np.float32))
    assert ferplus_check(replace(data, votes=None), ranking.rows, ranking) is None
    unknown = replace(data, votes=np.full((len(data.labels), 10), -1))
    assert ferplus_check(unknown, ranking.rows, ranking) is None


# --- what a person gets, and gives back


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[np.ndarray[Any, Any]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        source = values.get("src") or values.get("href") or ""
        if tag == "img" and source.startswith("data:image/png;base64,"):
            data = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
            self.pictures.append(np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)))
        elif source:
            self.links.append(source)


def test_the_page_holds_every_suspect_s_picture_and_points_nowhere(
    data: Prepared, reviewed: tuple[Path, dict[str, Any]]
) -> None:
    page = _Page()
    page.feed((reviewed[0] / "review.html").read_text())
    assert page.links == []
    by_path = {row["path"]: i for i, row in enumerate(data.rows)}
    listed = rows_of(reviewed[0] / "review.csv")
    assert len(page.pictures) == len(listed)
    for picture, row in zip(page.pictures, listed, strict=True):
        assert np.array_equal(picture, data.images[by_path[row["path"]], :, :, 0])


def test_each_class_has_a_sheet_that_begins_with_its_least_trusted_picture(
    data: Prepared, reviewed: tuple[Path, dict[str, Any]]
) -> None:
    by_path = {row["path"]: i for i, row in enumerate(data.rows)}
    listed = rows_of(reviewed[0] / "review.csv")
    assert {path.name for path in reviewed[0].iterdir()} == {
        "review.csv",
        "review.html",
        "review.json",
        "folds",
        *(f"sheet_{label}.png" for label in LABELS),
    }
    for label in LABELS:
        sheet = cv2.imread(str(reviewed[0] / f"sheet_{label}.png"), cv2.IMREAD_GRAYSCALE)
        first = next(row for row in listed if row["label"] == label)
        assert np.array_equal(sheet[:96:2, :96:2], data.images[by_path[first["path"]], :, :, 0])


def test_taking_the_suggestions_mends_every_planted_label(
    sources: tuple[Path, Path, dict[str, str]],
    reviewed: tuple[Path, dict[str, Any]],
    tmp_path: Path,
) -> None:
    listed = rows_of(reviewed[0] / "review.csv")
    assert tuple(listed[0]) == COLUMNS
    assert {row["decision"] for row in listed} == {""}
    assert read_reviewed(reviewed[0] / "review.csv", LABELS) == {}
    for row in listed[:7]:
        row["decision"] = row["suggestion"]
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(listed)
    assert read_reviewed(tmp_path / "mine.csv", LABELS) == {
        row["sha256"]: row["suggestion"] for row in listed[:7]
    }
    mended = prepared_from(sources, tmp_path / "mended", reviewed=tmp_path / "mine.csv")
    for row in mended.rows:
        assert row["label"] == sources[2].get(row["path"], row["given_label"])


def test_decisions_are_never_overwritten(
    data: Prepared, run: Path, reviewed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(reviewed[0], tmp_path / "mine"))
    text = (out / "review.csv").read_text().replace(",\n", ",drop\n", 1)
    (out / "review.csv").write_text(text)
    with pytest.raises(StorageError, match="holds 1 decision and would be overwritten"):
        review(data.path, run, out, folds=FOLDS, progress=False)
    assert (out / "review.csv").read_text() == text


def test_a_hostile_file_name_is_neither_a_formula_nor_markup(
    data: Prepared, run: Path, reviewed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    name = '=HYPERLINK("http://x")"><script>alert(1)</script>.png'
    rows = [row | {"path": name} for row in data.rows]
    hostile = replace(data, rows=rows)
    ranking = rank(hostile, np.arange(3), np.zeros((3, 7), np.float32))
    write_csv(tmp_path / "review.csv", hostile, ranking)
    assert {row["path"] for row in rows_of(tmp_path / "review.csv")} == {f"./{name}"}
    write_page(tmp_path / "review.html", hostile, ranking, reviewed[1])
    page = (tmp_path / "review.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2 * len(ranking.rows)


# --- the command


def test_the_command_prints_the_check_and_one_json_object(
    data: Prepared, run: Path, reviewed: tuple[Path, dict[str, Any]]
) -> None:
    shutil.copytree(reviewed[0], run / "review")
    arguments = [
        "review",
        str(data.path),
        "--run",
        str(run),
        "--folds",
        str(FOLDS),
        "--epochs",
        str(RECIPE.epochs),
    ]
    spoken = CliRunner().invoke(main, arguments, catch_exceptions=False)
    check = reviewed[1]["ferplus"]
    assert (
        f"FER+ votes contradict {check['contradicted']} of {check['suspects_with_votes']} suspects"
        in spoken.stdout
    )
    assert f"wrote {run / 'review' / 'review.csv'}" in spoken.stdout
    assert (
        f"3 networks of means, {RECIPE.epochs} of the run's {RECIPE.epochs} epochs each, seed 1"
        in spoken.stderr
    )
    printed = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(printed.stdout) == reviewed[1] | {"data": str(data.path), "run": str(run)}
    assert CliRunner().invoke(main, [*arguments, "--folds", "1"]).exit_code == 2
