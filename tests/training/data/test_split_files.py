"""A split is kept in a file, known pictures stay in their part, and FER-2013's is the shipped
models'.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo.contract.answers import decode_ids, picture_ids
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC, parse_size
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import DataError, InvalidInput, MissingFile, SpecMismatch
from edgeemo.models import find_model, shipped_models
from tests import support
from training.data.prepare import prepare
from training.data.sources import SOURCES
from training.data.split_files import (
    check_spec,
    official_fer2013,
    picture_id,
    read_known_split,
    write_split,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures in FER-2013's layout."""
    return support.write_drawn_archive(tmp_path_factory.mktemp("few") / "a.zip", train=8, test=2)


@pytest.fixture(scope="module")
def first(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """They as a prepared folder of the grouped split of seed 5."""
    return prepared_from(archive, tmp_path_factory.mktemp("first") / "out", seed=5)


def prepared_from(archive: Path, out: Path, **options: Any) -> Prepared:
    prepare([(SOURCES["fer2013"], archive)], out, progress=False, **options)
    return load_prepared(out)


def test_shipped_split_has_the_very_test_pictures_of_each_shipped_bundle() -> None:
    known = official_fer2013("official", 1)
    assert known is not None
    tested = {name for name, part in known.parts.items() if part == "test"}
    for name in shipped_models():
        report = read_bundle(find_model(name)).report()
        assert set(decode_ids(report["pictures"]["ids"], report["n"], name)) == tested


def test_shipped_split_has_two_ways_of_seed_1_and_none_of_others() -> None:
    grouped, official = official_fer2013("grouped", 1), official_fer2013("official", 1)
    assert grouped is not None
    assert official is not None
    assert set(grouped.parts) == set(official.parts)
    assert set(grouped.parts.values()) == {"train", "validation", "test"}
    assert official_fer2013("grouped", 2) is None
    assert official_fer2013("given", 1) is None


def test_the_same_split_comes_from_a_file_whatever_the_seed_and_the_input(
    archive: Path, first: Prepared, tmp_path: Path
) -> None:
    again = prepared_from(
        archive, tmp_path / "a", seed=9, split_from=first.path / "split.json",
        spec=parse_size("64x32-rgb"),
    )  # fmt: skip
    assert again.splits.tolist() == first.splits.tolist()
    assert again.dataset["split_from"] == {
        "origin": "split.json", "known": 70, "with_their_copies": 0, "by_hash": 0, "apart": 0,
    }  # fmt: skip
    other = prepared_from(archive, tmp_path / "b", seed=9)
    assert other.splits.tolist() != first.splits.tolist()


def test_pictures_that_the_file_does_not_know_go_by_hash(
    archive: Path, first: Prepared, tmp_path: Path
) -> None:
    value = json.loads((first.path / "split.json").read_text())
    ids = picture_ids(first.images)
    gone = set(ids[20:40])
    kept = [name for name in sorted(ids) if name not in gone]
    digits = dict(zip(sorted(ids), value["parts"]["grouped"], strict=True))
    value |= {"ids": "".join(kept), "parts": {"any": "".join(digits[name] for name in kept)}}
    (tmp_path / "some.json").write_text(json.dumps(value))
    again = prepared_from(archive, tmp_path / "a", seed=5, split_from=tmp_path / "some.json")
    assert again.dataset["split_from"]["known"] == 50
    assert again.dataset["split_from"]["by_hash"] == 20
    # The seed that the file was made with puts them where they were.
    assert again.splits.tolist() == first.splits.tolist()


def test_a_bundle_gives_its_test_pictures_and_no_other_is_tested(
    tiny_bundle: Path, prepared: Path, drawn_archive: Path, tmp_path: Path
) -> None:
    known = read_known_split(tiny_bundle, "grouped")
    assert set(known.parts.values()) == {"test"}
    data = load_prepared(prepared, DEFAULT_SPEC)
    assert set(known.parts) == set(picture_ids(data.images[data.indices("test")]))
    check_spec(known, DEFAULT_SPEC)
    with pytest.raises(SpecMismatch, match="at 48x48-grey, received --input 64x64-rgb; prepare"):
        check_spec(known, parse_size("64x64-rgb"))
    again = prepared_from(drawn_archive, tmp_path / "a", split_from=tiny_bundle)
    assert Counter(again.splits.tolist())["test"] == len(known.parts)
    assert set(picture_ids(again.images[again.indices("test")])) == set(known.parts)


def test_equal_pixels_are_listed_once_in_the_part_furthest_from_training(tmp_path: Path) -> None:
    ids = ["0" * 12, "0" * 12, "1" * 12, "1" * 12, "2" * 12]
    parts = np.array(["excluded", "test", "train", "validation", "train"])
    write_split(tmp_path / "s.json", ids, {"x": parts}, 1)
    assert read_known_split(tmp_path / "s.json", "grouped").parts == {
        "0" * 12: "test", "1" * 12: "validation", "2" * 12: "train",
    }  # fmt: skip


def test_id_is_that_of_the_pixels_at_48x48_grey() -> None:
    rng = np.random.default_rng(0)
    picture = support.drawn_picture(0, rng)
    assert picture_id(picture) == picture_ids(picture[np.newaxis, ..., np.newaxis])[0]
    assert picture_id(picture) != picture_id(picture[:, ::-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v.pop("ids"), "'ids'"),
        (lambda v: v.update(format=2), "no object of format 1"),
        (lambda v: v.update(ids="xyz"), "expected 0 ids of 12 hex digits"),
        (lambda v: v.update(parts={}), "parts no object"),
        (lambda v: v.update(parts={"a": "9" * 70}), "expected 70 characters of 0123"),
        (lambda v: v.update(parts={"a": "0" * 70, "b": "0" * 70}), "parts of a, b, none of"),
    ],
)
def test_a_file_that_is_no_split_is_refused_in_words(
    change: Callable[[dict[str, Any]], object], reason: str, first: Prepared, tmp_path: Path
) -> None:
    value = json.loads((first.path / "split.json").read_text())
    change(value)
    (tmp_path / "s.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=f"not a split file \\(.*{reason}.*split.json of a prepare"):
        read_known_split(tmp_path / "s.json", "grouped")


def test_what_is_missing_or_fits_no_picture_is_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"gone: no such file.*expected a split file"):
        read_known_split(tmp_path / "gone", "grouped")
    with pytest.raises(InvalidInput, match="--split-from or --split given, received both"):
        prepared_from(archive, tmp_path / "a", split="given", split_from=tmp_path / "gone")
    write_split(tmp_path / "s.json", ["0" * 12], {"x": np.array(["test"])}, 1)
    with pytest.raises(DataError, match="none of its pictures is among the sources"):
        prepared_from(archive, tmp_path / "a", split_from=tmp_path / "s.json")


def test_given_split_keeps_folders_and_cuts_validation_from_train(
    archive: Path, tmp_path: Path
) -> None:
    data = prepared_from(archive, tmp_path / "a", split="given")
    of_folder = np.array([row["path"].split("/")[0] for row in data.rows])
    assert (data.splits[of_folder == "test"] == "test").all()
    assert set(data.splits[of_folder == "train"].tolist()) == {"train", "validation"}
    for label in range(len(LABELS)):
        assert (data.splits[data.labels == label] == "validation").any()
    assert data.dataset["given"] == {
        "kept": 70 - int((data.splits == "validation").sum()),
        "cut_from_train": int((data.splits == "validation").sum()),
        "without_a_part": 0,
        "copies_left_out": 0,
    }
