"""The edited CSV of a review: what a person may write, and what is refused."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeemo.contract.labels import LABELS
from edgeemo.errors import DataError, MissingFile
from training.data.ferplus import read_votes
from training.data.reviewed import read_reviewed

A, B, C = (hashlib.sha256(word).hexdigest() for word in (b"a", b"b", b"c"))


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "review.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_decisions_are_read_by_picture_and_undecided_rows_change_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, f"rank,sha256,decision\n1,{A},drop\n2,{B},\n3,{C},fear\n")
    assert read_reviewed(path, LABELS) == {A: "drop", C: "fear"}


@pytest.mark.parametrize(
    ("word", "decision"),
    [
        ("Keep", "keep"),
        (" DROP ", "drop"),
        ("happiness", "happy"),
        ("Fearful", "fear"),
        ("surprise", "surprise"),
    ],
)
def test_labels_are_known_by_the_words_of_every_data_set(
    word: str, decision: str, tmp_path: Path
) -> None:
    assert read_reviewed(written(tmp_path, f"sha256,decision\n{A},{word}\n"), LABELS) == {
        A: decision
    }


def test_keep_means_the_label_that_the_person_saw(tmp_path: Path) -> None:
    path = written(tmp_path, f"sha256,label,decision\n{A},sad,keep\n{B},sad,\n{C},sad,drop\n")
    assert read_reviewed(path, LABELS) == {A: "sad", C: "drop"}


def test_what_spreadsheets_write_is_read(tmp_path: Path) -> None:
    text = (
        f'"rank","sha256","note","decision"\r\n1,"{A.upper()}","two\r\nlines","keep"\r\n2,{B},,\r\n'
    )
    assert read_reviewed(written(tmp_path, text, "utf-8-sig"), LABELS) == {A: "keep"}


def test_one_decision_twice_is_one_decision(tmp_path: Path) -> None:
    assert read_reviewed(written(tmp_path, f"sha256,decision\n{A},anger\n{A},angry\n"), LABELS) == {
        A: "angry"
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"sha256,decision\n{A},drop\n{B},maybe\n", "line 3: expected a decision of keep, drop, "
            "angry, .* or none, received 'maybe'"),
        (f"sha256,decision\n{A},contempt\n", "line 2: .* received 'contempt'"),
        (f"sha256,decision\n{A},keep\n{B},\n{A},drop\n", "line 4: drop for a picture .* to be "
            "keep"),
        (f"sha256,label\n{A},sad\n", "line 1: expected the columns sha256 and decision, .* "
            "received 'sha256,label'"),
        (f"sha256;decision\n{A};drop\n", "separated by commas, received 'sha256;decision'"),
        ("", "line 1: expected the columns"),
        ("sha256,decision\n1.2E+34,drop\n", "line 2: expected a sha256 of 64 hex digits, received "
            "'1.2e"),
        (f'sha256,decision\n"{A},drop\n', "unexpected end of data"),
        ("decision,sha256\ndrop\n", "line 2: expected a sha256"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read_reviewed(written(tmp_path, text), LABELS)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "review.csv").write_bytes(b"PK\x03\x04\xff\xfe\x00\x80" * 20)
    with pytest.raises(DataError, match="not a reviewed CSV"):
        read_reviewed(tmp_path / "review.csv", LABELS)


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such file; make one with: python -m training review"):
        read_reviewed(tmp_path / "none.csv", LABELS)


@pytest.mark.parametrize("read", [lambda path: read_reviewed(path, LABELS), read_votes])
def test_a_huge_table_is_refused_unread(read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(3 * 1024**3)
    with pytest.raises(DataError, match="huge.csv: not a .*3,221,225,472 bytes, expected at most"):
        read(path)


@pytest.mark.parametrize("read", [lambda path: read_reviewed(path, LABELS), read_votes])
def test_what_is_no_file_is_named_as_what_it_is(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a FIFO"), (tmp_path, "a folder")):
        with pytest.raises(MissingFile, match=f": {kind}, expected a file; "):
            read(path)
    with pytest.raises(MissingFile, match="/dev/null: a device, expected a file; "):
        read(Path("/dev/null"))
    with pytest.raises(MissingFile, match="none: no such file; "):
        read(tmp_path / "none")
