"""A set goes in whole: real names, real nestings, and an error where a part would be left out."""

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.file_store import LINKED_FOLDER
from edgeemo.data.labelled import PictureArchive
from edgeemo.errors import ArchiveError
from tests import support
from training.data.hidden import ANOTHER_NAME, look_closer
from training.data.left_out import check_whole
from training.data.read import read_faces
from training.data.sources import SOURCES

PNG = support.encoded(support.drawn_picture(0, np.random.default_rng(0)))

# Names as Kaggle has them, and as they are after a person or a system touched them.
WHOLE = {
    "fer2013": [
        "train/happy/Training_3908.jpg",
        "train/happy/Training_99954850.jpg",
        "train/happy/Training_99954850(1).jpg",
        "test/happy/PublicTest_18131739.jpg",
        "test/happy/PrivateTest_737878.jpg",
        "archive (1)/FER2013/Train/Happy/Training_17.JPG",
        "train/ happy /Training_3908 (1).jpeg",
        "Test/HAPPY/privatetest_55936523.JPEG",
    ],
    "facial-emotion-expressions": [
        "images/train/happy/0.jpg",
        "images/validation/happy/1.jpg",
        "train/happy/2.jpg",
        "data/images/images/Validation/Happy/3.JPG",
    ],
    "face-emotion-dataset": [
        "train/happy/im0.png",
        "train/happy/Training_3908.jpg",
        "test/happy/PrivateTest_88305.jpg",
        "test/happy/im7.png",
        "Face Emotion/Test/Happy /aug_1 (2).JPEG",
    ],
    "facial-emotion-dataset": [
        "train_dir/happy/ha1.jpg",
        "test_dir/happy/ha1.jpeg",
        "x/Train Dir/Happy/ha 2.JPG",
        "test-dir/happy/ha3.jpg",
    ],
    "facial-emotion-recognition": [
        "images/0/Happy.jpg",
        "1/Happy.JPG",
        "x/images/subject 2/Happy .jpeg",
        "images/18/happy.png",
    ],
}


def archive_of(path: Path, names: Sequence[str], content: bytes = PNG) -> Path:
    path.write_bytes(support.zip_bytes(dict.fromkeys(names, content)))
    return path


