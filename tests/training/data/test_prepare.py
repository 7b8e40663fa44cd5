"""Archives -> prepared data: what is kept, left out, grouped and split, and that nothing
half-written stays.
"""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import pytest

from edgeemo.contract.answers import picture_ids
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.folders import OURS, folder_written_beside
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import ArchiveError, DataError, MissingFile, StorageError
from edgeemo.models import find_model
from tests import support
from training.data.ferplus import read_votes
from training.data.prepare import prepare
from training.data.sources import SOURCES
from training.data.split_files import official_fer2013

FER = SOURCES["fer2013"]


def prepared_from(archive: Path, out: Path, **options: Any) -> Prepared:
    prepare([(FER, archive)], out, **{"progress": False, "split": "official", **options})
    return load_prepared(out, DEFAULT_SPEC)


def drawn_entries(train: int = 10, test: int = 4, seed: int = 0) -> dict[str, bytes]:
    """File name to PNG bytes of drawn pictures in FER-2013's layout."""
    rng = np.random.default_rng(seed)
    return {
        support.drawn_path(split, label, i): support.encoded(support.drawn_picture(label, rng))
        for split, count in (("train", train), ("test", test))
        for label in range(len(LABELS))
        for i in range(count)
    }


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of few drawn pictures: each pair of a class is looked at for copies. Read only."""
    return support.write_drawn_archive(
        tmp_path_factory.mktemp("few") / "drawn.zip", train=10, test=2
    )


def write_archive(path: Path, entries: dict[str, bytes]) -> Path:
    path.write_bytes(support.zip_bytes(entries))
    return path


def pixels(png: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE))


def reencoded(png: bytes) -> bytes:
    """Other file bytes with the same pixels."""
    done, data = cv2.imencode(".png", pixels(png), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert done
    assert data.tobytes() != png
    return bytes(data.tobytes())


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- what is kept


def test_pictures_labels_and_hashes_are_the_archive_s(drawn_archive: Path, prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    with zipfile.ZipFile(drawn_archive) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert {row["path"] for row in data.rows} == set(files)
    assert data.images.shape == (len(files), 48, 48, 1)
    for i, row in enumerate(data.rows):
        assert np.array_equal(data.images[i, :, :, 0], pixels(files[row["path"]]))
        assert row["sha256"] == hashlib.sha256(files[row["path"]]).hexdigest()
        assert row["label"] == row["path"].split("/")[1] == LABELS[data.labels[i]]
        assert row["source"] == "fer2013"


def test_dataset_json_counts_what_the_index_holds(prepared: Path) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    counted = Counter((row["split"], row["label"]) for row in data.rows)
    stated = data.dataset["counts"]["fer2013"]
    assert {
        (split, label): n for split, by_label in stated.items() for label, n in by_label.items()
    } == counted
    assert data.dataset["images"] == 7 * (20 + 8)
    assert data.dataset["groups"] == 7 * (20 + 8)
    assert data.dataset["pictures_with_copies"] == 0
    assert data.dataset["rejected"] == []
    assert data.dataset["labels"] == list(LABELS)
    assert data.dataset["input_fingerprint"] == DEFAULT_SPEC.fingerprint()
    assert data.dataset["split_hash"] == data.split_hash


def test_official_test_part_is_test_and_validation_has_something_of_each_class(
    prepared: Path,
) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    for row in data.rows:
        assert (row["split"] == "test") == row["path"].startswith("test/")
    for number in range(len(LABELS)):
        of_class = data.splits[data.labels == number]
        counts = Counter(of_class.tolist())
        assert counts["test"] == 8
        # A tenth of twenty, by the hashes of their pixels; none where the rest is 0.
        assert 1 <= counts["validation"] <= 5
    assert Counter(data.splits.tolist()) == {"train": 127, "validation": 13, "test": 56}


def test_a_folder_gives_what_its_zip_gives(tmp_path: Path) -> None:
    entries = drawn_entries()
    for name, content in entries.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    of_folder = prepared_from(tmp_path / "folder", tmp_path / "a")
    of_zip = prepared_from(write_archive(tmp_path / "a.zip", entries), tmp_path / "b")
    assert of_folder.rows == of_zip.rows
    assert np.array_equal(of_folder.images, of_zip.images)


def test_the_command_prints_counts_and_warns_of_what_is_left_out(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", drawn_entries() | {"train/angry/notes.txt": b"x"})
    command = [
        "prepare",
        "--source",
        f"fer2013={archive}",
        "--split",
        "official",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "training", *command],
        cwd=support.REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [" ".join(line.split()[:4]) for line in lines[:3]] == [
        "fer2013 test 28 angry",
        "fer2013 train 58 angry",
        "fer2013 validation 12 angry",
    ]
    assert lines[-2].startswith(f"wrote {tmp_path / 'out'}: 98 pictures in 98 groups")
    data = tmp_path / "out"
    assert lines[-1] == f"next: python -m training train --data {data} --out runs/NAME"
    assert "warning: 1 file left out: not a picture file" in done.stderr


# --- copies


def more(split: str, label: int, number: int) -> str:
    """The path of a further file in FER-2013's layout."""
    return support.drawn_path(split, label, 900 + number)


