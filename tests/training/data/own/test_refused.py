"""What own sets are refused for: one line that names the thing and the way out."""

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeemo.errors import ArchiveError, DataError, EdgeemoError, InvalidInput, MissingFile
from tests import support
from tests.training.data.own.made import Read, picture, write
from training.data.own import tables
from training.data.own.layout import Asked
from training.data.own.pattern import Pattern

TWO = ["happy/1.png", "sad/1.png"]
ROWS = "image,emotion\nhappy/1.png,happy\nsad/1.png,sad\n"

TABLES = {
    "ragged": (ROWS + "sad/1.png\n", "line 4: expected 2 fields, received 1"),
    "quote": ('image,emotion\n"happy/1.png,happy\n', "line 2: expected a row of a table on one"),
    "no label": (ROWS + "sad/1.png,\n", "line 4: expected a label, received none"),
    "no path": (ROWS + ",sad\n", "line 4: expected a path, received none"),
    "above": (ROWS + "../1.png,sad\n", "line 4: expected a path below the table's own folder"),
    "absolute": (ROWS + "/etc/passwd,sad\n", "line 4: expected a path below the table's own"),
    "drive": (ROWS + "C:\\a\\1.png,sad\n", "line 4: expected a path below the table's own"),
    "back": (ROWS + "happy\\..\\..\\1.png,sad\n", "line 4: expected a path below the table's own"),
    "not there": (ROWS + "sad/2.png,sad\n", "1 of 3 files .* 1 x named in the table and not there"),
    "twice": (ROWS + "sad/1.png,happy\n", "line 4: expected each picture once, .*'sad' and as 'ha"),
    "no columns": (
        "a,b\n1,2\n",
        "expected columns of a path .* received 'a,b'; name them with --c",
    ),
    "no columns, with a mark": (
        "\ufeffa;b\n1;2\n",
        "expected columns of a path .* received 'a;b';",
    ),
    "no list": ("1.jpg 0 28 113 22.9 3\n", "received '1.jpg 0 28 113 22.9 3'"),
    "UTF-16 without its mark": ("i\0m\0a\0g\0e\0", "expected text in UTF-8 .it is UTF-16"),
    "no line but separators": ("sep=;\n" * 30, "expected a table .* which --columns can name"),
    "empty": ("", "expected a table .* which --columns can name, received none"),
    "header alone": ("image,emotion\n", "expected pictures with labels, received none"),
    "a long line": ("image,emotion\n" + "x" * 40_000, "line 2: expected at most 32,768 bytes"),
    "escapes": (ROWS + "\x1b[2J.png,sad\n", "line 4: expected the path of a picture, received"),
    "few pixels": (
        "emotion,pixels\n1," + "0 " * 2303,
        "line 2: expected 2,304 pixels, received 2,",
    ),
    "wide pixels": ("emotion,pixels\n1," + "256 " * 2304, "line 2: expected pixels of 0 to 255"),
}


