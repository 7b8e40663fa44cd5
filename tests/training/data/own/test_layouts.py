"""Layouts as the sets of others and people's own folders have them; made pictures in them."""

import csv
import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.input_spec import parse_size
from edgeemo.contract.labels import LABELS
from edgeemo.errors import ArchiveError
from tests import support
from tests.training.data.own.made import Read, picture, write
from training.data.own.layout import Asked
from training.data.own.pattern import Pattern

RAF = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")


# --- class folders

FOLDERS: dict[str, dict[str, tuple[str, str | None]]] = {
    "plain": ({"Freude/1.png": ("happy", None), "Wut/2.JPEG": ("angry", None)}),
    "parts": (
        {
            "x/Training/joie/a b.JPG": ("happy", "train"),
            "x/Testing/joie/1.png": ("happy", "test"),
            "x/dev/Colère/1.png": ("angry", "validation"),
        }
    ),
    "numbered": ({"0_happy/1.png": ("happy", None), "01 Traurig/1.png": ("sad", None)}),
    "persons below": (
        {
            "faces/happy/anna/1.png": ("happy", None),
            "faces/sad/anna/s1/1.png": ("sad", None),
            "faces/sad/ben.png": ("sad", None),
        }
    ),
    "persons above": ({"anna/happy/1.png": ("happy", None), "ben/triste/1.png": ("sad", None)}),
    "parts below": (
        {
            "set/happy/train/1.png": ("happy", "train"),
            "set/sad/train/1.png": ("sad", "train"),
            "set/sad/test/2.png": ("sad", "test"),
        }
    ),
    "parts and persons": (
        {
            "train/happy/anna/1.png": ("happy", "train"),
            "train/sad/anna/1.png": ("sad", "train"),
            "val/sad/ben/1.png": ("sad", "validation"),
        }
    ),
    "depths mixed": ({"set/happy/1.png": ("happy", None), "set/train/sad/1.png": ("sad", "train")}),
}


@pytest.mark.parametrize("rows", FOLDERS.values(), ids=FOLDERS)
def test_class_folders_are_found_at_any_depth(
    rows: dict[str, tuple[str, str | None]], tmp_path: Path
) -> None:
    read = Read(write(tmp_path / "set", rows), tmp_path / "out")
    assert read.rows == rows
    assert read.described["layout"] == "folders"
    assert read.faces.rejected == []


def test_folder_zip_and_tar_give_the_same(tmp_path: Path) -> None:
    rows = FOLDERS["parts"]
    folder = write(tmp_path / "set", rows)
    files = {name: (folder / name).read_bytes() for name in rows}
    (tmp_path / "a.zip").write_bytes(support.zip_bytes(files))
    for name, mode in (("a.tar.gz", "w:gz"), ("a.tar", "w")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(folder, arcname=".")
    expected = Read(folder, tmp_path / "out")
    pixels = {
        p.path: image
        for p, image in zip(expected.faces.pictures, expected.faces.images, strict=True)
    }
    for name in ("a.zip", "a.tar.gz", "a.tar"):
        read = Read(tmp_path / name, tmp_path / "out")
        assert read.rows == rows
        for p, image in zip(read.faces.pictures, read.faces.images, strict=True):
            assert np.array_equal(image, pixels[p.path])


def test_pictures_of_a_packed_archive_are_read_in_its_order_and_not_in_its_table_s(
    tmp_path: Path,
) -> None:
    names = [f"img/{number}.png" for number in (2, 0, 3, 1)]
    folder = write(tmp_path / "set", names)
    rows = "".join(f"img/{number}.png,{('happy', 'sad')[number % 2]}\n" for number in range(4))
    (folder / "a.csv").write_text("path,label\n" + rows)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name in (*names, "a.csv"):
            archive.add(folder / name, arcname=name)
    read = Read(tmp_path / "a.tar.gz", tmp_path / "out")
    assert list(read.rows) == names
    assert [label for label, _ in read.rows.values()] == ["happy", "happy", "sad", "sad"]


def test_classes_are_those_that_are_there_in_their_usual_order(tmp_path: Path) -> None:
    words = ("Verachtung", "Überraschung", "Freude", "Wut")
    read = Read(write(tmp_path / "set", [f"{word}/1.png" for word in words]), tmp_path / "out")
    assert read.class_names == ("angry", "happy", "surprise", "contempt")


def test_own_classes_keep_their_names_and_order(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["müde/1.png", "Wach/1.png", "happy/2.png"])
    read = Read(folder, tmp_path / "out", classes=("wach", "müde"))
    assert read.class_names == ("wach", "müde")
    assert read.rows == {"müde/1.png": ("müde", None), "Wach/1.png": ("wach", None)}
    assert [row["reason"] for row in read.faces.rejected] == [
        "class without a place among the labels"
    ]


def test_colour_and_size_are_what_is_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["happy/1.png", "sad/1.png"], side=96)
    read = Read(folder, tmp_path / "out", spec=parse_size("96x80-rgb"))
    assert read.faces.images.shape == (2, 96, 80, 3)


