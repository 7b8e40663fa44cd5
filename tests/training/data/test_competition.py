"""The competition's own tables of FER-2013: all rows go in, in any packing, and a row that is
none is named.
"""

import gzip
import io
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC, parse_size
from edgeemo.contract.labels import FER2013_CODES, LABELS
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import ArchiveError, DataError, EdgeemoError
from tests import support
from training.data import competition
from training.data.competition import find_table
from training.data.prepare import prepare
from training.data.read import Faces, read_faces
from training.data.sources import SOURCES

USAGES = ["Training"] * 5 + ["PublicTest", "PrivateTest"]
RNG = np.random.default_rng(0)
ROWS = [
    (code, support.drawn_picture(LABELS.index(word), RNG), usage)
    for usage in USAGES
    for code, word in enumerate(FER2013_CODES)
]


def numbers(picture: NDArray[np.uint8]) -> str:
    return " ".join(map(str, picture.ravel().tolist()))


def fer2013_csv(rows: Sequence[tuple[int, NDArray[np.uint8], str]] = ROWS) -> bytes:
    lines = [f"{code},{numbers(picture)},{usage}" for code, picture, usage in rows]
    return "\n".join(["emotion,pixels,Usage", *lines, ""]).encode()


def icml_face_data_csv() -> bytes:
    lines = [f'{code}, {usage}, "{numbers(picture)}"' for code, picture, usage in ROWS]
    return "\r\n".join(
        ["emotion, Usage, pixels", *(line.replace(', "', ',"') for line in lines)]
    ).encode()


def tarred(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


README = {"fer2013/README": b"notes", "fer2013/fer2013.bib": b"@book"}
TAR = tarred(README | {"fer2013/fer2013.csv": fer2013_csv()})
FORMS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "csv": ("fer2013.csv", fer2013_csv),
    "icml": ("icml_face_data.csv", icml_face_data_csv),
    "with a byte order mark": ("fer.csv", lambda: b"\xef\xbb\xbf" + fer2013_csv()),
    "tar.gz": ("fer2013.tar.gz", lambda: TAR),
    "tar": ("x.bin", lambda: tarred({"fer2013.csv": fer2013_csv()}, "w")),
    "csv.gz": ("fer2013.csv.gz", lambda: gzip.compress(fer2013_csv())),
    "zip": ("a.zip", lambda: support.zip_bytes({"x/FER2013.csv": fer2013_csv()})),
    "the competition's zip": (
        "challenges.zip",
        lambda: support.zip_bytes(
            {
                "train.csv": b"emotion,pixels\n",
                "fer2013.tar.gz": b"not looked at",
                "icml_face_data.csv": icml_face_data_csv(),
            }
        ),
    ),
    "tar.gz in a zip": ("a.zip", lambda: support.zip_bytes({"fer2013.tar.gz": TAR})),
}


def read(path: Path, **options: Any) -> Faces:
    options = {"class_names": LABELS, "spec": DEFAULT_SPEC, **options}
    return read_faces([(SOURCES["fer2013"], path)], None, progress=False, **options)


@pytest.mark.parametrize(
    ("form", "inside"),
    [*((form, False) for form in FORMS), ("csv", True), ("icml", True), ("tar.gz", True)],
)
def test_each_form_gives_every_row_in_its_order(form: str, inside: bool, tmp_path: Path) -> None:
    name, content = FORMS[form]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(content())
    faces = read(tmp_path if inside else tmp_path / "folder" / name)
    assert [LABELS[p.label] for p in faces.pictures] == [FER2013_CODES[code] for code, _, _ in ROWS]
    assert np.array_equal(faces.images[..., 0], np.stack([picture for _, picture, _ in ROWS]))
    assert faces.held_out.tolist() == [usage != "Training" for _, _, usage in ROWS]
    parts = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}
    assert faces.given.tolist() == [parts[usage] for _, _, usage in ROWS]
    assert faces.rejected == []
    assert faces.pictures[-1].path.endswith(".csv/test/PrivateTest#49")
    assert faces.pictures[0].path.endswith(".csv/train/Training#1")


