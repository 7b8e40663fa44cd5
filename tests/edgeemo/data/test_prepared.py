"""Prepared data is checked before it is used: each kind of damage has its error, with the file and
the way out.
"""

import csv
import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import (
    DATASET,
    IMAGES,
    INDEX,
    INDEX_COLUMNS,
    SPLITS,
    VOTE_COLUMNS,
    file_sha256,
    is_prepared,
    load_prepared,
    split_hash,
)
from edgeemo.errors import DataError, EdgeemoError, MissingFile, SpecMismatch

Rows = list[dict[str, str]]


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the drawn prepared folder, to be damaged."""
    return Path(shutil.copytree(prepared, tmp_path / "data"))


def change_dataset(folder: Path, **fields: Any) -> None:
    raw = json.loads((folder / DATASET).read_text())
    (folder / DATASET).write_text(json.dumps(raw | fields))


def sign(folder: Path) -> None:
    """Put the true hashes into dataset.json, so that only the deeper checks are left to find a
    fault.
    """
    change_dataset(
        folder, images_sha256=file_sha256(folder / IMAGES), index_sha256=file_sha256(folder / INDEX)
    )


def change_index(
    folder: Path, change: Callable[[Rows], Any], columns: tuple[str, ...] = INDEX_COLUMNS
) -> None:
    with (folder / INDEX).open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with (folder / INDEX).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    sign(folder)


def refusal(
    folder: Path,
    kind: type[EdgeemoError] = DataError,
    spec: InputSpec = DEFAULT_SPEC,
    class_names: tuple[str, ...] | None = None,
) -> str:
    """The message of the refusal: of the very type, one line of decent length, with the folder and
    a way out.
    """
    with pytest.raises(EdgeemoError) as caught:
        load_prepared(folder, spec, class_names)
    message = str(caught.value)
    assert type(caught.value) is kind, caught.value
    assert str(folder) in message
    assert message.isprintable()
    assert len(message) < 600 + len(str(folder))
    assert re.search("prepare the data again|make one with|make it again", message), message
    return message


def test_a_prepared_folder_is_read_as_it_was_written(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    with (prepared / INDEX).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert data.path == prepared
    np.testing.assert_array_equal(data.images, np.load(prepared / IMAGES))
    assert data.images.dtype == np.uint8
    assert data.images.shape == (7 * 28, 48, 48, 1)
    assert data.rows == rows
    assert [LABELS[i] for i in data.labels] == [row["label"] for row in rows]
    assert data.splits.tolist() == [row["split"] for row in rows]
    assert data.groups.tolist() == [int(row["group"]) for row in rows]
    assert data.votes is None
    assert data.fingerprint == DEFAULT_SPEC.fingerprint()
    assert data.dataset == json.loads((prepared / DATASET).read_text())


def test_the_indices_of_the_splits_are_ascending_and_share_all_pictures(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    parts = {split: data.indices(split).tolist() for split in SPLITS}
    for split, part in parts.items():
        assert part == [i for i, row in enumerate(data.rows) if row["split"] == split]
    assert len(parts["test"]) == 7 * 8
    assert sorted(parts["train"] + parts["validation"] + parts["test"]) == list(range(7 * 28))


def test_the_split_hash_is_the_sha256_of_the_sorted_rows(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    lines = sorted((row["sha256"], row["label"], row["split"]) for row in data.rows)
    text = "\n".join(f"{digest},{label},{split}" for digest, label, split in lines)
    assert data.split_hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_split_hash_knows_pictures_labels_and_splits_and_no_order() -> None:
    rows = [("aa", "sad", "train"), ("bb", "happy", "test")]
    same = split_hash(rows)
    assert split_hash(reversed(rows)) == same
    for other in (
        [("ab", "sad", "train"), rows[1]],
        [("aa", "fear", "train"), rows[1]],
        [("aa", "sad", "test"), rows[1]],
        rows[:1],
        rows + rows[:1],
    ):
        assert split_hash(other) != same


def test_the_images_are_read_lazily_and_cannot_be_written_through(folder: Path) -> None:
    before = file_sha256(folder / IMAGES)
    images = load_prepared(folder, DEFAULT_SPEC).images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
    assert file_sha256(folder / IMAGES) == before


def test_a_folder_is_prepared_when_it_holds_a_dataset_json(folder: Path, tmp_path: Path) -> None:
    assert is_prepared(folder)
    assert not is_prepared(tmp_path)
    assert not is_prepared(folder / DATASET)
    assert not is_prepared(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [DATASET, INDEX, IMAGES])
def test_a_missing_file_is_named_with_the_command_that_makes_it(name: str, folder: Path) -> None:
    (folder / name).unlink()
    message = refusal(folder, MissingFile)
    assert f"with {name}" in message
    assert message.endswith(f"make one with: python -m training prepare --out {folder}")


def test_what_is_no_folder_is_no_prepared_folder(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(DATASET, "{}")
    for path in (folder / "nowhere", folder / DATASET, tmp_path, tmp_path / "data.zip"):
        refusal(path, MissingFile)


def test_data_for_another_input_spec_is_a_spec_mismatch_with_both_fingerprints(
    folder: Path,
) -> None:
    other = replace(DEFAULT_SPEC, width=64, channels=3)
    message = refusal(folder, SpecMismatch, other)
    assert f"prepared for 48x48-grey (input spec {DEFAULT_SPEC.fingerprint()})" in message
    assert f"expected 48x64-rgb ({other.fingerprint()})" in message


@pytest.mark.parametrize("fingerprint", ["0" * 16, "", "x\n" * 999])
def test_a_fingerprint_that_is_not_the_specs_own_is_refused(fingerprint: str, folder: Path) -> None:
    change_dataset(folder, input_fingerprint=fingerprint)
    message = refusal(folder)
    assert f"is not its own ({DEFAULT_SPEC.fingerprint()})" in message
    assert fingerprint[:16].split("\n")[0] in message


def test_a_folder_of_before_detectors_owned_their_crops_is_read(folder: Path) -> None:
    crop = {"scale_q10": 1024, "shift_x_q10": 0, "shift_y_q10": 0}
    spec = {
        "height": 48,
        "width": 48,
        "channels": 1,
        "scale": 1 / 127.5,
        "offset": -1.0,
        "preprocess": DEFAULT_SPEC.preprocess,
        "crops": {
            "haar": crop | {"scale_q10": 1045},
            "whole": crop,
            "yunet": crop | {"shift_y_q10": 25},
        },
    }
    change_dataset(folder, input_spec=spec, input_fingerprint="49e450d1a203e409")
    data = load_prepared(folder, DEFAULT_SPEC)
    assert (data.spec, data.fingerprint) == (DEFAULT_SPEC, DEFAULT_SPEC.fingerprint())


def test_a_folder_of_other_labels_is_read_with_them(folder: Path) -> None:
    renamed = ("joy" if label == "happy" else label for label in LABELS)
    names = [*renamed, "contempt"]
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(text.replace(",happy,", ",joy,").replace(",happy,", ",joy,"))
    change_dataset(folder, labels=names)
    sign(folder)
    data = load_prepared(folder)
    assert data.class_names == tuple(names)
    assert {row["label"] for row in data.rows} == set(names) - {"contempt"}
    assert [data.class_names[label] for label in data.labels] == [r["label"] for r in data.rows]
    refusal_of_labels = refusal(folder, class_names=LABELS)
    assert "expected the labels angry, neutral, disgust, fear, happy" in refusal_of_labels


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (LABELS[:6], "expected a label of angry, neutral, disgust, fear, happy, sad, received"),
        (("Angry", *LABELS[1:]), "expected a label of Angry, neutral"),
        ((), "expected 2 to 64 distinct labels"),
        (("a", "a"), "expected 2 to 64 distinct labels"),
        ("angry", "a field has the wrong type"),
        (("a\nb" * 999, *LABELS[1:]), "printable characters"),
    ],
    ids=["six", "capital", "none", "twice", "a word", "hostile"],
)
def test_labels_that_do_not_fit_are_refused(labels: Any, says: str, folder: Path) -> None:
    change_dataset(folder, labels=labels)
    assert says in refusal(folder)


@pytest.mark.parametrize("at", [128, 128 + 48 * 48 * 10 + 7, -1])
def test_one_changed_image_byte_is_found(at: int, folder: Path) -> None:
    data = bytearray((folder / IMAGES).read_bytes())
    data[at] ^= 1
    (folder / IMAGES).write_bytes(data)
    assert "its files have changed since they were prepared (sha256 differs)" in refusal(folder)


def test_one_changed_label_in_the_index_is_found(folder: Path) -> None:
    text = (folder / INDEX).read_text()
    (folder / INDEX).write_text(text.replace(",happy,", ",sad,", 1))
    assert "its files have changed since they were prepared (sha256 differs)" in refusal(folder)


@pytest.mark.parametrize("field", ["images_sha256", "index_sha256"])
def test_another_hash_in_dataset_json_is_found(field: str, folder: Path) -> None:
    change_dataset(folder, **{field: "0" * 64})
    assert "its files have changed since they were prepared (sha256 differs)" in refusal(folder)


def test_images_that_end_early_are_refused(folder: Path) -> None:
    data = (folder / IMAGES).read_bytes()
    for length in (0, 1, 5, 60, 128, 128 + 48 * 48, len(data) - 1):
        (folder / IMAGES).write_bytes(data[:length])
        sign(folder)
        assert f"{folder / IMAGES}: not a readable NumPy array" in refusal(folder)


def test_images_with_bytes_after_their_end_are_refused(folder: Path) -> None:
    with (folder / IMAGES).open("ab") as file:
        file.write(b"x")
    sign(folder)
    assert f"{folder / IMAGES}: not a readable NumPy array (a header with a false size" in refusal(
        folder
    )


def npy_of(array: np.ndarray[Any, Any], *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def npz_of(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=array)
    return buffer.getvalue()


class Bomb:
    """Fails the test when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle from outside was executed",)