# --- published sets, in the shape that they document


def raf_db(folder: Path) -> dict[str, tuple[str, str | None]]:
    """`basic/` of RAF-DB: the list beside aligned and original pictures."""
    rows: dict[str, tuple[str, str | None]] = {}
    lines = []
    for number, label in enumerate([*RAF, *RAF]):
        name = f"{'train' if number < 7 else 'test'}_{number:05}"
        write(folder, [f"Image/aligned/{name}_aligned.jpg", f"Image/original/{name}.jpg"])
        (folder / f"Image/aligned/{name}_aligned.jpg").write_bytes(picture(number, ".jpg", 100))
        lines.append(f"{name}.jpg {RAF.index(label) + 1}\n")
        rows[f"Image/aligned/{name}_aligned.jpg"] = (label, name.split("_")[0])
    (folder / "EmoLabel").mkdir()
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines))
    return rows


def test_raf_db_is_read_by_its_list_from_the_aligned_pictures(tmp_path: Path) -> None:
    rows = raf_db(tmp_path / "basic")
    # Without the original photos, as most people keep it.
    for path in (tmp_path / "basic" / "Image" / "original").iterdir():
        path.unlink()
    read = Read(tmp_path / "basic", tmp_path / "out")
    assert read.rows == rows
    assert read.class_names == LABELS
    assert (read.described["layout"], read.described["faces"]) == ("list", "crop")


def test_raf_db_s_original_photos_beside_the_aligned_ones_are_counted(tmp_path: Path) -> None:
    rows = raf_db(tmp_path / "basic")
    read = Read(tmp_path / "basic", tmp_path / "out")
    assert read.rows == rows
    assert {row["reason"] for row in read.faces.rejected} == {"not named in the table"}


def test_raf_db_s_numbered_folders_are_known_by_their_pictures_names(tmp_path: Path) -> None:
    rows = {
        f"DATASET/{part}/{code}/{part}_{code:05}_aligned.jpg": (label, part)
        for part in ("train", "test")
        for code, label in enumerate(RAF, start=1)
    }
    write(tmp_path / "set", rows)
    (tmp_path / "set" / "train_labels.csv").write_text("image,label\nx.jpg,1\n")
    read = Read(tmp_path / "set", tmp_path / "out")
    assert read.rows == rows


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (
            {
                "jaffe/KA.AN1.39.tiff": "angry",
                "jaffe/KA.DI2.43.tiff": "disgust",
                "jaffe/KL.FE3.176.tiff": "fear",
                "jaffe/NM.HA1.95.tiff": "happy",
                "jaffe/YM.NE3.51.tiff": "neutral",
                "jaffe/UY.SA2.142.tiff": "sad",
                "jaffe/TM.SU1.195.tiff": "surprise",
            },
            "names as in JAFFE",
        ),
        (
            {
                "KDEF/AF01/AF01ANS.JPG": "angry",
                "KDEF/AF01/AF01AFFL.JPG": "fear",
                "KDEF/BM35/BM35DIHR.JPG": "disgust",
                "KDEF/BM35/BM35HAHL.JPG": "happy",
                "KDEF/AM02/AM02NEFR.JPG": "neutral",
                "KDEF/AM02/AM02SAS.JPG": "sad",
                "KDEF/BF10/BF10SUS.JPG": "surprise",
            },
            "names as in KDEF",
        ),
        (
            {
                "Rafd090_01_Caucasian_female_angry_frontal.jpg": "angry",
                "Rafd090_02_Caucasian_male_contemptuous_left.jpg": "contempt",
                "Rafd045_73_Moroccan_male_fearful_right.jpg": "fear",
            },
            "names as in RaFD",
        ),
    ],
    ids=["JAFFE", "KDEF", "RaFD"],
)
def test_labels_in_the_names_of_published_sets(
    names: dict[str, str], shown: str, tmp_path: Path
) -> None:
    read = Read(write(tmp_path / "set", names), tmp_path / "out")
    assert read.rows == {name: (label, None) for name, label in names.items()}
    assert read.described["read_from"] == shown