def test_a_table_is_prepared_as_the_same_pictures_in_folders_are(tmp_path: Path) -> None:
    words = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}
    files = {
        f"{words[usage]}/{FER2013_CODES[code]}/{usage}_{i}.png": support.encoded(picture)
        for i, (code, picture, usage) in enumerate(ROWS)
    }
    (tmp_path / "a.zip").write_bytes(support.zip_bytes(files))
    (tmp_path / "fer2013.csv").write_bytes(fer2013_csv())
    counts = []
    for name in ("a.zip", "fer2013.csv"):
        done = prepare(
            [(SOURCES["fer2013"], tmp_path / name)],
            tmp_path / "out",
            split="official",
            progress=False,
        )
        counts.append(done["counts"])
        data = load_prepared(tmp_path / "out", DEFAULT_SPEC)
        assert (data.splits == "test").sum() == 14
    assert counts[0] == counts[1]


def test_other_inputs_and_classes_are_made_from_the_table_too(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(fer2013_csv())
    faces = read(tmp_path / "x.csv", spec=parse_size("64x64-rgb"), class_names=("happy", "Sadness"))
    assert faces.images.shape == (14, 64, 64, 3)
    assert [p.label for p in faces.pictures] == [0, 1] * 7
    assert {row["reason"] for row in faces.rejected} == {"class without a place among the labels"}
    assert len(faces.rejected) == 35


def test_pictures_in_the_set_s_folders_come_before_a_table_beside_them(tmp_path: Path) -> None:
    files = {"train/sad/Training_1.png": b"x", "fer2013.csv": b""}
    (tmp_path / "a.zip").write_bytes(support.zip_bytes(files))
    assert find_table(tmp_path / "a.zip", SOURCES["fer2013"].fits) is None
    table = find_table(tmp_path / "a.zip")
    assert table is not None
    assert table.member == "fer2013.csv"


GOOD = f"0,{numbers(ROWS[0][1])},Training\n"
HEADER = "emotion,pixels,Usage\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected the columns emotion, pixels and Usage, received ''"),
        ("emotion,pixels\n", r"received 'emotion, pixels'; .* \(train.csv and test.csv are parts"),
        ("emotion,pixels,pixels\n", "received 'emotion, pixels, pixels'"),
        (HEADER, "received the header alone"),
        (HEADER + GOOD + "0,1 2\n", "row 2: expected 3 columns, received 2"),
        (HEADER + GOOD[:-1] + ",x\n", "row 1: expected 3 columns, received 4"),
        (HEADER + GOOD + "\n" + GOOD[10:], "row 2: expected 3 columns, received 2"),
        (HEADER + GOOD + "0,1 2,Training\n", "row 2: expected 2,304 pixels, received 2;"),
        (HEADER + GOOD.replace(",", ",5 ", 1), "row 1: expected 2,304 pixels, received 2,305"),
        (
            HEADER + "0," + "256 " * 2304 + ",Training",
            "row 1: expected pixels of 0 to 255, rec.*'2",
        ),
        (HEADER + "0," + "-1 " * 2304 + ",Training", "pixels of 0 to 255, received '-1'"),
        (HEADER + "0," + "1.5 " * 2304 + ",Training", "pixels of 0 to 255, received '1.5'"),
        (HEADER + "0," + "\u0663 " * 2304 + ",Training", r"received '\\u0663'"),
        (
            HEADER + GOOD.replace("0,", "7,", 1),
            "row 1: expected an emotion of 0 to 6, received '7'",
        ),
        (HEADER + GOOD.replace("0,", ",", 1), "row 1: expected an emotion of 0 to 6, received ''"),
        (HEADER + GOOD + GOOD.replace("Training", "Test"), "row 2: expected a Usage of Training, "),
        (HEADER + '0,"1 2', "row 1: not a line of a CSV file"),
        (HEADER + "0," + "9" * 40_000, "line 2: expected at most 32,768 bytes, received more"),
    ],
)
def test_a_row_that_is_none_is_named_in_one_line(
    content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "fer2013.csv").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "fer2013.csv")
    assert str(tmp_path / "fer2013.csv") in str(caught.value)
    assert str(caught.value).isprintable()


