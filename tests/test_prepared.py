"""Prepared data is checked before it is used: each damage is refused with the file's name and the way out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.prepared import load_prepared
from edgeemo.errors import DataError, EdgeemoError, MissingFile, SpecMismatch


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "copy"))


def dataset(**fields: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "dataset.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


def flip_a_pixel(folder: Path) -> None:
    data = bytearray((folder / "images.npy").read_bytes())
    data[-1] ^= 1
    (folder / "images.npy").write_bytes(data)


def relabel(folder: Path) -> None:
    file = folder / "index.csv"
    file.write_text(file.read_text().replace(",angry,train", ",happy,train", 1))


def pickled(folder: Path) -> None:
    np.save(folder / "images.npy", np.array([{}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (dataset(input_fingerprint="0" * 16), SpecMismatch, f"0000000000000000, expected {DEFAULT_SPEC.fingerprint()}"),
        (dataset(labels=["happy", "sad"]), DataError, "expected the labels angry"),
        (dataset(images=3), DataError, "promises 3"),
        (dataset(images_sha256="0" * 64), DataError, "have changed since they were prepared"),
        (flip_a_pixel, DataError, "have changed since they were prepared"),
        (relabel, DataError, "have changed since they were prepared"),
        (pickled, DataError, "not a readable NumPy array"),
        (lambda f: np.save(f / "images.npy", np.zeros((2, 48, 48), np.uint8)), DataError, "expected uint8"),
        (lambda f: (f / "images.npy").write_bytes(b""), DataError, "not a readable NumPy array"),
        (lambda f: (f / "images.npy").unlink(), MissingFile, "images.npy"),
        (lambda f: (f / "index.csv").unlink(), MissingFile, "index.csv"),
        (lambda f: (f / "index.csv").write_text("a,b\n"), DataError, "expected the columns"),
        (lambda f: (f / "index.csv").write_bytes(b"\xff\xfe\x00"), DataError, "index.csv"),
        (lambda f: (f / "dataset.json").write_text("{"), DataError, "not the dataset.json"),
        (lambda f: (f / "dataset.json").write_text('{"images": 1, "images": 2}'), DataError, "appears twice"),
        (lambda f: (f / "dataset.json").write_text("[]"), DataError, "not the dataset.json"),
    ],
)
def test_damage_is_refused(copy: Path, damage: Callable[[Path], None], error: type[EdgeemoError], says: str) -> None:
    damage(copy)
    with pytest.raises(error) as caught:
        load_prepared(copy, DEFAULT_SPEC)
    assert says in str(caught.value)
    assert str(copy) in str(caught.value)
    assert "prepare" in str(caught.value) or "make it again" in str(caught.value)


def test_splits_are_named_and_their_rows_are_those_of_the_index(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    for split in ("train", "validation", "test"):
        assert [data.rows[i]["split"] for i in data.indices(split)] == [split] * len(data.indices(split))
    assert sum(len(data.indices(s)) for s in ("train", "validation", "test")) == len(data.images)
    with pytest.raises(DataError, match="expected a split of train, validation, test"):
        data.indices("dev")


def test_folder_that_is_not_prepared_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="python -m training prepare"):
        load_prepared(tmp_path, DEFAULT_SPEC)