def test_affectnet_s_tables_name_pictures_in_a_folder_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "AffectNet"
    write(folder, [f"Manually_Annotated_Images/{i}/p{i}.jpg" for i in range(12)])
    columns = "subDirectory_filePath,face_x,face_y,facial_landmarks,expression,valence,arousal\n"
    for name, numbers in (("training", range(9)), ("validation", range(9, 12))):
        (folder / f"{name}.csv").write_text(
            columns + "".join(f"{i}/p{i}.jpg,1,2,3.5;4.5,{i % 11},0.1,0.2\n" for i in numbers)
        )
    read = Read(folder, tmp_path / "out", labels="affectnet")
    order = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
    assert read.rows == {
        f"Manually_Annotated_Images/{i}/p{i}.jpg": (
            order[i % 11],
            "train" if i < 9 else "validation",
        )
        for i in range(12)
        if i % 11 < 8
    }
    assert {row["reason"] for row in read.faces.rejected} == {"left out by --drop or --labels"}


def test_ck_s_table_of_pixels_has_contempt_as_an_eighth_number(tmp_path: Path) -> None:
    lines = ["emotion,pixels,Usage"]
    usages = ("Training", "PublicTest", "PrivateTest")
    expected = []
    for number in range(8):
        drawn = support.drawn_picture(number % 7, np.random.default_rng(number))
        expected.append(drawn)
        lines.append(f"{number},{' '.join(map(str, drawn.ravel()))},{usages[number % 3]}")
    (tmp_path / "ckextended.csv").write_text("\n".join(lines))
    read = Read(tmp_path / "ckextended.csv", tmp_path / "out")
    assert np.array_equal(read.faces.images[..., 0], np.stack(expected))
    labels = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral", "contempt")
    parts = ("train", "validation", "test")
    assert list(read.rows.values()) == [(labels[i], parts[i % 3]) for i in range(8)]
    assert read.rows["ckextended.csv#2"] == ("angry", "train")


# --- tables and lists


def table(folder: Path, name: str, delimiter: str, header: list[str] | None) -> Path:
    write(folder, ["p/a b.png", "p/c.png", "q.png"])
    rows = [["p/a b.png", "happy", "train"], ["./p/c.png", "Trauer", "val"], ["q.png", "sad", ""]]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([header, *rows] if header else [row[:2] for row in rows])
    (folder / name).write_text(text.getvalue(), encoding="utf-8-sig")
    return folder / name


@pytest.mark.parametrize(
    ("name", "delimiter", "header"),
    [
        ("a.csv", ",", ["Image Path", "Emotion", "Split"]),
        ("a.csv", ";", ["file_name", "LABEL", "usage"]),
        ("a.csv", ";", ["Fichier", "Émotion", "usage"]),
        ("a.csv", ";", ["Dateiname", "Ausdruck", "usage"]),
        ("a.tsv", "\t", ["img", "expression", "subset"]),
        ("a.CSV", ",", None),
        ("a.txt", " ", None),
    ],
)
@pytest.mark.parametrize("whole", [True, False], ids=["folder", "table"])
def test_tables_and_lists_name_pictures_and_labels(
    name: str, delimiter: str, header: list[str] | None, whole: bool, tmp_path: Path
) -> None:
    path = table(tmp_path / "set", name, delimiter, header)
    if delimiter == " ":
        path.write_text("p/a b.png happy\np/c.png Trauer\n\nq.png sad\n")
    read = Read(path.parent if whole else path, tmp_path / "out")
    parts = ("train", "validation", None) if header else (None, None, None)
    assert read.rows == {
        "p/a b.png": ("happy", parts[0]),
        "p/c.png": ("sad", parts[1]),
        "q.png": ("sad", parts[2]),
    }


BEFORE = {
    "Excel's separator": "sep=;\r\npath;label\r\nhappy/1.png;happy\r\nsad/1.png;sad\r\n",
    "blank lines": "\n\npath,label\nhappy/1.png,happy\n\nsad/1.png,sad\n",
    "blanks before quotes": 'path, "label"\n"happy/1.png", "happy"\n"sad/1.png", "sad"\n',
    "Label Studio": "image,id,choice\nhappy/1.png,1,happy\nsad/1.png,2,sad\n",
    "a list": "\nhappy/1.png happy\nsad/1.png sad\n",
}


