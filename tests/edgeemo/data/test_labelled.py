"""Folders and archives of <class>/ pictures: every entry is used or counted with its reason,
whatever it is.
"""

import os
import stat
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.file_store import LINKED_FOLDER, MAX_TOTAL_BYTES
from edgeemo.data.labelled import LabelledInputs, PictureArchive, load_inputs
from edgeemo.data.pictures import MAX_BYTES
from edgeemo.data.prepared import load_prepared
from edgeemo.data.zip_entries import check_directory
from edgeemo.errors import ArchiveError, DataError, MissingFile, PictureError, SpecMismatch
from tests import support


def picture(label: str, seed: int = 0) -> bytes:
    return support.encoded(support.drawn_picture(LABELS.index(label), np.random.default_rng(seed)))


HAPPY, SAD = picture("happy"), picture("sad")


def zipped(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def folder_of(path: Path, entries: dict[str, bytes]) -> Path:
    for name, data in entries.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def load(path: Path, split: str = "test") -> LabelledInputs:
    return load_inputs(path, split, DEFAULT_SPEC, LABELS)


def left_out_beside_one_picture(tmp_path: Path, entries: dict[str, bytes]) -> dict[str, int]:
    """What is left out of a zip of the entries and one good picture; that picture has to be what is
    loaded.
    """
    loaded = load(zipped(tmp_path / "data.zip", {"sad/good.png": SAD, **entries}))
    assert loaded.labels.tolist() == [LABELS.index("sad")]
    assert np.array_equal(loaded.inputs[0, ..., 0], grey_of(SAD))
    return loaded.left_out


def grey_of(png: bytes) -> np.ndarray:
    import cv2

    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_pictures_come_in_path_order_with_their_labels(tmp_path: Path, kind: str) -> None:
    entries = {f"{label}/{label}.png": picture(label) for label in reversed(LABELS)}
    path = (
        zipped(tmp_path / "x.zip", entries) if kind == "zip" else folder_of(tmp_path / "x", entries)
    )
    loaded = load(path)
    assert [LABELS[i] for i in loaded.labels] == sorted(LABELS)
    for image, label in zip(loaded.inputs, sorted(LABELS), strict=True):
        assert np.array_equal(image[..., 0], grey_of(picture(label)))
    assert loaded.inputs.dtype == np.uint8
    assert loaded.inputs.shape == (7, 48, 48, 1)
    assert loaded.left_out == {}


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("Anger", "angry"),
        ("ANGRY", "angry"),
        ("surprised", "surprise"),
        ("Surprise", "surprise"),
        ("happiness", "happy"),
        ("Happy ", "happy"),
        ("Sadness", "sad"),
        ("fearful", "fear"),
        ("Fear", "fear"),
        ("disgusted", "disgust"),
        ("Neutral", "neutral"),
    ],
)
def test_class_folders_may_use_other_data_sets_words(tmp_path: Path, word: str, label: str) -> None:
    loaded = load(zipped(tmp_path / "x.zip", {f"images/{word}/1.png": HAPPY}))
    assert [LABELS[i] for i in loaded.labels] == [label]


def test_unknown_class_folder_is_counted(tmp_path: Path) -> None:
    odd = {"bored/1.png": HAPPY, "bored/2.png": HAPPY, "3/1.png": HAPPY, "loose.png": HAPPY}
    assert left_out_beside_one_picture(tmp_path, odd) == {"class folder of unknown name": 4}


def test_label_word_further_up_does_not_label_an_unknown_class(tmp_path: Path) -> None:
    odd = {"happy/bored/1.png": HAPPY}
    assert left_out_beside_one_picture(tmp_path, odd) == {"class folder of unknown name": 1}


def test_contempt_is_counted_apart_from_unknown_classes(tmp_path: Path) -> None:
    odd = {
        "Contempt/1.png": HAPPY,
        "contempt/2.png": HAPPY,
        "NF/3.png": HAPPY,
        "bored/1.png": HAPPY,
    }
    expected = {"class without a place among the labels": 3, "class folder of unknown name": 1}
    assert left_out_beside_one_picture(tmp_path, odd) == expected