def test_all_copies_of_a_picture_share_a_group_and_a_split(tmp_path: Path) -> None:
    entries = drawn_entries()
    # Of each class: one picture three more times, once with other file bytes and once under another
    # label.
    expected = set()
    for label in range(7):
        first = support.drawn_path("train", label, 3)
        copies = [
            more("train", label, 0),
            more("train", label, 1),
            more("train", (label + 1) % 7, 2),
        ]
        entries |= {
            copies[0]: entries[first],
            copies[1]: reencoded(entries[first]),
            copies[2]: entries[first],
        }
        expected.add(frozenset([first, *copies]))
    data = prepared_from(write_archive(tmp_path / "a.zip", entries), tmp_path / "out")
    by_group = defaultdict(list)
    for row in data.rows:
        by_group[row["group"]].append(row)
    assert {
        frozenset(row["path"] for row in rows) for rows in by_group.values() if len(rows) > 1
    } == expected
    assert all(len({row["split"] for row in rows}) == 1 for rows in by_group.values())
    assert data.dataset["groups"] == len(by_group) == 7 * 14
    assert data.dataset["pictures_with_copies"] == 28
    assert data.dataset["duplicates"] == {"exact_groups": 7, "near_groups": 0, "largest": 4}
    for row in data.rows:
        assert row["given_label"] == row["path"].split("/")[1]
    # Three copies against one: the majority's label for all.
    assert all(len({row["label"] for row in rows}) == 1 for rows in by_group.values())
    assert (
        data.dataset["conflicts"]["changed"]
        == sum(row["label"] != row["given_label"] for row in data.rows)
        == 7
    )


def test_a_training_copy_of_a_test_picture_is_excluded_whatever_its_label(tmp_path: Path) -> None:
    entries = drawn_entries()
    happy, fear, sad = (LABELS.index(word) for word in ("happy", "fear", "sad"))
    first = support.drawn_path("test", happy, 0)
    copies = [more("train", happy, 0), more("train", sad, 0)]
    entries |= {
        copies[0]: entries[first],
        copies[1]: reencoded(entries[first]),
        more("test", fear, 0): entries[first],
    }
    data = prepared_from(write_archive(tmp_path / "a.zip", entries), tmp_path / "out")
    rows = {row["path"]: row for row in data.rows}
    assert {rows[name]["split"] for name in copies} == {"excluded"}
    assert rows[more("test", fear, 0)]["split"] == rows[first]["split"] == "test"
    # The held-out part keeps the labels that others compare on.
    assert (rows[first]["label"], rows[more("test", fear, 0)]["label"]) == ("happy", "fear")
    assert data.dataset["excluded"] == {"copy of a held-out test picture": 2}
    assert {row["reason"] for row in data.rows if row["split"] != "excluded"} == {""}
    others = {
        row["split"]
        for name, row in rows.items()
        if name.startswith("train/") and name not in copies
    }
    assert others == {"train", "validation"}