@pytest.mark.parametrize("text", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
def test_a_table_is_read_from_its_first_line_on(text: str, mark: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "set", ["happy/1.png", "sad/1.png"])
    (folder / "a.csv").write_text(mark + text, newline="")
    read = Read(folder / "a.csv", tmp_path / "out")
    assert read.rows == {"happy/1.png": ("happy", None), "sad/1.png": ("sad", None)}


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = table(tmp_path / "set", "a.csv", ",", ["wo", "was", "teil"])
    read = Read(path, tmp_path / "out", asked=Asked(columns=("wo", "WAS", "teil")))
    assert read.rows["p/c.png"] == ("sad", "validation")


# --- names by a pattern


@pytest.mark.parametrize(
    ("pattern", "path", "label"),
    [
        ("*_{label}.jpg", "x/anna_01_Happy.jpg", "Happy"),
        ("*_{label}", "anna_01_Happy.jpg", "Happy"),
        ("{label}_*", "happy_01_2.jpg", "happy"),
        ("*_{label}_*", "anna_happy_01.jpg", "happy"),
        ("??.{label}?.*", "KA.AN1.39.tiff", "AN"),
        ("IMG{label}-*", "img7-1.png", "7"),
        ("{label}/*/*", "set/joie/anna/1.png", "joie"),
        ("*/{label}/*", "set/joie/1.png", "joie"),
        ("{label}/*/*", "joie/1.png", None),
        ("*_{label}.png", "anna_happy.jpg", None),
        ("*_{label}", "_.jpg", None),
    ],
)
def test_a_pattern_says_where_the_label_is(pattern: str, path: str, label: str | None) -> None:
    assert Pattern(pattern).label(path) == label


def test_no_name_makes_a_pattern_run_on(tmp_path: Path) -> None:
    # A regular expression of this form would try 250 over 12 ways, some 10**20.
    pattern = Pattern("*a*a*a*a*a*{label}b*b*b*b*b*c")
    assert pattern.label("a" * 125 + "b" * 125) is None


def test_photos_are_searched_for_a_face_and_crops_are_not(tmp_path: Path) -> None:
    whole = support.shared("data", "kaggle_layouts", "facial-emotion-recognition.zip")
    with zipfile.ZipFile(whole) as archive:
        names = [name for name in archive.namelist() if name.startswith("images/1/")]
        (tmp_path / "a.zip").write_bytes(support.zip_bytes({n: archive.read(n) for n in names}))
    photos, asked = tmp_path / "a.zip", Asked("names", pattern=Pattern("{label}"))
    drop = ("contempt",)
    read = Read(photos, tmp_path / "out", asked=asked, drop=drop, allow_left_out=True)
    assert (read.described["faces"], read.faces.detector is not None) == ("detect", True)
    reasons = Counter(row["reason"] for row in read.faces.rejected)
    assert reasons.pop("left out by --drop or --labels") == 1
    assert set(reasons) <= {"no face found"}
    assert len(read.faces.pictures) + reasons.total() == 7
    crops = write(tmp_path / "set", ["happy/1.png", "sad/1.png"], side=224)
    assert Read(crops, tmp_path / "out").faces.detector is None
    assert Read(photos, tmp_path / "out", asked=asked, faces="crop").faces.detector is None


def test_a_guess_that_pictures_are_photos_loses_none_of_them_quietly(tmp_path: Path) -> None:
    whole = support.shared("data", "kaggle_layouts", "facial-emotion-recognition.zip")
    with zipfile.ZipFile(whole) as archive:
        photo = archive.read("images/1/Anger.jpg")
    folder = write(tmp_path / "set", ["happy/1.png", "sad/1.png", "sad/2.png"], side=300)
    (folder / "happy" / "1.jpg").write_bytes(photo)
    with pytest.raises(ArchiveError, match="no face found in 3 of 4 pictures, .*--faces crop wher"):
        Read(folder, tmp_path / "out")
    assert len(Read(folder, tmp_path / "out", faces="crop").rows) == 4
    with pytest.raises(ArchiveError, match="expected pictures of sad, not one can be used"):
        Read(folder, tmp_path / "out", faces="detect")
    read = Read(folder, tmp_path / "out", allow_left_out=True)
    assert list(read.rows) == ["happy/1.jpg"]