def test_system_files_are_counted_as_such(tmp_path: Path) -> None:
    odd = {
        "happy/Thumbs.db": b"x",
        "happy/.DS_Store": b"x",
        "happy/desktop.ini": b"x",
        "happy/Icon\r": b"",
        "__MACOSX/happy/._1.png": b"x",
        "__MACOSX/happy/2.png": HAPPY,
        "happy/._3.png": HAPPY,
    }
    assert left_out_beside_one_picture(tmp_path, odd) == {"system file": 7}


def test_files_that_are_no_pictures_are_counted(tmp_path: Path) -> None:
    odd = {
        "happy/notes.txt": b"x",
        "emotions.csv": b"a,b",
        "happy/film.mp4": b"x",
        "happy/png": HAPPY,
    }
    assert left_out_beside_one_picture(tmp_path, odd) == {"not a picture file": 4}


def test_broken_pictures_are_counted(tmp_path: Path) -> None:
    odd = {"happy/a.png": b"", "happy/b.jpg": b"text", "happy/c.png": HAPPY[: len(HAPPY) // 2]}
    assert left_out_beside_one_picture(tmp_path, odd) == {"not a usable picture": 3}


@pytest.mark.parametrize(
    "name",
    [
        "../happy/a.png",
        "happy/../../a.png",
        "/happy/a.png",
        "//server/happy/a.png",
        "..\\happy\\a.png",
        "happy\\a.png",
    ],
)
def test_entry_whose_path_leads_outside_is_counted_and_never_written(
    tmp_path: Path, name: str
) -> None:
    assert left_out_beside_one_picture(tmp_path, {name: HAPPY}) == {"path that leads outside": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["data.zip"]


class _Foreign(zipfile.ZipInfo):
    """An entry as other systems' packers write it: UTF-8 without the flag that says so."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802, zipfile's own name
        return self.filename.encode(), self.flag_bits & ~0x800


@pytest.mark.parametrize("name", ["heureux/été.png", "嬉しい/一.png", "fro\u0308hlich/a.png"])
def test_names_in_utf_8_are_read_without_the_archive_s_flag(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(_Foreign(name), HAPPY)
    with PictureArchive(tmp_path / "x.zip", LABELS) as read:
        assert [(file.path, file.label) for file in read.files] == [(name, "happy")]
        assert read.read(name) == HAPPY


def test_names_in_code_page_437_stay_as_they_are(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(_Foreign("happy/aaaa.png"), HAPPY)
    packed = (tmp_path / "x.zip").read_bytes().replace(b"happy/aaaa", b"happy/m\x81de")
    (tmp_path / "x.zip").write_bytes(packed)
    with PictureArchive(tmp_path / "x.zip", LABELS) as read:
        assert [file.path for file in read.files] == ["happy/müde.png"]
        assert read.read("happy/müde.png") == HAPPY


def test_backslashes_in_an_archive_made_on_windows_lie_between_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("faces\\happy\\", "faces\\happy\\a.png", "..\\happy\\b.png", "\\happy\\c.png"):
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.create_system = name, 0
            archive.writestr(entry, b"" if name.endswith("\\") else HAPPY)
    with PictureArchive(tmp_path / "x.zip", LABELS) as read:
        assert [file.path for file in read.files] == ["faces/happy/a.png"]
        assert read.read("faces/happy/a.png") == HAPPY
        assert read.rejected_counts() == {"path that leads outside": 2}


def test_names_that_no_file_can_have_are_counted(tmp_path: Path) -> None:
    odd = {
        f"{'x' * 300}/1.png": HAPPY,
        f"happy/{'é' * 150}.png": HAPPY,
        "/".join(["happy"] * 900) + "/1.png": HAPPY,
    }
    assert left_out_beside_one_picture(tmp_path, odd) == {"a name longer than a file's can be": 3}


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_of_two_entries_of_one_name_the_first_is_used_and_the_second_counted(
    tmp_path: Path,
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("happy/1.png", HAPPY)
        archive.writestr("happy/1.png", SAD)
    loaded = load(tmp_path / "x.zip")
    assert loaded.left_out == {"second entry of the same name": 1}
    assert np.array_equal(loaded.inputs[0, ..., 0], grey_of(HAPPY))


def test_links_in_a_zip_are_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("sad/1.png", SAD)
        link = zipfile.ZipInfo("happy/passwords.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert load(tmp_path / "x.zip").left_out == {"a link or special file": 1}


def test_links_and_pipes_in_a_folder_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", {"sad/1.png": SAD})
    outside = folder_of(tmp_path / "outside", {"happy/1.png": HAPPY})
    (folder / "sad" / "2.png").symlink_to(outside / "happy" / "1.png")
    (folder / "sad" / "3.png").symlink_to(tmp_path / "nothing")
    (folder / "happy").symlink_to(outside / "happy")
    os.mkfifo(folder / "sad" / "4.png")
    loaded = load(folder)
    assert loaded.labels.tolist() == [LABELS.index("sad")]
    assert loaded.left_out == {"a link or special file": 3, LINKED_FOLDER: 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_folder_that_may_not_be_read_is_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", {"sad/1.png": SAD, "happy/1.png": HAPPY})
    (folder / "happy").chmod(0)
    try:
        assert load(folder).left_out == {"a folder that cannot be read": 1}
    finally:
        (folder / "happy").chmod(0o700)


def with_patched_entry(path: Path, name: str, central: int, local: int, change: bytes) -> None:
    """Overwrite bytes of one entry's two headers, at the given offsets, in the zip at `path`."""
    data = bytearray(path.read_bytes())
    needle = name.encode()
    for signature, name_at, offset in ((b"PK\x01\x02", 46, central), (b"PK\x03\x04", 30, local)):
        start = data.find(signature)
        while data[start + name_at : start + name_at + len(needle)] != needle:
            start = data.find(signature, start + 4)
            assert start >= 0
        data[start + offset : start + offset + len(change)] = change
    path.write_bytes(data)


def test_encrypted_entry_is_counted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"sad/1.png": SAD, "happy/1.png": HAPPY})
    with_patched_entry(path, "happy/1.png", 8, 6, struct.pack("<H", 1))
    loaded = load(path)
    assert loaded.labels.tolist() == [LABELS.index("sad")]
    assert loaded.left_out == {"encrypted": 1}


def test_unknown_compression_is_counted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"sad/1.png": SAD, "happy/1.png": HAPPY})
    with_patched_entry(path, "happy/1.png", 10, 8, struct.pack("<H", 77))
    assert load(path).left_out == {"not a usable picture": 1}