@pytest.mark.parametrize(
    "data",
    [
        npy_of(np.array([Bomb()] * 3, dtype=object), pickled=True),
        npz_of(np.zeros((3, 48, 48, 1), np.uint8)),
        npz_of(np.zeros((3, 48, 48, 1), np.uint8))[:200],
        b"PK\x03\x04 not really a zip",
        b"PK\x05\x06" + bytes(18),
        b"\x80\x04N.",
        b"GIF89a",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((((\n",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '''aa\n",
        b"\x93NUMPY\x01\x00\x12\x00{[]: 1, 'descr':2}\n",
        b"\x93NUMPY\x07\x00\x12\x00{[]: 1, 'descr':2}\n",
    ],
    ids=[
        "npy of objects",
        "npz",
        "cut npz",
        "zip",
        "empty zip",
        "pickle",
        "gif",
        "brackets",
        "quotes",
        "hash",
        "v7",
    ],
)
def test_what_is_no_plain_array_is_refused_and_never_unpickled(data: bytes, folder: Path) -> None:
    (folder / IMAGES).write_bytes(data)
    sign(folder)
    assert f"{folder / IMAGES}: not a readable NumPy array" in refusal(folder)


@pytest.mark.parametrize(
    "shape",
    [
        "(3000000000, 48, 48, 1)",
        f"({10**30}, 48, 48, 1)",
        "(2, 48, 48, 1)",
        "(-1, 48, 48, 1)",
        "(True, 48, 48, 1)",
        "()",
        "(48,)",
        "(2304,)",
        "5",
        "'x'",
        "(1.5, 48, 48, 1)",
        "(0, 48, 48, 1)",
    ],
)
def test_a_header_that_lies_about_the_shape_is_refused(shape: str, folder: Path) -> None:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    (folder / IMAGES).write_bytes(start + bytes(48 * 48))
    sign(folder)
    assert f"{folder / IMAGES}: " in refusal(folder)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((196, 48, 48), np.uint8), "uint8 (196, 48, 48)"),
        (np.zeros((196, 48, 48, 3), np.uint8), "uint8 (196, 48, 48, 3)"),
        (np.zeros((196, 64, 64, 1), np.uint8), "uint8 (196, 64, 64, 1)"),
        (np.zeros((196, 48, 48, 1), np.int8), "int8 (196, 48, 48, 1)"),
        (np.zeros((196, 48, 48, 1), np.float32), "float32 (196, 48, 48, 1)"),
        (np.zeros((0, 48, 48, 1), np.uint8), "uint8 (0, 48, 48, 1)"),
        (np.array(3, np.uint8), "uint8 ()"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images_of_another_shape_or_type_are_refused_with_what_came(
    array: Any, received: str, folder: Path
) -> None:
    (folder / IMAGES).write_bytes(npy_of(array))
    sign(folder)
    assert f"{folder / IMAGES}: expected uint8 (N, 48, 48, 1), received {received};" in refusal(
        folder
    )


@pytest.mark.parametrize("change", [-1, 1], ids=["one picture fewer", "one picture more"])
def test_images_and_index_of_different_lengths_are_refused(change: int, folder: Path) -> None:
    images = np.load(folder / IMAGES)
    images = images[:-1] if change < 0 else np.concatenate([images, images[:1]])
    (folder / IMAGES).write_bytes(npy_of(images))
    sign(folder)
    assert (
        f"{IMAGES} holds {196 + change} pictures, {INDEX} 196 rows and {DATASET} promises 196"
        in refusal(folder)
    )


def test_a_count_in_dataset_json_that_is_not_true_is_refused(folder: Path) -> None:
    change_dataset(folder, images=195)
    assert "holds 196 pictures, index.csv 196 rows and dataset.json promises 195" in refusal(folder)


def cell(column: str, value: str, at: int = 7) -> Callable[[Rows], None]:
    return lambda rows: rows[at].update({column: value})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (cell("row", "8"), "rows are not numbered from 0"),
        (cell("row", "x"), "invalid literal"),
        (
            cell("label", "joyful"),
            (
                "expected a label of angry, neutral, disgust, fear, happy, sad, surprise, received"
                " 'joyful'"
            ),
        ),
        (cell("label", "Happy"), "received 'Happy'"),
        (cell("label", ""), "received ''"),
        (cell("label", "sad\nsad"), r"received 'sad\nsad'"),
        (cell("split", "dev"), "expected a split of train, validation, test or excluded"),
        (cell("split", ""), "expected a split of train, validation, test or excluded"),
        (cell("split", "excluded"), "expected a reason exactly where a picture is excluded"),
        (cell("reason", "a copy"), "expected a reason exactly where a picture is excluded"),
        (cell("given_label", "bored"), "expected a given_label of angry, neutral,"),
        (cell("group", "1.5"), "invalid literal"),
        (cell("group", "9" * 40), "too large"),
        (lambda rows: rows.reverse(), "rows are not numbered from 0"),
    ],
    ids=[
        "row twice",
        "row x",
        "label",
        "capital",
        "none",
        "lines",
        "split",
        "no split",
        "no reason",
        "a reason",
        "given label",
        "1.5",
        "huge",
        "backwards",
    ],
)
def test_a_wrong_cell_of_the_index_is_refused(
    change: Callable[[Rows], None], complaint: str, folder: Path
) -> None:
    change_index(folder, change)
    message = refusal(folder)
    assert message.startswith(f"{folder / INDEX}: ")
    assert complaint in message


def test_an_index_of_other_columns_is_refused_with_both_lists(folder: Path) -> None:
    change_index(folder, lambda rows: None, ("row", "path", "label", "split"))
    assert (
        f"expected the columns {', '.join(INDEX_COLUMNS)}, received 'row, path, label, split'"
        in refusal(folder)
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\x00",
        b"row;source;path\n",
        b'"',
        "\ufeffrow\n".encode(),
        b"row,source\xff\n",
        b"\xff\xfe\x00",
    ],
    ids=[
        "empty",
        "blank",
        "nul",
        "semicolons",
        "open quote",
        "byte order mark",
        "latin-1",
        "utf-16",
    ],
)
def test_a_damaged_index_is_refused(data: bytes, folder: Path) -> None:
    (folder / INDEX).write_bytes(data)
    sign(folder)
    assert f"{folder / INDEX}: " in refusal(folder)


@pytest.mark.parametrize("change", ["surplus", "short"])
def test_a_row_of_more_or_fewer_cells_is_refused(change: str, folder: Path) -> None:
    lines = (folder / INDEX).read_text().splitlines()
    lines[5] = lines[5] + ",surplus" if change == "surplus" else lines[5].rpartition(",")[0]
    (folder / INDEX).write_text("\n".join(lines) + "\n")
    sign(folder)
    assert f"{folder / INDEX}: a row of more or fewer than 9 cells" in refusal(folder)


def test_votes_are_read_in_ferplus_order_and_minus_one_where_unknown(folder: Path) -> None:
    def vote(rows: Rows) -> None:
        for i, row in enumerate(rows):
            row.update(
                {name: str((i + k) % 11) if i else "" for k, name in enumerate(VOTE_COLUMNS)}
            )

    change_index(folder, vote, INDEX_COLUMNS + VOTE_COLUMNS)
    votes = load_prepared(folder, DEFAULT_SPEC).votes
    assert votes is not None
    assert votes.dtype == np.int64
    assert votes.tolist() == [
        [-1] * 10,
        *([(i + k) % 11 for k in range(10)] for i in range(1, 196)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        '{"labels": [], "labels": []}',
        '{"labels": NaN}',
        "[" * 100_000,
        "\x00",
    ],
    ids=[
        "empty",
        "cut",
        "list",
        "null",
        "number",
        "no fields",
        "doubled key",
        "NaN",
        "deep",
        "nul",
    ],
)
def test_a_damaged_dataset_json_is_refused(text: str, folder: Path) -> None:
    (folder / DATASET).write_text(text)
    assert f"{folder / DATASET}: not the dataset.json of prepared data (" in refusal(folder)


def test_a_doubled_key_in_dataset_json_is_named(folder: Path) -> None:
    text = (folder / DATASET).read_text()
    (folder / DATASET).write_text(
        text.replace('"input_fingerprint":', '"images": 196, "input_fingerprint":', 1)
    )
    assert "key 'images' appears twice" in refusal(folder)


@pytest.mark.parametrize(
    "field", ["labels", "input_fingerprint", "images", "images_sha256", "index_sha256"]
)
def test_a_missing_field_of_dataset_json_is_named(field: str, folder: Path) -> None:
    raw = json.loads((folder / DATASET).read_text())
    del raw[field]
    (folder / DATASET).write_text(json.dumps(raw))
    assert f"not the dataset.json of prepared data ('{field}')" in refusal(folder)


@pytest.mark.parametrize(
    "field", ["labels", "input_fingerprint", "images", "images_sha256", "index_sha256"]
)
@pytest.mark.parametrize("value", [None, 1.5, [1], {"a": 1}, True], ids=str)
def test_a_field_of_another_type_in_dataset_json_is_refused(
    field: str, value: Any, folder: Path
) -> None:
    change_dataset(folder, **{field: value})
    refusal(folder)


def test_an_unknown_split_is_refused_with_the_known_ones(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    for split in ("dev", "", "Test", "excluded"):
        with pytest.raises(
            DataError, match=f"expected a split of train, validation, test, received '{split}'"
        ):
            data.indices(split)


def test_an_empty_split_is_refused_with_the_way_out(folder: Path) -> None:
    def move(rows: Rows) -> None:
        for row in rows:
            row["split"] = "train" if row["split"] == "validation" else row["split"]

    change_index(folder, move)
    data = load_prepared(folder, DEFAULT_SPEC)
    assert len(data.indices("train")) == 7 * 20
    with pytest.raises(
        DataError, match="holds no picture in the split 'validation'; prepare the data again"
    ) as caught:
        data.indices("validation")
    assert str(caught.value).startswith(f"{folder}: ")


def test_excluded_pictures_are_in_no_split(folder: Path) -> None:
    change_index(folder, lambda rows: rows[0].update(split="excluded", reason="a copy"))
    data = load_prepared(folder, DEFAULT_SPEC)
    assert data.splits[0] == "excluded"
    assert all(0 not in data.indices(split) for split in SPLITS)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("conflicts", ["keep"], "conflicts: expected an object with a policy"),
        ("conflicts", {"policy": ["keep"]}, "conflicts: expected an object with a policy"),
        ("sources", {"name": "a"}, "sources: expected list"),
        ("sources", ["fer2013"], "sources: expected objects with a name"),
        ("sources", [{"name": 3}], "sources: expected objects with a name"),
        ("seed", "1", "seed: expected int"),
        ("split", ["grouped"], "split: expected str"),
    ],
)
def test_an_origin_of_another_type_is_refused(
    field: str, value: Any, says: str, folder: Path
) -> None:
    change_dataset(folder, **{field: value})
    with pytest.raises(DataError, match=f"not the dataset.json of prepared data .{says}"):
        load_prepared(folder)


def test_a_huge_index_is_refused_unread(folder: Path) -> None:
    with (folder / "index.csv").open("r+b") as file:
        file.truncate(3 * 1024**3)
    with pytest.raises(DataError, match="index.csv: 3,221,225,472 bytes, expected at most 268,"):
        load_prepared(folder)