@pytest.mark.parametrize(("text", "message"), TABLES.values(), ids=TABLES)
def test_a_table_is_refused_by_its_first_bad_line(text: str, message: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    (folder / "a.csv").write_text(text)
    with pytest.raises(EdgeemoError, match=message) as caught:
        Read(folder / "a.csv", tmp_path / "out")
    assert str(folder / "a.csv") in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a.csv", "a.zip"])
def test_a_table_of_too_many_rows_is_refused_before_the_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    folder = write(tmp_path / "set", TWO)

    def written(text: str) -> Path:
        (folder / "a.csv").write_text(text)
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.write(folder / "a.csv", "a.csv")
            for picture_name in TWO:
                archive.write(folder / picture_name, picture_name)
        return folder / name

    assert len(Read(written(ROWS), tmp_path / "out", asked=Asked("csv")).rows) == 2
    with pytest.raises(DataError, match=r"a\.csv: expected at most 2 rows, received more; split"):
        # No picture is looked for: the first row's is not there, and the second is ragged.
        rows = "image,emotion\nnone.png,sad\nragged\nhappy/1.png,happy"
        Read(written(rows), tmp_path / "more", asked=Asked("csv"))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_that_is_no_utf_8_is_refused(encoding: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    (folder / "a.csv").write_text(ROWS + "sad/1.png,colère\n", encoding=encoding)
    with pytest.raises(DataError, match="expected text in UTF-8 .*save the table as CSV in UTF-8"):
        Read(folder / "a.csv", tmp_path / "out")


def test_a_link_that_leads_outside_is_not_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    write(tmp_path / "outside", ["1.png"])
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "a.csv").write_text(ROWS + "out/1.png,sad\n")
    with pytest.raises(ArchiveError, match="1 x named in the table and not there"):
        Read(folder / "a.csv", tmp_path / "out")


def test_what_a_table_names_is_a_part_of_its_set_whatever_it_is(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", [*TWO, "sad/2.png"])
    (folder / "sad/2.png").rename(folder / "sad/2.gif")
    (folder / "a.csv").write_text(ROWS + "sad/2.gif,sad\n")
    for path in (folder / "a.csv", folder):
        with pytest.raises(ArchiveError, match="would be left out: 1 x .*'sad/2.gif'; correct"):
            Read(path, tmp_path / "out", asked=Asked("csv"))


FAULTS = {
    "UTF-16": (ROWS.encode("utf-16"), "a.csv: expected text in UTF-8 .it is UTF-16"),
    "other columns": (b"bild,wort\n1.png,sad\n", "a.csv: expected columns .* 'bild,wort'"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_a_table_of_a_folder_without_classes_says_why_it_is_none(
    text: bytes, message: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "set", ["img/1.png", "img/2.png"])
    (folder / "a.csv").write_bytes(text)
    with pytest.raises(ArchiveError, match=f"received one folder .'img'. and a table .*{message}"):
        Read(folder, tmp_path / "out")
    with pytest.raises(DataError, match=message):
        Read(folder, tmp_path / "out", asked=Asked("csv"))
    assert not (tmp_path / "labels.json").exists()


def test_one_unknown_word_is_no_class_to_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["img/1.png", "img/2.png"])
    with pytest.raises(DataError, match=r"'img'\), expected 2 to 64 classes; is the label elsewh"):
        Read(folder, tmp_path / "out")
    assert not (tmp_path / "labels.json").exists()


def test_of_two_tables_that_without_pictures_is_passed_by(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    (folder / "a.csv").write_text("person,age\nA,9\n")
    (folder / "b.csv").write_text(ROWS)
    assert len(Read(folder, tmp_path / "out", asked=Asked("csv")).rows) == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"layout": "names", "columns": ("a", "b")},
        {"layout": "list", "columns": ("a", "b")},
        {"columns": ("a", "b"), "pattern": Pattern("{label}")},
        {"layout": "folders", "pattern": Pattern("{label}")},
        {"layout": "csv", "pattern": Pattern("{label}")},
    ],
)
def test_an_option_of_another_layout_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="^--(columns|pattern) is for .*; leave one of the two"):
        Asked(**asked)


def test_an_empty_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="expected a file or one of fer2013, .* received nothing"
    ):
        Read(write(tmp_path / "set", TWO), tmp_path / "out", labels="")


def test_a_name_in_two_folders_is_not_guessed(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["a/1.png", "b/1.png"])
    (folder / "a.csv").write_text("image,emotion\n1.png,sad\n")
    with pytest.raises(DataError, match=r"line 2: 1\.png is in 2 folders \(a/1\.png, \.\.\.\)"):
        Read(folder, tmp_path / "out")


def test_an_asked_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    (folder / "a.csv").write_text(ROWS)
    asked = Asked(columns=("image", "mood"))
    with pytest.raises(InvalidInput, match="a column 'mood' .*, the table has image, emotion"):
        Read(folder / "a.csv", tmp_path / "out", asked=asked)


# --- words


def test_unknown_words_are_written_into_a_file_to_fill_in(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["happy/1.png", "müde/1.png", "Müde/2.png", "喜び/1.png"])
    with pytest.raises(DataError) as caught:
        Read(folder, tmp_path / "out")
    filled = tmp_path / "labels.json"
    assert f"that no vocabulary knows ('Müde', 'müde'); fill in {filled}" in str(caught.value)
    assert json.loads(filled.read_text()) == {"Müde": "", "happy": "happy", "喜び": "happy"}
    assert "喜び" in filled.read_text()
    with pytest.raises(DataError, match="expected a label behind each word, 'Müde' have none"):
        Read(folder, tmp_path / "out", labels=filled)
    filled.write_text(filled.read_text().replace('"Müde": ""', '"Müde": "tired"'))
    read = Read(folder, tmp_path / "out", labels=filled)
    assert read.class_names == ("happy", "tired")
    assert {label for label, _ in read.rows.values()} == {"happy", "tired"}


def test_a_labels_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["a/1.png", "b/1.png"])
    (tmp_path / "labels.json").write_text("mine")
    (tmp_path / "labels-2.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"fill in \S*labels-3\.json"):
        Read(folder, tmp_path / "out")
    assert (tmp_path / "labels.json").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_the_same_words_are_written_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["a/1.png", "b/1.png"])
    for _ in range(2):
        with pytest.raises(DataError, match=r"fill in \S*/labels\.json"):
            Read(folder, tmp_path / "out")
    assert not (tmp_path / "labels-2.json").exists()