def test_damaged_entry_is_counted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"happy/1.png": HAPPY, "sad/1.png": SAD}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.find(HAPPY) + len(HAPPY) // 2] ^= 255
    path.write_bytes(data)
    loaded = load(path)
    assert loaded.labels.tolist() == [LABELS.index("sad")]
    assert loaded.left_out == {"not a usable picture": 1}


def test_entry_packed_too_tightly_is_counted_and_not_unpacked(tmp_path: Path) -> None:
    odd = {"happy/bomb.png": bytes(20_000_000)}
    assert left_out_beside_one_picture(tmp_path, odd) == {"packed too tightly to be a picture": 1}
    assert (tmp_path / "data.zip").stat().st_size < 50_000


def test_entry_larger_than_a_picture_may_be_is_counted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"sad/1.png": SAD, "happy/1.png": HAPPY})
    with_patched_entry(path, "happy/1.png", 24, 22, struct.pack("<I", MAX_BYTES + 1))
    assert load(path).left_out == {"too large": 1}


def test_entry_that_unpacks_to_more_than_it_claims_gives_no_more_than_that(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"sad/1.png": SAD, "happy/1.png": HAPPY})
    with_patched_entry(path, "happy/1.png", 24, 22, struct.pack("<I", 100))
    assert load(path).left_out == {"not a usable picture": 1}


