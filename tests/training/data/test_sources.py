"""The five sets: each layout is recognized, each other one refused with what was found, and nothing
is left out silently.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import DROPPED_WORDS, LABELS, known_label
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import ArchiveError, InvalidInput
from tests import support
from training.data.own.own_set import OwnSource
from training.data.prepare import prepare
from training.data.sources import SOURCES, choose_sources, parse_source

PNG = support.encoded(support.drawn_picture(0, np.random.default_rng(0)))

# One file of each layout; {} is the class.
LAYOUTS = {
    "fer2013": [
        "train/{}/Training_10118481.jpg",
        "test/{}/PrivateTest_10131363.jpg",
        "test/{}/PublicTest_10131363.png",
    ],
    "facial-emotion-expressions": ["images/train/{}/0.jpg", "images/validation/{}/0.jpg"],
    "face-emotion-dataset": ["train/{}/im0.png", "train/{}/Training_17.jpg", "test/{}/im1.png"],
    "facial-emotion-dataset": ["train_dir/{}/ha00001.jpg", "test_dir/{}/ha00002.jpeg"],
}


def archive_of(path: Path, names: list[str], content: bytes = PNG) -> Path:
    path.write_bytes(support.zip_bytes({name.format("happy"): content for name in names}))
    return path


def test_there_are_the_five_sets_and_only_the_photos_need_consent() -> None:
    assert {s.name: s.kaggle for s in SOURCES.values()} == {
        "fer2013": "msambare/fer2013",
        "facial-emotion-expressions": "samaneheslamifar/facial-emotion-expressions",
        "face-emotion-dataset": "missaouimohamedamine/face-emotion-dataset",
        "facial-emotion-dataset": "dilkushsingh/facial-emotion-dataset",
        "facial-emotion-recognition": "tapakah68/facial-emotion-recognition",
    }
    assert [s.name for s in SOURCES.values() if s.opt_in] == ["facial-emotion-recognition"]
    assert [s.name for s in SOURCES.values() if s.official_test] == ["fer2013"]


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_each_word_of_a_vocabulary_is_a_label_or_known_to_be_none(source: Any) -> None:
    words = {word: known_label(word) for word in source.vocabulary}
    assert set(words.values()) - {None} == set(LABELS)
    assert {word.lower() for word, label in words.items() if label is None} <= DROPPED_WORDS


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("prefix", ["", "archive/"])
def test_a_layout_is_read_also_below_a_folder(name: str, prefix: str, tmp_path: Path) -> None:
    names = [prefix + path for path in LAYOUTS[name]]
    with SOURCES[name].open(archive_of(tmp_path / "a.zip", names), LABELS) as archive:
        assert [file.path for file in archive.files] == sorted(
            path.format("happy") for path in names
        )
        assert {file.label for file in archive.files} == {"happy"}
        assert archive.rejected == []


@pytest.mark.parametrize(("asked", "given"), [(a, g) for a in SOURCES for g in LAYOUTS if a != g])
def test_another_sets_archive_is_refused_and_recognized(
    asked: str, given: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError) as caught:
        SOURCES[asked].open(archive_of(tmp_path / "a.zip", LAYOUTS[given]), LABELS)
    text = str(caught.value)
    assert f"expected {asked} as {SOURCES[asked].layout}; found " in text
    assert f"(it looks like {given})" in text
    assert f"get it from kaggle.com/datasets/{SOURCES[asked].kaggle}" in text


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train/{}/Training_00000001.png"], "1 picture at train/<class>/*"),
        (["{}/Training_00000001.png"], "1 picture at <class>/*"),
        (
            ["train/bored/a.png", "test/tired/b.png"],
            "no usable picture, 2 x class folder of unknown name",
        ),
        (["notes.txt"], "no usable picture, 1 x not a picture file"),
        ([], "no usable picture;"),
    ],
)
def test_what_is_missing_is_said_by_what_was_found(
    names: list[str], found: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match=re.escape(f"found {found}")):
        SOURCES["fer2013"].open(archive_of(tmp_path / "a.zip", names), LABELS)


def test_pictures_outside_the_layout_are_counted(tmp_path: Path) -> None:
    odd = [
        "train/{}/selfie.png",
        "{}/Training_00000003.png",
        "more/train/{}/deeper/sad/Training_00000004.png",
    ]
    with SOURCES["fer2013"].open(
        archive_of(tmp_path / "a.zip", LAYOUTS["fer2013"] + odd), LABELS
    ) as archive:
        assert len(archive.files) == 3
        assert archive.rejected_counts() == {"outside the set's layout": 3}


def test_the_second_copy_is_left_out_file_by_file(tmp_path: Path) -> None:
    names = [
        "images/train/{}/0.jpg",
        "images/images/train/{}/0.jpg",
        "images/images/train/{}/1.jpg",
        "images/validation/{}/2.jpg",
    ]
    with SOURCES["facial-emotion-expressions"].open(
        archive_of(tmp_path / "a.zip", names), LABELS
    ) as archive:
        # 1.jpg is in the second copy alone, so it is kept.
        assert [file.path for file in archive.files] == [
            "images/images/train/happy/1.jpg",
            "images/train/happy/0.jpg",
            "images/validation/happy/2.jpg",
        ]
        assert archive.rejected == [
            {"path": "images/images/train/happy/0.jpg", "reason": "second copy inside the archive"}
        ]


@pytest.mark.parametrize("text", ["fer2013=", "=x.zip", "fer2031", "", "mine="])
def test_a_source_without_a_name_or_path_is_refused(text: str) -> None:
    with pytest.raises(
        InvalidInput,
        match=r"expected --source NAME=PATH .* or --source NAME with a NAME of fer2013, ",
    ):
        parse_source(text)


def test_any_other_name_is_a_set_of_ones_own() -> None:
    assert parse_source("büro 2=x.zip") == (OwnSource("büro 2"), Path("x.zip"))
    for name in ("../x", " x", "-x", "a/b", "x\x1b[2J", "x" * 65):
        with pytest.raises(InvalidInput, match="expected a --source NAME of 1 to 64 letters"):
            parse_source(f"{name}=x.zip")


def test_two_sources_are_not_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InvalidInput, match="expected another path for each --source, .* the same"):
        choose_sources([f"x={tmp_path}/a", f"y={tmp_path}/b"], accept_license=False)


def test_a_sources_path_may_hold_an_equals_sign_or_be_left_out() -> None:
    assert parse_source("fer2013=a=b.zip") == (SOURCES["fer2013"], Path("a=b.zip"))
    assert parse_source("fer2013") == (SOURCES["fer2013"], None)


def test_without_a_source_all_are_taken_that_need_no_consent() -> None:
    assert [s.name for s, _ in choose_sources([], accept_license=False)] == list(LAYOUTS)
    assert [s.name for s, _ in choose_sources([], accept_license=True)] == list(SOURCES)


def test_the_photos_need_consent_and_a_source_comes_once() -> None:
    with pytest.raises(
        InvalidInput,
        match=r"only with --accept-license: its licence \(CC BY-NC-ND 4\.0\).* 15 years old",
    ):
        choose_sources(["facial-emotion-recognition=x.zip"], accept_license=False)
    assert choose_sources(["facial-emotion-recognition=x.zip"], accept_license=True)[0][1] == Path(
        "x.zip"
    )
    with pytest.raises(InvalidInput, match="expected each --source once, received fer2013 2 times"):
        choose_sources(["fer2013=a.zip", "fer2013=b.zip"], accept_license=False)


def test_photos_go_through_the_detector_and_contempt_is_dropped(tmp_path: Path) -> None:
    data = support.shared("data", "kaggle_layouts", "facial-emotion-recognition.zip")
    found = prepare(
        [(SOURCES["facial-emotion-recognition"], data)], tmp_path / "out", progress=False
    )
    assert found["rejected_counts"]["class without a place among the labels"] == 4  # one a subject
    assert found["rejected_counts"]["not a picture file"] == 1  # emotions.csv
    assert found["images"] + found["rejected_counts"].get("no face found", 0) == 28
    assert found["images"] >= 20
    assert found["detector"] == "face"  # the detector of `auto`, whatever else is installed
    prepared = load_prepared(tmp_path / "out", DEFAULT_SPEC)
    words = {
        "Anger": "angry",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happy": "happy",
        "Neutral": "neutral",
        "Sad": "sad",
    }
    words["Surprised"] = "surprise"
    assert all(row["given_label"] == words[Path(row["path"]).stem] for row in prepared.rows)
    # The faces fill the crop: the plain blue ground around them is nearly flat.
    edges = [
        cv2.Laplacian(image[..., 0], cv2.CV_32F)[12:36, 12:36].std()
        for image in np.asarray(prepared.images)
    ]
    assert np.median(edges) > 10


def test_the_stand_ins_are_read_with_everything_left_out_counted(tmp_path: Path) -> None:
    folder = support.shared("data", "kaggle_layouts")
    names = [name for name in LAYOUTS if name != "fer2013"]
    found = prepare(
        [(SOURCES[n], folder / f"{n}.zip") for n in names], tmp_path / "out", progress=False
    )
    by_source = Counter((row["source"], row["reason"]) for row in found["rejected"])
    assert by_source == {
        ("facial-emotion-expressions", "second copy inside the archive"): 1497,
        ("facial-emotion-dataset", "system file"): 2,
        ("facial-emotion-dataset", "class without a place among the labels"): 1,
        ("facial-emotion-dataset", "not a usable picture: the file is empty"): 1,
        ("facial-emotion-dataset", "not a usable picture: the picture is truncated or damaged"): 1,
    }
    sizes = {
        source: sum(sum(by_label.values()) for by_label in splits.values())
        for source, splits in found["counts"].items()
    }
    assert sizes == {
        "facial-emotion-expressions": 1497,
        "face-emotion-dataset": 2464,
        "facial-emotion-dataset": 1196,
    }


def test_official_needs_a_set_with_an_official_test(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", LAYOUTS["face-emotion-dataset"])
    with pytest.raises(InvalidInput, match=r"fer2013\) for --split official; use --split grouped"):
        prepare(
            [(SOURCES["face-emotion-dataset"], archive)],
            tmp_path / "out",
            split="official",
            progress=False,
        )