def test_where_no_file_can_be_written_the_error_says_how(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["a/1.png", "b/1.png"])
    with pytest.raises(DataError, match=r"name each in a JSON map .* such as \{\"a\": \"happy\"\}"):
        Read(folder, tmp_path / "nowhere" / "out")


def test_a_word_of_numbers_alone_costs_no_more_than_another(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    (folder / "a.csv").write_text(ROWS + f"sad/1.png,{'1. ' * 10_000}sad\n")
    with pytest.raises(DataError, match=r"expected each picture once, .* as '1\. 1\. 1\."):
        Read(folder / "a.csv", tmp_path / "out")
    (folder / "a.csv").write_text(f"image,emotion\nhappy/1.png,{'1. ' * 10_000}sad\n")
    with pytest.raises(DataError, match="1 word that no vocabulary knows"):
        Read(folder / "a.csv", tmp_path / "out")


def test_numbers_are_no_words_without_a_map(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["0/1.png", "1/1.png"])
    with pytest.raises(DataError, match=r"2 words that no vocabulary knows \('0', '1'\)"):
        Read(folder, tmp_path / "out")
    assert Read(folder, tmp_path / "out", labels="fer2013").class_names == ("angry", "disgust")
    assert Read(folder, tmp_path / "out", labels="affectnet").class_names == ("neutral", "happy")


MAPS = {
    "a doubled key": ('{"happy": "a", "happy": "b"}', "key 'happy' appears twice"),
    "two alike": ('{"Dégoût": "a", "degout": "a"}', "'Dégoût' and 'degout' are the same but for"),
    "not filled": ('{"happy": "", "sad": "b"}', "expected a label behind each word, 'happy' have"),
    "a list": ("[1]", "expected a JSON object of words and labels"),
    "empty": ("{}", "expected a JSON object of words and labels"),
    "no JSON": ("{happy", "expected a JSON object of words and labels"),
    "a number": ('{"happy": 3}', "the label of 'happy': expected labels of 1 to 48 printable"),
    "escapes": (r'{"happy": "\u001b[2J"}', "the label of 'happy': expected labels of 1 to 48"),
    "long": (json.dumps({"happy": "x" * 49}), "the label of 'happy': expected labels of 1 to 48"),
    "huge": (" " * 1_100_000, "1,100,000 bytes, expected at most 1,048,576"),
}


@pytest.mark.parametrize(("text", "message"), MAPS.values(), ids=MAPS)
def test_a_map_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        Read(write(tmp_path / "set", TWO), tmp_path / "out", labels=tmp_path / "map.json")
    assert str(tmp_path / "map.json") in str(caught.value)


def test_a_map_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such file; expected a map .*or one of fer2013, raf"):
        Read(write(tmp_path / "set", TWO), tmp_path / "out", labels=tmp_path / "map.json")


def test_classes_written_in_two_ways_are_refused(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"happy": "Sad"}')
    with pytest.raises(InvalidInput, match="one way of writing each class, received 'sad' and 'Sa"):
        Read(write(tmp_path / "set", TWO), tmp_path / "out", labels=tmp_path / "map.json")


@pytest.mark.parametrize("drop", ["fear", "happi"])
def test_a_word_to_drop_that_is_not_there_is_refused(drop: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"--drop '{drop}' is no word .* hold 'happy', 'sad'"):
        Read(write(tmp_path / "set", TWO), tmp_path / "out", drop=(drop,))


@pytest.mark.parametrize("drop", ["Mépris", "MEPRIS", "contempt"])
def test_a_class_is_dropped_by_its_word_or_its_label(drop: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", [*TWO, "mépris/1.png"])
    read = Read(folder, tmp_path / "out", drop=(drop,))
    assert read.class_names == ("happy", "sad")
    assert [row["reason"] for row in read.faces.rejected] == ["left out by --drop or --labels"]


# --- folders and archives


def many(folder: Path) -> None:
    write(folder, [f"c{i}/1.png" for i in range(65)])


def same_parts(folder: Path) -> None:
    for part in ("train", "test"):
        write(folder / part, TWO)


def linked(folder: Path) -> None:
    write(folder, TWO)
    write(folder.parent / "elsewhere", ["1.png"])
    (folder / "fear").symlink_to(folder.parent / "elsewhere")


def broken_class(folder: Path) -> None:
    write(folder, [*TWO, "happy/2.png"])
    (folder / "sad/1.png").write_bytes(b"junk")


def broken(folder: Path) -> None:
    for name in TWO:
        write(folder, [name])
        (folder / name).write_bytes(b"junk")


def strange(folder: Path) -> None:
    write(folder, ["happy/1.png"])
    os.makedirs(os.fsencode(folder) + b"/tr\xffste")
    Path(os.fsdecode(os.fsencode(folder) + b"/tr\xffste/1.png")).write_bytes(picture(1))


SETS: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (Path.mkdir, "expected pictures with labels, received none"),
    "one class": (lambda f: write(f, ["happy/1.png"]), r"2 to 64 classes, the sets hold 1 \('happ"),
    "no folders": (lambda f: write(f, ["1.png"]), "received 1 x in no class folder .*'1.png'"),
    "65 classes": (many, "65 words that no vocabulary knows .* expected 2 to 64 classes"),
    "same parts": (same_parts, r"every file of mine's test \(2\) is in its train too"),
    "a class of broken files": (
        broken_class,
        r"expected pictures of sad, not one can be used \(1 x",
    ),
    "broken files alone": (broken, r"not a single usable picture \(2 x .*; look at its files"),
    "a picture of another format": (
        lambda f: write(f, [*TWO, "sad/1.bmp"]).joinpath("sad/1.bmp").rename(f / "sad/1.gif"),
        r"1 of 3 files .*; correct that, or add --allow-left-out",
    ),
    "pictures without an ending": (
        lambda f: write(f, [*TWO, "sad/2.png"]).joinpath("sad/2.png").rename(f / "sad/2"),
        r"1 of 3 files .* 1 x a picture whose name does not end as one \(\.jpg, \.png\)",
    ),
    "an archive inside": (
        lambda f: write(f, [*TWO, "1.png"]).joinpath("1.png").rename(f / "test.zip"),
        "1 x an archive inside the set, which is not unpacked; the first is 'test.zip'",
    ),
    "archives alone": (
        lambda f: write(f, ["1.png"]).joinpath("1.png").rename(f / "train.zip"),
        "expected pictures with labels, received 1 x an archive inside the set, which is not unp",
    ),
    "a linked folder": (linked, "1 x a link to a folder, which is not followed"),
    "a name that is no UTF-8": (strange, "and leave out 1 x a name with control characters or"),
}


@pytest.mark.parametrize(("make", "message"), SETS.values(), ids=SETS)
def test_a_set_is_refused_in_one_line(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "set")
    with pytest.raises(EdgeemoError, match=message) as caught:
        Read(tmp_path / "set", tmp_path / "out")
    assert str(caught.value).isprintable()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"Rar!\x1a\x07\x00")
    with pytest.raises(ArchiveError, match="expected a folder, a zip or tar archive, a table"):
        Read(tmp_path / "a.rar", tmp_path / "out")
    with pytest.raises(MissingFile, match="no such folder or archive"):
        Read(tmp_path / "b", tmp_path / "out")