def test_what_an_archive_claims_beyond_its_total_is_left_out_and_counted(tmp_path: Path) -> None:
    fit = MAX_TOTAL_BYTES // MAX_BYTES
    path = zipped(tmp_path / "x.zip", {f"happy/{i}.png": HAPPY for i in range(fit + 3)})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while (
        at >= 0
    ):  # in the central directory, both sizes: below the bounds of a single file and of its ratio
        data[at + 20 : at + 28] = struct.pack("<II", MAX_BYTES // 2, MAX_BYTES)
        at = data.find(b"PK\x01\x02", at + 1)
    path.write_bytes(data)
    with PictureArchive(path, LABELS) as archive:
        assert len(archive.files) == fit
        assert archive.rejected_counts() == {"beyond what an archive may unpack to": 3}


def test_reading_an_entry_that_is_not_there_is_a_picture_error(tmp_path: Path) -> None:
    for path in (
        zipped(tmp_path / "x.zip", {"sad/1.png": SAD}),
        folder_of(tmp_path / "x", {"sad/1.png": SAD}),
    ):
        with (
            PictureArchive(path, LABELS) as archive,
            pytest.raises(PictureError, match=r"sad/2\.png"),
        ):
            archive.read("sad/2.png")


def test_archive_may_be_closed_twice(tmp_path: Path) -> None:
    archive = PictureArchive(zipped(tmp_path / "x.zip", {"sad/1.png": SAD}), LABELS)
    assert archive.read("sad/1.png") == SAD
    archive.close()
    archive.close()


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"PK\x03\x04" + bytes(40), b"PK\x05\x06" + b"\xff" * 18]
)
def test_file_that_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(
        ArchiveError, match=r"x\.zip: expected a folder or a zip archive, received neither"
    ):
        load(tmp_path / "x.zip")


def test_cut_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {f"happy/{i}.png": HAPPY for i in range(10)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArchiveError, match="expected a folder or a zip archive"):
        load(path)


def test_missing_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="nowhere: no such folder or archive; check the path"):
        load(tmp_path / "nowhere")


def test_pipe_is_no_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingFile, match="pipe: a FIFO, expected a folder or archive; "):
        load(tmp_path / "pipe")


def test_empty_folder_or_archive_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", zipped(tmp_path / "x.zip", {})):
        with pytest.raises(ArchiveError, match="it is empty") as caught:
            load(path)
        assert f"<class>/ folders named after {', '.join(LABELS)}, or a prepared folder" in str(
            caught.value
        )


def test_archive_without_a_usable_picture_counts_the_reasons(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "x.zip", {"bored/1.png": HAPPY, "bored/2.png": HAPPY, "happy/a.txt": b""}
    )
    with pytest.raises(
        ArchiveError, match="2 x class folder of unknown name, 1 x not a picture file"
    ) as caught:
        load(path)
    assert "expected <class>/ folders" in str(caught.value)


SPLIT_ENTRIES = {
    "train/happy/1.png": HAPPY,
    "Training/happy/2.png": HAPPY,
    "images/validation/sad/1.png": SAD,
    "val/sad/2.png": SAD,
    "valid/sad/3.png": SAD,
    "TEST/happy/4.png": HAPPY,
    "test_dir/sad/4.png": SAD,
    "testing/sad/5.png": SAD,
    "odd/sad/6.png": SAD,
}


@pytest.mark.parametrize(
    ("split", "labels"), [("train", "hh"), ("validation", "sss"), ("test", "hss")]
)
def test_split_folders_choose_the_split(tmp_path: Path, split: str, labels: str) -> None:
    loaded = load(zipped(tmp_path / "x.zip", SPLIT_ENTRIES), split)
    assert "".join(LABELS[i][0] for i in loaded.labels) == labels


def test_without_split_folders_all_pictures_count_for_any_split(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"happy/1.png": HAPPY, "sad/1.png": SAD})
    for split in ("train", "validation", "test"):
        assert len(load(path, split).labels) == 2


def test_absent_split_is_refused_and_names_those_there_are(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"train/happy/1.png": HAPPY, "val/sad/1.png": SAD})
    with pytest.raises(
        ArchiveError, match=r"the split 'test' \(its folders name the split train, validation\)"
    ):
        load(path)


def test_larger_pictures_become_the_mean_of_their_areas(tmp_path: Path) -> None:
    small = support.drawn_picture(3, np.random.default_rng(0))
    large = np.kron(small, np.ones((5, 5), np.uint8))
    loaded = load(zipped(tmp_path / "x.zip", {"fear/1.png": support.encoded(large)}))
    assert np.array_equal(loaded.inputs[0, ..., 0], small)