@pytest.mark.parametrize("name", WHOLE)
def test_a_set_s_own_names_in_any_case_and_nesting_all_go_in(name: str, tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.zip", WHOLE[name])
    with SOURCES[name].open(path, LABELS) as archive:
        assert archive.rejected == []
        assert [file.path for file in archive.files] == sorted(WHOLE[name])
        assert {file.label for file in archive.files} == {"happy"}
        for file in archive.files:
            if name != "facial-emotion-recognition":
                lower = file.path.lower()
                words = {"train": "train", "validation": "validation", "test/": "test"}
                words |= {"test_dir": "test", "test-dir": "test"}
                assert file.split in {split for word, split in words.items() if word in lower}


def test_all_faces_with_kaggle_s_names_are_read() -> None:
    path = support.shared("data", "kaggle_layouts", "fer2013.zip")
    faces = read_faces([(SOURCES["fer2013"], path)], None, LABELS, DEFAULT_SPEC, progress=False)
    assert len(faces.pictures) == 4_033
    assert faces.rejected == []
    assert faces.held_out.sum() == 471
    assert Counter(faces.given.tolist()) == {"train": 3562, "test": 471}
    doubled = [picture for picture in faces.pictures if "(1)" in picture.path]
    assert len(doubled) == 33


def rejected(**counts: int) -> list[dict[str, str]]:
    return [
        {"path": f"train/{i}.jpg", "reason": reason.replace("_", " ")}
        for reason, count in counts.items()
        for i in range(count)
    ]


@pytest.mark.parametrize(
    "reason",
    [
        "class_folder_of_unknown_name",
        "outside_the_set's_layout",
        "encrypted",
        "a_link_or_special_file",
        "second_entry_of_the_same_name",
        "too_large",
    ],
)
def test_half_a_percent_may_be_left_out_and_no_more(reason: str) -> None:
    check_whole("x", "x.zip", 995, rejected(**{reason: 5}))
    with pytest.raises(ArchiveError) as caught:
        check_whole("x", "x.zip", 994, rejected(**{reason: 6}))
    assert str(caught.value) == (
        f"x.zip: expected all of x, 6 of 1,000 files (0.6 %) would be left out: 6 x "
        f"{reason.replace('_', ' ')}; the first is 'train/0.jpg'; give the set as it was "
        "published, or add --allow-left-out to go on without them"
    )


@pytest.mark.parametrize(
    "reason",
    [
        "system_file",
        "second_copy_inside_the_archive",
        "class_without_a_place_among_the_labels",
        "no_face_found",
        "not_a_usable_picture:_the_file_is_empty",
    ],
)
def test_what_is_broken_or_not_wanted_is_no_part_of_a_set(reason: str) -> None:
    check_whole("x", "x.zip", 10, rejected(**{reason: 10}))


def test_a_picture_of_a_format_that_is_not_read_is_a_part_and_a_note_is_none() -> None:
    rows = [{"path": "a/notes.txt", "reason": "not a picture file"}]
    check_whole("x", "x.zip", 10, rows)
    with pytest.raises(ArchiveError, match=r"1 of 11 files .* 1 x not a picture file"):
        check_whole("x", "x.zip", 10, [*rows, {"path": "b.GIF", "reason": "not a picture file"}])


@pytest.mark.parametrize("name", ["happy/9", "happy/9.jpg_large", "happy/9.png.download"])
def test_a_picture_of_another_ending_is_a_part_of_its_set(name: str, tmp_path: Path) -> None:
    names = [f"x/happy/{number}.png" for number in range(9)]
    path = archive_of(tmp_path / "a.zip", [*names, f"x/{name}", "x/happy/README"])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x/LICENSE", "MIT")
        archive.writestr("x/weights.h5", "\x89HDF\r\n")
    with PictureArchive(path, LABELS) as opened:
        look_closer(opened)
    counts = {ANOTHER_NAME: 2, "not a picture file": 2}
    assert opened.rejected_counts() == counts
    with pytest.raises(ArchiveError, match="2 of 11 files .* 2 x a picture whose name does not"):
        check_whole("x", path, 9, opened.rejected)


@pytest.mark.parametrize("name", ["test.zip", "Test.RAR", "test.tar.gz", "test.tgz"])
def test_an_archive_inside_a_set_is_an_error_whatever_its_share(name: str, tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.zip", ["happy/1.png", name])
    with PictureArchive(path, LABELS) as opened:
        look_closer(opened)
    with pytest.raises(ArchiveError, match="1 of 100,001 files .* 1 x an archive inside the set"):
        check_whole("x", path, 100_000, opened.rejected)


def test_a_folder_that_cannot_be_read_is_an_error_whatever_its_share() -> None:
    with pytest.raises(ArchiveError, match="1 of 100,001 files"):
        check_whole("x", "x", 100_000, rejected(a_folder_that_cannot_be_read=1))


def test_a_linked_folder_is_an_error_whatever_its_share() -> None:
    with pytest.raises(ArchiveError, match="1 of 100,001 files.* a link to a folder"):
        check_whole("x", "x", 100_000, [{"path": "test", "reason": LINKED_FOLDER}])


def test_a_class_folder_of_a_typo_is_an_error_unless_allowed(tmp_path: Path) -> None:
    names = [*WHOLE["fer2013"], "train/hapy/Training_1.jpg"]
    source = [(SOURCES["fer2013"], archive_of(tmp_path / "a.zip", names))]
    with pytest.raises(ArchiveError, match=r"1 of 9 files .* 1 x class folder of unknown name"):
        read_faces(source, None, LABELS, DEFAULT_SPEC, progress=False)
    faces = read_faces(source, None, LABELS, DEFAULT_SPEC, allow_left_out=True, progress=False)
    assert len(faces.pictures) == 8
    assert [row["path"] for row in faces.rejected] == ["train/hapy/Training_1.jpg"]


def test_classes_that_one_does_not_ask_for_are_no_part(tmp_path: Path) -> None:
    names = [*WHOLE["fer2013"], "train/sad/Training_1.jpg", "train/contempt/Training_2.jpg"]
    source = [(SOURCES["fer2013"], archive_of(tmp_path / "a.zip", names))]
    faces = read_faces(source, None, ("happy", "fear"), DEFAULT_SPEC, progress=False)
    assert len(faces.pictures) == 8
    assert {row["reason"] for row in faces.rejected} == {"class without a place among the labels"}


def test_the_half_merged_set_is_not_taken_for_fer2013(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "a.zip", WHOLE["face-emotion-dataset"])
    with pytest.raises(ArchiveError, match=r"\(it looks like face-emotion-dataset\)"):
        SOURCES["fer2013"].open(path, LABELS)