def test_grouped_split_takes_the_held_out_part_with_its_copies_into_test(tmp_path: Path) -> None:
    entries = drawn_entries(train=16, test=4)
    copy = more("train", LABELS.index("sad"), 0)
    entries[copy] = entries[support.drawn_path("test", LABELS.index("happy"), 0)]
    data = prepared_from(
        write_archive(tmp_path / "a.zip", entries), tmp_path / "out", split="grouped"
    )
    split = {row["path"]: row["split"] for row in data.rows}
    assert {split[name] for name in split if name.startswith("test/")} == {"test"}
    assert split[copy] == "test"
    assert Counter(split.values()) == {"train": 87, "validation": 25, "test": 29}
    assert data.dataset["excluded"] == {}


def test_conflict_policies_keep_and_drop(tmp_path: Path) -> None:
    entries = drawn_entries()
    first, copy = support.drawn_path("train", 0, 0), more("train", 1, 0)
    entries[copy] = entries[first]
    archive = write_archive(tmp_path / "a.zip", entries)
    kept = {
        row["path"]: row for row in prepared_from(archive, tmp_path / "keep", conflicts="keep").rows
    }
    assert (kept[first]["label"], kept[copy]["label"]) == (LABELS[0], LABELS[1])
    assert kept[first]["split"] == kept[copy]["split"] != "excluded"
    data = prepared_from(archive, tmp_path / "drop", conflicts="drop")
    dropped = {row["path"]: row["reason"] for row in data.rows if row["split"] == "excluded"}
    assert dropped == {first: "copies with other labels", copy: "copies with other labels"}
    assert data.dataset["conflicts"]["dropped"] == 2


# --- a person's review