def test_prepared_folder_gives_its_rows(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    for split in ("train", "validation", "test"):
        rows = data.indices(split)
        loaded = load(prepared, split)
        assert np.array_equal(loaded.inputs, data.images[rows])
        assert np.array_equal(loaded.labels, data.labels[rows])
        assert loaded.left_out == {}


def test_prepared_folder_and_its_archive_give_the_same_test_pictures(
    prepared: Path, drawn_archive: Path
) -> None:
    ours, theirs = load(prepared), load(drawn_archive)
    assert np.array_equal(ours.inputs, theirs.inputs)
    assert np.array_equal(ours.labels, theirs.labels)


def test_prepared_folder_of_another_spec_is_refused_with_both_fingerprints(
    prepared: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    other = replace(DEFAULT_SPEC, width=64)
    with pytest.raises(SpecMismatch) as caught:
        load_inputs(prepared, "test", other, LABELS)
    assert DEFAULT_SPEC.fingerprint() in str(caught.value)
    assert other.fingerprint() in str(caught.value)
    # Another scale and offset come after the pixels, which are all that was prepared.
    scaled = replace(DEFAULT_SPEC, offset=(-0.5,))
    assert len(load_inputs(prepared, "test", scaled, LABELS).labels) == len(
        load_inputs(prepared, "test", DEFAULT_SPEC, LABELS).labels
    )


def test_prepared_folder_with_a_damaged_description_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, {"dataset.json": b"{", "index.csv": b"", "images.npy": b""})
    with pytest.raises(DataError, match=r"dataset\.json"):
        load(tmp_path)


def test_a_class_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    folder_of(tmp_path, {f"{name}/{i}.png": SAD for name in ("pass", "test") for i in range(3)})
    inputs = load_inputs(tmp_path, "test", DEFAULT_SPEC, ("pass", "test"))
    assert inputs.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_an_entry_without_a_name_is_counted_and_the_others_are_used(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("happy/1.png", HAPPY)
        archive.writestr("@@@@", HAPPY)
    # zipfile cuts names at a NUL; the name stands before the data and in the directory.
    path.write_bytes(path.read_bytes().replace(b"@@@@", bytes(4)))
    assert load(path).left_out == {"an entry without a name": 1}


def test_names_that_no_index_can_hold_are_counted(tmp_path: Path) -> None:
    entries = {f"happy/{n}.png": picture("happy", n) for n in range(2)}
    folder = folder_of(tmp_path / "in", entries)
    for name in (b"caf\xe9.png", b"red\x1b[31m.png", "next\u0085.png".encode()):
        Path(os.fsdecode(os.fsencode(folder / "happy") + b"/" + name)).write_bytes(b"x")
    (folder / "happy" / "größe\u3000顔.png").write_bytes(picture("happy", 3))
    answer = load(folder)
    assert len(answer.labels) == 3
    assert answer.left_out == {"a name with control characters or that is no UTF-8": 3}


def directory_of(entries: int, *, promised: int | None = None, claimed: int | None = None) -> bytes:
    """A zip archive of a directory alone, with zip64's end, of empty entries `a/000000`."""
    row = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *[0] * 7, 8, *[0] * 6)
    rows = b"".join(row + b"a/%06d" % n for n in range(entries))
    number, size = promised or entries, claimed or len(rows)
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, number, number, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(rows), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    return rows + end64 + locator + end


@pytest.mark.parametrize("promised", [None, 5], ids=["honest", "lies"])
def test_archive_of_too_many_entries_is_refused_before_it_is_opened(
    tmp_path: Path, promised: int | None
) -> None:
    path = tmp_path / "many.zip"
    path.write_bytes(directory_of(600_000, promised=promised))
    start = time.process_time()
    with pytest.raises(ArchiveError, match="many.zip: more than 500,000 entries; split"):
        load(path)
    assert time.process_time() - start < 0.5


def test_archive_of_a_huge_directory_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.zip"
    with path.open("wb") as file:
        file.truncate(3 * 1024**3)
        file.seek(0, os.SEEK_END)
        file.write(directory_of(0, promised=1, claimed=3 * 1024**3))
    with pytest.raises(ArchiveError, match="a directory of 3,221,225,472 bytes, expected at most"):
        load(path)


def test_directory_of_several_pieces_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "several.zip"
    path.write_bytes(directory_of(50_000))
    check_directory(path, 50_000)
    with pytest.raises(ValueError, match="more than 49,999 entries"):
        check_directory(path, 49_999)