def test_names_that_no_pattern_fits_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    with pytest.raises(ArchiveError, match="expected names of files with the label in them"):
        Read(folder, tmp_path / "out", asked=Asked("names"))
    for text in ("*_x", "{label}{label}", "{label}" + "x" * 200):
        with pytest.raises(InvalidInput, match="expected a --pattern of up to 200 characters with"):
            Pattern(text)


def tar_of(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            info, data = tarfile.TarInfo(name), picture(number)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("sad/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def test_a_tar_archive_is_hostile_until_checked(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", ["../happy/1.png", "/sad/1.png", *TWO, "happy/1.png"])
    with pytest.raises(ArchiveError, match="4 of 6 files .* 2 x path that leads outside"):
        Read(path, tmp_path / "out")
    read = Read(path, tmp_path / "out", allow_left_out=True)
    assert list(read.rows) == TWO
    assert read.faces.images.shape[0] == 2


def test_a_damaged_tar_archive_is_refused_whole(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TWO)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname="")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:100], b"\x1f\x8b" + b"x" * 50):
        (tmp_path / "b.tar.gz").write_bytes(cut)
        with pytest.raises(ArchiveError, match="cannot be read as a tar archive"):
            Read(tmp_path / "b.tar.gz", tmp_path / "out")


def test_a_tar_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("happy/1.png")
        info.size = 40 * 1024**2
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(ArchiveError, match="unpacks to more than .* bytes"):
        Read(tmp_path / "a.tar.gz", tmp_path / "out")


def test_options_for_own_sets_need_one() -> None:
    from training.__main__ import main

    done = support.done_here(
        main, "python -m training", "prepare", "--source", "fer2013=x", "--drop", "x", "--out", "y"
    )
    assert done.returncode == 1
    assert "--drop is for sets of your own, and there is none among the sources" in done.stderr