def test_reviewed_decisions_are_applied_outside_the_held_out_part(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", entries := drawn_entries())
    names = {
        word: support.drawn_path("train", 0, i)
        for i, word in enumerate(("drop", "sad", "keep", "Happiness"))
    }
    names["fear"] = support.drawn_path("test", 0, 0)
    lines = [f"{hashlib.sha256(entries[name]).hexdigest()},{word}" for word, name in names.items()]
    (tmp_path / "r.csv").write_text("\n".join(["sha256,decision", *lines, f"{'0' * 64},"]))
    data = prepared_from(archive, tmp_path / "out", reviewed=tmp_path / "r.csv")
    rows = {row["path"]: row for row in data.rows}
    assert (rows[names["drop"]]["split"], rows[names["drop"]]["reason"]) == (
        "excluded",
        "dropped in review",
    )
    labels = {word: rows[name]["label"] for word, name in names.items() if word != "drop"}
    assert labels == {"sad": "sad", "keep": "angry", "Happiness": "happy", "fear": "angry"}
    assert rows[names["sad"]]["given_label"] == "angry"
    assert data.dataset["reviewed"] == {"decisions": 5, "pictures": 5, "not_applied_to_held_out": 1}


@pytest.mark.parametrize("policy", ["majority", "drop", "keep"])
def test_a_decision_reaches_the_copies_under_every_policy(policy: str, tmp_path: Path) -> None:
    entries = drawn_entries()
    relabelled, dropped = support.drawn_path("train", 0, 0), support.drawn_path("train", 0, 1)
    copies = {more("train", 0, 0): relabelled, more("train", 0, 1): dropped}
    entries |= {copy: reencoded(entries[first]) for copy, first in copies.items()}
    decisions = [
        f"{hashlib.sha256(entries[name]).hexdigest()},{word}"
        for name, word in ((relabelled, "sad"), (dropped, "drop"))
    ]
    (tmp_path / "r.csv").write_text("\n".join(["sha256,decision", *decisions]))
    archive = write_archive(tmp_path / "a.zip", entries)
    rows = prepared_from(
        archive, tmp_path / "out", reviewed=tmp_path / "r.csv", conflicts=policy
    ).rows
    by_path = {row["path"]: row for row in rows}
    assert [by_path[name]["label"] for name in (relabelled, more("train", 0, 0))] == ["sad", "sad"]
    assert [by_path[name]["reason"] for name in (dropped, more("train", 0, 1))] == [
        "dropped in review"
    ] * 2
    assert sum(row["split"] == "excluded" for row in rows) == 2


def test_a_review_of_other_pictures_is_refused(tmp_path: Path, drawn_archive: Path) -> None:
    (tmp_path / "r.csv").write_text(f"sha256,decision\n{'0' * 64},drop\n")
    with pytest.raises(DataError, match="none of its pictures is among the sources"):
        prepared_from(drawn_archive, tmp_path / "out", reviewed=tmp_path / "r.csv")


# --- seeds


def test_same_seed_gives_the_same_bytes_and_another_seed_another_validation(
    few: Path, tmp_path: Path
) -> None:
    first, second, other = (
        prepared_from(few, tmp_path / name, seed=seed)
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for name in ("images.npy", "index.csv", "dataset.json", "report.html", "split.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "images.npy").read_bytes() == (
        tmp_path / "c" / "images.npy"
    ).read_bytes()
    validation = {
        seed: set(data.indices("validation")) for seed, data in (("5", first), ("6", other))
    }
    assert validation["5"] != validation["6"]
    # At least one of each class.
    assert (len(validation["5"]), len(validation["6"])) == (8, 7)
    assert np.array_equal(first.indices("test"), other.indices("test"))
    assert first.split_hash == second.split_hash != other.split_hash


# --- what is left out


def test_each_file_left_out_is_counted_with_its_reason(tmp_path: Path) -> None:
    entries = drawn_entries()
    whole = entries[support.drawn_path("train", LABELS.index("sad"), 0)]
    bad = {
        "train/sad/Training_90000000.png": (b"", "not a usable picture: the file is empty"),
        "train/sad/Training_90000001.png": (
            whole[: len(whole) // 2],
            "not a usable picture: the picture is truncated or damaged",
        ),
        "train/sad/Training_90000002.png": (
            b"this is no picture",
            "not a usable picture: not a picture that can be read",
        ),
        "train/sad/Training_90000003.png": (
            support.png_of(1, 1),
            "not a usable picture: 1x1 pixel, expected at least 2x2",
        ),
        "train/sad/notes.txt": (b"notes", "not a picture file"),
        "train/Thumbs.db": (b"x", "system file"),
        "__MACOSX/train/sad/._a.png": (b"x", "system file"),
        "train/bored/a.png": (whole, "class folder of unknown name"),
        "train/Contempt/a.png": (whole, "class without a place among the labels"),
        "readme.png": (whole, "class folder of unknown name"),
        "../sad/a.png": (whole, "path that leads outside"),
        "train/sad/selfie.png": (whole, "outside the set's layout"),
    }
    archive = write_archive(
        tmp_path / "a.zip", entries | {name: content for name, (content, _) in bad.items()}
    )
    with pytest.raises(
        ArchiveError, match=r"4 of 106 files \(3\.8 %\) would be left out: 2 x class"
    ):
        prepared_from(archive, tmp_path / "out")
    data = prepared_from(archive, tmp_path / "out", allow_left_out=True)
    assert len(data.rows) == len(entries)
    assert {row["path"]: row["reason"] for row in data.dataset["rejected"]} == {
        name: reason for name, (_, reason) in bad.items()
    }
    assert {row["source"] for row in data.dataset["rejected"]} == {"fer2013"}
    assert data.dataset["rejected_counts"] == Counter(reason for _, reason in bad.values())


def test_an_entry_damaged_inside_the_zip_is_left_out_with_a_reason_that_names_no_file(
    tmp_path: Path,
) -> None:
    entries = drawn_entries()
    names = [support.drawn_path("train", 5, 0), support.drawn_path("train", 4, 0)]
    content = support.zip_bytes(entries)
    for name in names:
        at = content.index(entries[name]) + 40
        content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    (tmp_path / "a.zip").write_bytes(content)
    data = prepared_from(tmp_path / "a.zip", tmp_path / "out")
    assert {row["path"] for row in data.dataset["rejected"]} == set(names)
    assert data.dataset["rejected_counts"] == {"not a usable picture: cannot be read": 2}


def test_an_archive_without_a_usable_picture_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.zip", dict.fromkeys(drawn_entries(2, 1), b"broken"))
    with pytest.raises(ArchiveError, match="not a single usable picture"):
        prepared_from(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.zip"]


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    with pytest.raises(ArchiveError, match="expected a folder or a zip archive"):
        prepared_from(tmp_path / "a.zip", tmp_path / "out")
    with pytest.raises(MissingFile, match="no such folder or archive"):
        prepared_from(tmp_path / "b.zip", tmp_path / "out")


# --- FER+


def ferplus_csv(
    path: Path, rows: Iterable[Iterable[object]], header: Iterable[str] | None = None
) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header if header is not None else ["filename", "usage", *FERPLUS_COLUMNS])
        writer.writerows(rows)
    return path


def test_ferplus_votes_are_stored_with_their_picture(tmp_path: Path) -> None:
    entries = drawn_entries(train=4, test=2)
    names = sorted(Path(name).name for name in entries)
    rng = np.random.default_rng(3)
    voted = {name: rng.multinomial(10, np.full(10, 0.1)) for name in names[::2]}
    votes = ferplus_csv(tmp_path / "v.csv", [[name, "Training", *v] for name, v in voted.items()])
    data = prepared_from(
        write_archive(tmp_path / "a.zip", entries), tmp_path / "out", ferplus=votes
    )
    assert data.votes is not None
    assert data.dataset["ferplus_rows"] == len(voted) == 21
    for i, row in enumerate(data.rows):
        expected = voted.get(Path(row["path"]).name)
        assert data.votes[i].tolist() == ([-1] * 10 if expected is None else expected.tolist())
    known = data.votes[:, 0] >= 0
    assert np.array_equal(data.votes[known].sum(axis=0), sum(voted.values()))
    assert (data.votes[known].sum(axis=1) == 10).all()
    header = (tmp_path / "out" / "index.csv").read_text().splitlines()[0].split(",")
    assert header[-10:] == [f"votes_{name.lower()}" for name in FERPLUS_COLUMNS]


def test_a_ferplus_file_of_other_pictures_is_refused(tmp_path: Path, few: Path) -> None:
    votes = ferplus_csv(
        tmp_path / "v.csv", [["Training_99999999.png", "Training", 4, 0, 0, 1, 3, 2, 0, 0, 0, 0]]
    )
    with pytest.raises(DataError, match="none of its 1 file names is among the pictures"):
        prepared_from(few, tmp_path / "out", ferplus=votes)
    assert os.listdir(tmp_path) == ["v.csv"]


GOOD = ["a.png", "Training", 4, 0, 0, 1, 3, 2, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected the columns filename,usage,neutral,"),
        ("Usage,Image name,neutral\n", "received Usage,Image name,neutral"),
        ([GOOD[:-1]], "line 2: expected ten votes of 0 to 10"),
        ([[*GOOD, 0]], "line 2: expected ten votes of 0 to 10"),
        ([GOOD, [*GOOD[:-1], 11]], "line 3: expected ten votes of 0 to 10"),
        ([[*GOOD[:-1], -1]], "line 2: expected ten votes of 0 to 10"),
        ([[*GOOD[:-1], "many"]], "invalid literal for int"),
        ([[*GOOD[:-1], ""]], "invalid literal for int"),
        ([[]], "line 2: expected ten votes of 0 to 10"),
        (b"\xff\xfe\x00\x00", "can't decode byte"),
        ('filename,usage,"neu', "not a FER\\+ vote file"),
    ],
)
def test_a_malformed_ferplus_file_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    if isinstance(content, list):
        ferplus_csv(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_votes(path)
    assert str(path) in str(caught.value)


def test_missing_ferplus_files_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "v.csv", tmp_path):
        with pytest.raises(MissingFile, match="expected the FER\\+ votes as CSV"):
            read_votes(path)


# --- where it is written


def test_a_folder_that_is_not_ours_is_refused_and_left_alone(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("years of work")
    with pytest.raises(
        StorageError, match=r"holds files but no \.edgeemo-files\.json, the list of"
    ):
        prepared_from(few, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "chapter.txt": "years of work"
    }
    assert os.listdir(tmp_path) == ["thesis"]


def test_a_file_in_the_place_of_the_folder_is_refused_and_left_alone(
    few: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StorageError, match="expected a folder or nothing there, received a file"):
        prepared_from(few, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_or_prepared_folder_is_replaced_and_other_files_in_it_stay(
    few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    prepared_from(few, out)
    (out / "left-over.txt").write_text("from before")
    small = write_archive(tmp_path / "small.zip", drawn_entries(3, 1))
    data = prepared_from(small, out)
    assert len(data.rows) == 28
    ours = {OURS, "dataset.json", "images.npy", "index.csv", "report.html", "split.json"}
    assert set(os.listdir(out)) == ours | {"left-over.txt"}
    assert sorted(os.listdir(tmp_path)) == ["out", "small.zip"]


def test_a_failure_leaves_the_old_folder_as_it_was(few: Path, tmp_path: Path) -> None:
    prepared_from(few, tmp_path / "out")
    before = tree(tmp_path)
    with pytest.raises(MissingFile):
        prepared_from(tmp_path / "gone.zip", tmp_path / "out")
    assert tree(tmp_path) == before


def test_an_unwritable_place_is_refused_in_words(few: Path) -> None:
    with pytest.raises(StorageError, match=r"/proc/out: cannot be written"):
        prepared_from(few, Path("/proc/out"))


# --- interrupts


def interrupted_at_line(number: int, action: Any) -> bool:
    """Run `action`, raising KeyboardInterrupt before the `number`th line of checked/files.py;
    whether it came so far.
    """
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith("contract/checked/files.py"):
            return None
        if event == "line":
            seen += 1
            if seen == number:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


# A file that was being opened when the interrupt came is closed by the garbage collector, which
# warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupt_before_any_line_leaves_the_whole_old_or_the_whole_new_folder(
    existing: bool, tmp_path: Path
) -> None:
    def write() -> None:
        with folder_written_beside(out) as part:
            (part / "m").write_text("new")
            (part / "n").write_text("new")

    def content() -> dict[str, str]:
        files = out.iterdir() if out.exists() else ()
        return {path.name: path.read_text() for path in files if path.name != OURS}

    old = {"m": "old", "k": "old"} if existing else {}
    outcomes = []
    for number in range(1, 400):
        out = tmp_path / str(number) / "out"
        if existing:
            with folder_written_beside(out) as part:
                for name, text in old.items():
                    (part / name).write_text(text)
        if not interrupted_at_line(number, write):
            break
        assert content() in (old, {"m": "new", "n": "new"}), f"interrupted before line {number}"
        outcomes.append(content())
    assert content() == {"m": "new", "n": "new"}
    assert outcomes.count(old) > 10
    assert outcomes[-1] == {"m": "new", "n": "new"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_before_any_line_leaves_the_whole_old_or_the_whole_new_file(
    tmp_path: Path,
) -> None:
    def write() -> None:
        with written_beside(out) as part:
            part.write_text("new")

    outcomes = []
    for number in range(1, 200):
        out = tmp_path / f"{number}" / "out"
        out.parent.mkdir()
        out.write_text("old")
        if not interrupted_at_line(number, write):
            break
        outcomes.append(out.read_text())
    assert out.read_text() == "new"
    assert set(outcomes) == {"old", "new"}
    assert outcomes == sorted(outcomes, reverse=True)


@pytest.fixture(scope="module")
def large_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35,000 pictures, all different: two seconds or more to decode."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("large") / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(len(LABELS)):
            picture = support.drawn_picture(number, rng)
            for i in range(5000):
                picture[0, :3] = i // 256, i % 256, number
                split = "test" if i % 7 == 0 else "train"
                archive.writestr(support.drawn_path(split, number, i), support.encoded(picture))
    return path


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8])
def test_ctrl_c_leaves_no_half_written_folder_and_an_old_one_unchanged(
    existing: bool, delay: float, large_archive: Path, few: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    if existing:
        prepared_from(few, place / "out")
    before = tree(place)
    command = ["prepare", "--source", f"fer2013={large_archive}", "--out", str(place / "out")]
    process = subprocess.Popen(
        # A shell's background job ignores Ctrl-C, and its children inherit that.
        ["env", "--default-signal=INT", sys.executable, "-m", "training", *command],
        cwd=support.REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(path.name.startswith(".part-") for path in place.iterdir()), process)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert (
        stderr.splitlines()[-1] == "python -m training: interrupted; no half-written file is left"
    )
    assert "Traceback" not in stderr
    assert tree(place) == before
    assert os.listdir(place) == (["out"] if existing else [])


def wait_until(happened: Any, process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


# --- the real thing


def test_an_eighth_of_fer2013_is_read_whole_and_split_without_copies(tmp_path: Path) -> None:
    """Real faces in each run; all of them are counted in the slow test below."""
    votes = support.shared("data", "ferplus_votes.csv")
    with zipfile.ZipFile(support.shared("data", "fer2013.zip")) as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))[::8]
        with zipfile.ZipFile(tmp_path / "eighth.zip", "w") as eighth:
            for name in names:
                eighth.writestr(name, archive.read(name))
    data = prepared_from(tmp_path / "eighth.zip", tmp_path / "out", ferplus=votes)
    assert data.dataset["rejected"] == []
    # The folders of FER-2013 are its labels, and its file names are the rows of the votes.
    assert sorted(row["path"] for row in data.rows) == names
    assert Counter(
        (row["path"].split("/")[0], LABELS[label])
        for row, label in zip(data.rows, data.given_labels, strict=True)
    ) == Counter(tuple(name.split("/")[-3:-1]) for name in names)
    check_parts(data)
    known = official_fer2013("official", 1)
    assert known is not None
    parts = known.of(picture_ids(data.images))
    placed = data.splits != "excluded"
    assert (parts != "").all()
    assert np.array_equal(data.splits[placed], parts[placed])
    assert data.votes is not None
    with votes.open(newline="") as file:
        of_file = {row["filename"]: row for row in csv.DictReader(file)}
    of_names = [of_file[Path(name).name] for name in names]
    assert data.dataset["ferplus_rows"] == len(names)
    for column, total in zip(FERPLUS_COLUMNS, data.votes.sum(axis=0), strict=True):
        assert total == sum(int(row[column]) for row in of_names)


@pytest.mark.slow
def test_fer2013_has_the_known_counts(tmp_path: Path) -> None:
    archive, votes = (
        support.shared("data", "fer2013.zip"),
        support.shared("data", "ferplus_votes.csv"),
    )
    data = prepared_from(archive, tmp_path / "out", ferplus=votes)
    official = np.array([row["path"].split("/")[0] for row in data.rows])
    per_class = {
        split: dict(
            zip(
                LABELS,
                np.bincount(data.given_labels[official == split], minlength=7).tolist(),
                strict=True,
            )
        )
        for split in ("train", "test")
    }
    assert per_class == {
        "train": {
            "angry": 3971,
            "neutral": 4929,
            "disgust": 436,
            "fear": 4084,
            "happy": 7188,
            "sad": 4793,
            "surprise": 3156,
        },
        "test": {
            "angry": 467,
            "neutral": 607,
            "disgust": 55,
            "fear": 492,
            "happy": 891,
            "sad": 651,
            "surprise": 416,
        },
    }
    assert Counter(official.tolist()) == {"train": 28_557, "test": 3_579}
    assert int(np.sum(data.splits == "test")) == 3_579
    # Exact copies alone would be 340.
    assert data.dataset["excluded"] == {"copy of a held-out test picture": 1446}
    assert int(np.sum(data.splits == "excluded")) == 1446
    assert data.dataset["rejected"] == []
    check_parts(data)
    # The very split that the shipped models were trained and tested with.
    assert data.split_hash == read_bundle(find_model("small")).manifest.data.split_hash
    assert data.votes is not None
    assert data.dataset["ferplus_rows"] == 28_557 + 3_579
    totals = np.loadtxt(votes, delimiter=",", skiprows=1, usecols=range(2, 12), dtype=int).sum(
        axis=0
    )
    assert np.array_equal(data.votes.sum(axis=0), totals)
    assert (
        json.loads((tmp_path / "out" / "dataset.json").read_text())["counts"]["fer2013"]["test"][
            "disgust"
        ]
        == 55
    )


def check_parts(data: Prepared) -> None:
    """No copy of a picture in two splits, but for those that the official split did not know as
    copies and that are told, and held-out labels as they were given.
    """
    groups = {
        split: set(data.groups[data.splits == split]) for split in ("train", "validation", "test")
    }
    learned = groups["train"] | groups["validation"]
    apart = (groups["train"] & groups["validation"]) | (learned & groups["test"])
    assert len(apart) == data.dataset["split_from"]["apart"] <= len(data.rows) / 1000
    assert np.array_equal(
        data.labels[data.splits == "test"], data.given_labels[data.splits == "test"]
    )
