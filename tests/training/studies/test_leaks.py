"""Leaks of a random split against brute force on planted copies, and the two protocols'
promises.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.folders import OURS
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError
from tests import support
from training.__main__ import main
from training.studies.leak_report import leaks_figure, markdown_lines, write_leaks
from training.studies.leaks import (
    DRAWS,
    count_leaks,
    grouped_names,
    leaked,
    leaked_pairs,
    official_test,
    random_split,
)

pytestmark = pytest.mark.rounding

ROWS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.booleans(),
        st.sampled_from("ab"),
        st.sampled_from(["train", "validation", "test"]),
    ),
    min_size=1,
    max_size=30,
)


def planted(copies: int = 1, originals: int = 70, split: str = "official") -> Prepared:
    """`originals` distinct pictures in fer2013, ten a class, the first 14 in its test part; of
    each, `copies` in b.

    Every other copy has equal pixels, the rest have their brightness changed.
    """
    rng = np.random.default_rng(1)
    labels = np.arange(originals) % len(LABELS)
    faces = np.stack([support.drawn_picture(int(label), rng) for label in labels])[..., np.newaxis]
    brighter = (faces // 2 + 64).astype(np.uint8)
    again = [np.where(np.arange(originals)[:, None, None, None] % 2 == 0, faces, brighter)] * copies
    rows = [
        {"source": "fer2013", "path": f"{'test' if i < 14 else 'train'}/x/{i}.png", "reason": ""}
        for i in range(originals)
    ] + [
        {"source": "b", "path": f"test/x/{i}.png", "reason": ""} for i in range(originals * copies)
    ]
    groups = np.tile(np.arange(originals), copies + 1)
    labels = np.tile(labels, copies + 1)
    splits = np.full(len(labels), "train")
    dataset = {"split": split, "images_sha256": "0" * 64}
    return Prepared(
        Path("drawn"),
        np.concatenate([faces, *again]),
        labels,
        labels,
        splits,
        groups,
        None,
        rows,
        dataset,
        LABELS,
        DEFAULT_SPEC,
    )


@given(ROWS)
def test_leaks_are_those_that_a_plain_loop_finds(rows: list[tuple[int, bool, str, str]]) -> None:
    groups = np.array([row[0] for row in rows])
    exact = np.array([2 * row[0] + row[1] for row in rows])  # two kinds of pixels in each group
    sources, names = np.array([row[2] for row in rows]), np.array([row[3] for row in rows])
    found = leaked(groups, exact, sources, names, known=["a", "b", "c"])
    test = [i for i in range(len(rows)) if names[i] == "test"]
    train = [i for i in range(len(rows)) if names[i] == "train"]
    copied = {i for i in test if any(groups[i] == groups[j] for j in train)}
    assert found["test"] == len(test)
    assert found["with_copy"] == len(copied)
    assert found["equal_pixels"] == sum(any(exact[i] == exact[j] for j in train) for i in test)
    for source in "abc":
        mine = [i for i in test if sources[i] == source]
        assert found["by_source"][source] == {
            "test": len(mine),
            "with_copy": sum(i in copied for i in mine),
        }


@given(st.integers(0, 500), st.integers(0, 9))
def test_random_split_is_60_20_20(count: int, seed: int) -> None:
    sizes = Counter(random_split(count, np.random.default_rng(seed)).tolist())
    assert sizes["train"] == round(0.6 * count)
    assert sizes["test"] == round(0.2 * count)
    assert sum(sizes.values()) == count


def test_every_planted_copy_is_found_and_none_in_the_grouped_split() -> None:
    # A test picture's only copy is in train with probability 84/139, whatever the picture; half of
    # the copies have equal pixels.
    data = planted(copies=1, originals=700)
    found = count_leaks(data, seed=3)
    random = found["random"]
    assert random["test"] == DRAWS * 280
    expected, n = 840 / 1399, DRAWS * 280
    assert abs(random["with_copy"] / n - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
    assert abs(random["equal_pixels"] / random["with_copy"] - 0.5) < 5 * np.sqrt(
        0.25 / random["with_copy"]
    )
    assert found["grouped"]["with_copy"] == found["grouped"]["equal_pixels"] == 0
    # The held-out part with its copies is the test part, and nothing else.
    assert found["grouped"]["test"] == 28


def test_pictures_without_copies_leak_nothing_until_they_are_repeated_before_the_split() -> None:
    found = count_leaks(planted(copies=0), seed=1)
    assert found["random"]["with_copy"] == 0
    # 12,006 from ten pictures of a class: each test picture has hundreds of siblings in train, and
    # but one of them is unchanged.
    assert (
        found["balanced"]["with_copy"]
        == found["balanced"]["test"]
        == DRAWS * round(0.2 * 7 * 12006)
    )
    assert found["balanced"]["equal_pixels"] == 0


def test_balancing_is_not_counted_where_a_class_is_missing() -> None:
    data = planted()
    labels = np.where(data.given_labels == 3, 4, data.given_labels)
    data = replace(data, given_labels=labels)
    assert count_leaks(data, seed=1)["balanced"] is None


def test_counts_come_from_the_seed() -> None:
    data = planted(copies=2)
    assert count_leaks(data, seed=1) == count_leaks(data, seed=1)
    assert count_leaks(data, seed=1)["random"] != count_leaks(data, seed=2)["random"]


def test_a_folder_with_a_grouped_split_is_judged_by_its_own() -> None:
    data = planted(split="grouped")
    splits = np.where(
        np.arange(140) < 70, "train", "test"
    )  # as bad as can be: each test picture's copy is in train
    found = count_leaks(replace(data, splits=splits), seed=1)
    assert found["grouped"]["with_copy"] == found["grouped"]["test"] == 70
    assert found["grouped"]["equal_pixels"] == 35


def test_official_test_part_is_that_of_fer2013_alone() -> None:
    np.testing.assert_array_equal(np.flatnonzero(official_test(planted())), np.arange(14))


def test_official_test_part_and_its_copies_are_test_in_the_grouped_split_that_is_made() -> None:
    data = planted()
    assert (grouped_names(data, 1)[np.isin(data.groups, np.arange(14))] == "test").all()


def test_pairs_are_a_test_picture_and_its_copy_in_train() -> None:
    data = planted(copies=1)
    names = random_split(140, np.random.default_rng([5, 0]))
    pairs = leaked_pairs(data, 5, 9)
    assert pairs.shape == (9, 2)
    for test, train in pairs:
        assert (names[test], names[train]) == ("test", "train")
        assert data.groups[test] == data.groups[train]
    assert leaked_pairs(planted(copies=0), 5, 9).shape == (0, 2)


def test_table_has_a_column_for_each_split_and_the_counts_as_shares(tmp_path: Path) -> None:
    report = write_leaks(tmp_path, planted(copies=1), 1, None)
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in markdown_lines(report)
    ]
    assert {len(line) for line in lines} == {4}
    random = report["leaks"]["random"]
    shown = f"{random['with_copy'] / random['test']:.1%} ({random['with_copy'] / 5:,.0f} of 28)"
    assert lines[2][0] == "test pictures with a copy in train"
    assert lines[2][1] == shown
    assert lines[2][3].startswith("0.0% (0 of")
    part = random["by_source"]["b"]
    assert (
        next(line for line in lines if line[0] == "of b")[1]
        == f"{part['with_copy'] / part['test']:.1%}"
    )


def test_files_are_whole_and_the_page_escapes_what_it_shows(tmp_path: Path) -> None:
    data = planted(copies=1)
    for row in data.rows[70:]:
        row["source"] = "<b>&"
    report = write_leaks(tmp_path, data, 1, None)
    assert strict.loads((tmp_path / "leaks.json").read_bytes()) == report
    assert (cv2.imread(str(tmp_path / "leaks.png")).std(axis=(0, 1)) > 0).all()
    text = (tmp_path / "leaks.html").read_text()
    assert "of &lt;b&gt;&amp;" in text
    assert "<b>" not in text
    assert "<script" not in text
    assert text.count("data:image/png;base64,") == 2
    assert "http" not in text


def test_command_counts_without_training(prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "leaks"
    arguments = ["leaks", str(prepared), "--no-train", "--out", str(out), "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    report = strict.loads(result.stdout)
    assert report["training"] is None
    assert report["leaks"]["grouped"]["with_copy"] == 0
    assert {path.name for path in out.iterdir()} == {OURS, "leaks.html", "leaks.json", "leaks.png"}


def test_command_trains_both_protocols_on_the_same_number_of_faces(
    prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "leaks"
    arguments = [
        "leaks",
        str(prepared),
        "--per-class",
        "30",
        "--share",
        "1",
        "--epochs",
        "1",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    training = strict.loads((out / "leaks.json").read_bytes())["training"]
    reference, honest = training["reference"], training["honest"]
    assert reference["trained_on"] == honest["trained_on"] == 7 * 18
    assert reference["own_test"]["n"] == 42
    # Twenty faces a class become thirty, so some of the test pictures are copies of training ones,
    # and some are not.
    parts = [reference["with_copy"]["n"], reference["without_copy"]["n"]]
    assert sum(parts) == 42
    assert min(parts) > 0
    hits = sum(
        n * reference[key]["top1"]
        for n, key in zip(parts, ("with_copy", "without_copy"), strict=True)
    )
    assert hits == pytest.approx(42 * reference["own_test"]["top1"])
    assert honest["with_copy"] is None
    assert honest["without_copy"] == honest["own_test"]
    assert reference["common_test"]["n"] == honest["common_test"]["n"] == 56
    assert "top-1 on its own test part" in result.stdout


def faces_of(data: Prepared) -> Any:
    from training.studies.protocols import Faces

    return Faces(data.images, data.given_labels, data.groups, data.class_names)


@pytest.mark.parametrize("seed", range(4))
def test_honest_protocol_trains_on_no_copy_of_a_test_picture_and_leaves_test_as_it_is(
    seed: int,
) -> None:
    from training.studies.protocols import honest_protocol

    data = planted(copies=2)
    train, test = honest_protocol(faces_of(data), 50, seed)
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    assert np.bincount(train.labels).tolist() == [30] * 7
    known = Counter(image.tobytes() for image in data.images)
    assert all(known[image.tobytes()] for image in test.images)
    for group in set(test.groups.tolist()):
        assert (test.groups == group).sum() == 3  # a whole group


@pytest.mark.parametrize("per_class", [4, 20, 70])
def test_reference_protocol_balances_first_and_stores_changed_copies_of_rare_classes(
    per_class: int,
) -> None:
    from training.studies.protocols import reference_protocol

    data = planted(copies=1)  # twenty of each class
    train, test = reference_protocol(faces_of(data), per_class, 1)
    assert (len(train.labels), len(test.labels)) == (round(4.2 * per_class), round(1.4 * per_class))
    originals = {image.tobytes() for image in data.images}
    changed = sum(
        image.tobytes() not in originals for image in np.concatenate([train.images, test.images])
    )
    assert (changed == 0) == (per_class <= 20)
    for image, label, group in zip(train.images, train.labels, train.groups, strict=True):
        assert label == group % 7
        # A changed copy still looks like its original more than like any other class's.
        own = np.corrcoef(image.ravel(), data.images[group].ravel())[0, 1]
        assert own > 0.5


def test_protocols_draw_the_same_from_the_same_seed() -> None:
    from training.studies.protocols import honest_protocol, reference_protocol

    faces = faces_of(planted(copies=1))
    for protocol in (reference_protocol, honest_protocol):
        one, two, other = (protocol(faces, 30, seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one[0].images, two[0].images)
        np.testing.assert_array_equal(one[1].images, two[1].images)
        assert not np.array_equal(one[0].images, other[0].images)


def test_training_on_too_few_pictures_is_refused_and_leaves_no_folder(
    prepared: Path, tmp_path: Path
) -> None:
    arguments = [
        "leaks",
        str(prepared),
        "--per-class",
        "10",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "leaks"),
    ]
    result = CliRunner().invoke(main, arguments)
    assert isinstance(result.exception, DataError)
    assert "--no-train" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_top1_in_the_classes_of_the_rest_is_weighed_by_them() -> None:
    from training.studies.protocols import Faces, _in_the_classes_of

    labels = np.array([0, 0, 1, 1, 0, 1, 1, 1])
    leaked_ = np.array([True, True, True, True, False, False, False, False])
    predicted = np.array(
        [0, 0, 1, 0, 0, 0, 0, 0]
    )  # among the leaked: class 0 all right, class 1 half
    faces = Faces(np.zeros((8, 1, 1, 1), np.uint8), labels, np.arange(8), ("a", "b"))
    assert _in_the_classes_of(faces, predicted, leaked_) == pytest.approx((1 * 1.0 + 3 * 0.5) / 4)
    assert _in_the_classes_of(faces, predicted, ~leaked_) == pytest.approx((2 * 1.0 + 2 * 0.0) / 4)
    assert _in_the_classes_of(faces, predicted, np.ones(8, bool)) is None
    two = faces[np.array([0, 2])]
    assert _in_the_classes_of(two, np.array([0, 1]), np.array([True, False])) is None


def test_picture_shows_the_accuracies_where_networks_were_trained() -> None:
    card = {"n": 100, "top1": 0.8, "interval": [0.7, 0.9], "mean_recall": 0.8}
    report: dict[str, Any] = {"leaks": count_leaks(planted(), 1), "training": None}
    trained = {"own_test": card, "common_test": None}
    alone, both = (
        cv2.imdecode(
            np.frombuffer(leaks_figure(report | {"training": part}), np.uint8), cv2.IMREAD_COLOR
        )
        for part in (None, {"reference": trained, "honest": trained})
    )
    assert both.shape[1] > 1.5 * alone.shape[1]