def with_huge_attribute(size: int) -> bytes:
    """A tar archive that announces an attribute of many bytes, packed a thousand to one."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, size
    return gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(3 * 1024**2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tarred(README), "expected fer2013.csv or icml_face_data.csv in the archive"),
        (TAR[: len(TAR) // 2], "cannot be read as FER-2013's table"),
        (TAR[:2000] + b"\0" * 200 + TAR[2200:], "cannot be read as FER-2013's table"),
        (gzip.compress(b"\0" * 100_000), "line 1: expected at most 32,768 bytes"),
        (with_huge_attribute(2**31), "a header of more than a megabyte"),
        (tarred({f"{i}": b"" for i in range(1001)}), "expected fer2013.csv or icml_face_data.csv"),
    ],
)
def test_a_hostile_archive_is_refused_in_one_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "fer2013.tar.gz").write_bytes(content)
    with pytest.raises(EdgeemoError, match=message):
        read(tmp_path / "fer2013.tar.gz")


def test_a_link_in_a_tar_archive_is_not_followed(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("fer2013.csv")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    with pytest.raises(ArchiveError, match="in the archive, received one without"):
        read(tmp_path / "a.tar")


def test_an_encrypted_or_damaged_zip_is_refused_in_one_line(tmp_path: Path) -> None:
    content = bytearray(support.zip_bytes({"fer2013.csv": fer2013_csv()}))
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1
    content[6] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.infolist()[0].flag_bits & 1
    with pytest.raises(ArchiveError, match=r"cannot be read .*encrypted"):
        read(tmp_path / "a.zip")


def test_more_rows_than_any_set_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(competition, "MAX_ROWS", 2)
    (tmp_path / "x.csv").write_text(HEADER + GOOD * 2)
    assert len(read(tmp_path / "x.csv").pictures) == 2
    (tmp_path / "x.csv").write_text(HEADER + GOOD * 3)
    with pytest.raises(DataError, match="expected at most 2 rows, received more"):
        read(tmp_path / "x.csv")
    with tarfile.open(tmp_path / "fer2013.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "x.csv", "fer2013.csv")
    with pytest.raises(DataError, match="expected at most 2 rows, received more"):
        read(tmp_path / "fer2013.tar.gz")
    # Said before any row is read, whose faults would be told first.
    (tmp_path / "x.csv").write_text(HEADER + "no row\n" * 3)
    with pytest.raises(DataError, match="expected at most 2 rows, received more"):
        read(tmp_path / "x.csv")


_MEASURE = """
import resource, sys
from pathlib import Path
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from training.data.read import read_faces
from training.data.sources import SOURCES
source = [(SOURCES["fer2013"], Path(sys.argv[1]))]
faces = read_faces(source, None, LABELS, DEFAULT_SPEC, progress=False)
print(len(faces.pictures), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_all_35887_rows_are_read_within_400_mb(tmp_path: Path) -> None:
    drawn = random.Random(0)
    with (tmp_path / "fer2013.csv").open("w") as file:
        file.write(HEADER)
        for i in range(35_887):
            pixels = " ".join(map(str, drawn.randbytes(2304)))
            usage = "Training" if i < 28_709 else "PublicTest" if i < 32_298 else "PrivateTest"
            file.write(f"{i % 7},{pixels},{usage}\n")
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / "fer2013.csv")],
        cwd=support.REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    pictures, megabytes = map(int, done.stdout.split())
    assert pictures == 35_887
    assert megabytes < 400
