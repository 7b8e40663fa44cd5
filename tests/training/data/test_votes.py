"""FER+ as it was published: its votes reach the right rows and pictures, and no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FER2013_CODES, FERPLUS_COLUMNS, LABELS
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import DataError, EdgeemoError, InvalidInput
from tests import support
from training.data.ferplus import read_official
from training.data.prepare import prepare
from training.data.read import Faces, read_faces
from training.data.sources import SOURCES
from training.data.votes import MAX_DIFFERENCE, open_votes

RNG = np.random.default_rng(1)
ROWS = [
    (code, support.drawn_picture(LABELS.index(word), RNG), usage)
    for usage in (*["Training"] * 5, "PublicTest", "PrivateTest")
    for code, word in enumerate(FER2013_CODES)
]
COUNTS = RNG.multinomial(10, np.full(10, 0.1), len(ROWS))
HEADER = ",".join(["Usage", "Image name", *FERPLUS_COLUMNS])


def official(rows: Any = None) -> str:
    """fer2013new.csv of ROWS; each fourth picture has no name."""
    lines = rows or [
        f"{usage},{f'fer{i:07}.png' if i % 4 else ''},{','.join(map(str, COUNTS[i]))}"
        for i, (_, _, usage) in enumerate(ROWS)
    ]
    return "\n".join([HEADER, *lines, ""])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of fer2013.csv, fer2013new.csv and a.zip, ROWS as JPEGs with shuffled numbers."""
    lines = [f"{code},{' '.join(map(str, p.ravel().tolist()))},{u}" for code, p, u in ROWS]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    (tmp_path / "fer2013new.csv").write_text(official())
    numbers = np.random.default_rng(2).permutation(len(ROWS)).tolist()
    pictures = {
        f"{'train' if usage == 'Training' else 'test'}/{FER2013_CODES[code]}/{usage}_{number}."
        f"{'png' if number % 5 == 0 else 'jpg'}": support.encoded(
            picture, ".png" if number % 5 == 0 else ".jpg"
        )
        for number, (code, picture, usage) in zip(numbers, ROWS, strict=True)
    }
    (tmp_path / "a.zip").write_bytes(support.zip_bytes(pictures))
    return tmp_path


def read(folder: Path, source: str, **options: Any) -> tuple[Faces, dict[str, int]]:
    """The faces with their votes, and how they were matched."""
    options = {"ferplus": folder / "fer2013new.csv", "pixels": None, **options}
    votes = open_votes(options["ferplus"], options["pixels"], LABELS)
    sources = [(SOURCES["fer2013"], folder / source)]
    faces = read_faces(sources, votes, LABELS, DEFAULT_SPEC, progress=False)
    assert votes is not None
    return faces, dict(votes.matched)


def prepared(folder: Path, source: str, **options: Any) -> dict[str, Any]:
    options = {"ferplus": folder / "fer2013new.csv", "progress": False, **options}
    return prepare([(SOURCES["fer2013"], folder / source)], folder / "out", **options)


def test_the_table_s_rows_get_the_votes_of_their_rows(files: Path) -> None:
    done = prepared(files, "fer2013.csv")
    data = load_prepared(files / "out", DEFAULT_SPEC)
    assert data.votes is not None
    assert np.array_equal(data.votes, COUNTS)
    assert done["ferplus_rows"] == 49
    assert done["ferplus_matched"] == {}


def test_pictures_encoded_again_get_the_votes_of_the_row_they_were(files: Path) -> None:
    faces, matched = read(files, "a.zip", pixels=files / "fer2013.csv")
    for i, picture in enumerate(faces.pictures):
        differences = [
            np.abs(faces.images[i, ..., 0].astype(int) - pixels).mean() for _, pixels, _ in ROWS
        ]
        assert min(differences) < MAX_DIFFERENCE
        assert picture.votes == tuple(COUNTS[int(np.argmin(differences))]), picture.path
    assert matched == {"exact": 10, "near": 39}


def test_a_picture_like_no_row_gets_no_votes_and_is_counted(files: Path) -> None:
    lines = (files / "fer2013.csv").read_text().splitlines()
    lines[1] = f"0,{' '.join(['0'] * 2304)},Training"
    (files / "fer2013.csv").write_text("\n".join(lines))
    faces, matched = read(files, "a.zip", pixels=files / "fer2013.csv")
    assert matched["none"] == 1
    assert [picture.votes for picture in faces.pictures].count(None) == 1


def test_a_table_of_another_order_or_length_is_refused(files: Path) -> None:
    lines = official().splitlines()[1:]
    (files / "fer2013new.csv").write_text(official([lines[-1], *lines[:-1]]))
    with pytest.raises(DataError, match="row 1 is of PrivateTest, FER-2013's of Training"):
        read(files, "fer2013.csv")
    for wrong in (lines[:-1], [*lines, lines[-1]]):
        (files / "fer2013new.csv").write_text(official(wrong))
        for options in ({}, {"pixels": files / "fer2013.csv"}):
            with pytest.raises(DataError, match=f"2013's 49, received {len(wrong)}"):
                read(files, "fer2013.csv", **options)


def test_what_is_missing_is_said(files: Path) -> None:
    with pytest.raises(DataError, match=r"add --pixels fer2013\.csv to match them by pixels"):
        read(files, "a.zip")
    with pytest.raises(InvalidInput, match="received no --ferplus; leave --pixels out"):
        prepared(files, "a.zip", ferplus=None, pixels=files / "fer2013.csv")
    with pytest.raises(EdgeemoError, match=r"expected FER-2013's table .* found none there"):
        read(files, "a.zip", pixels=files / "a.zip")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Training,a.png,4,0,0", "line 2: expected ten votes of 0 to 10"),
        ("Training,a.png" + ",11" * 10, "line 2: expected ten votes of 0 to 10"),
        ("Training,a.png" + ",x" * 10, "line 2: invalid literal for int"),
        ("Test,a.png" + ",1" * 10, "line 2: expected a Usage of Training, PublicTest, PrivateTest"),
    ],
)
def test_a_malformed_published_file_is_refused(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "fer2013new.csv").write_text(f"{HEADER}\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_official(tmp_path / "fer2013new.csv")


def test_a_row_without_any_vote_has_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"{HEADER}\nTraining,{',0' * 10}\nPrivateTest,{',1' * 10}\n")
    assert read_official(tmp_path / "x.csv") == [("Training", None), ("PrivateTest", (1,) * 10)]
