"""Pictures with known faces, grey and in memory: an archive with an `index.csv` that names each
picture's faces."""

import csv
import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.preprocess import to_grey
from edgeemo.data.pictures import decode_picture
from edgeemo.errors import InvalidInput

SPLITS = {"train": 80, "validation": 88, "test": 100}
"""Of a hundred hashes, those below belong to the split."""
SURE = 0.7
"""A teacher's score from which on its face counts; what lies below is neither face nor none."""


@dataclass(frozen=True)
class Known:
    """A picture and the faces that a teacher found in it."""

    name: str
    """The archive's name and the file's."""
    grey: NDArray[np.uint8]
    """uint8 (H, W)."""
    boxes: NDArray[np.float32]
    """float32 (faces, 4): left, top, width, height in pixels; may reach beyond the picture."""
    scores: NDArray[np.float32]
    """float32 (faces,): the teacher's, 0..1."""


def read_known(archive: Path, split: str) -> list[Known]:
    """The archive's pictures of a split. Pictures of one person, or of one scene, are in one split.

    Raises:
        InvalidInput: no index.csv, a row without its columns, or a picture that is not there.
    """
    return [_known(archive, row, data) for row, data in rows_of_split(archive, split)]


def rows_of_split(archive: Path, split: str) -> list[tuple[dict[str, str], bytes]]:
    """The rows of an archive's index.csv that are of a split, and their pictures' bytes.

    Raises:
        InvalidInput: no index.csv, or a picture that is not there.
    """
    with zipfile.ZipFile(archive) as files:
        index = [name for name in files.namelist() if name.rsplit("/", 1)[-1] == "index.csv"]
        if len(index) != 1:
            raise InvalidInput(f"{archive}: expected one index.csv, received {len(index)}")
        with files.open(index[0]) as stream:
            rows = list(csv.DictReader(io.TextIOWrapper(stream, "utf-8")))
        folder = index[0][: -len("index.csv")]
        try:
            return [
                (row, files.read(f"{folder}{row['file']}"))
                for row in rows
                if split_of(archive.stem, row) == split
            ]
        except KeyError as error:
            raise InvalidInput(f"{archive}: {error}; expected a column file, and them") from None


def split_of(archive: str, row: dict[str, str]) -> str:
    """The split of a row: by person, else by scene, else by file."""
    who = row.get("person") or row.get("scene") or row.get("file", "")
    number = int.from_bytes(hashlib.sha256(f"{archive}/{who}".encode()).digest()[:4], "big") % 100
    return next(split for split, below in SPLITS.items() if number < below)


def _known(archive: Path, row: dict[str, str], data: bytes) -> Known:
    name = f"{archive.name}/{row['file']}"
    try:
        faces = [[float(v) for v in face.split(",")] for face in row["faces"].split()]
    except (KeyError, ValueError) as error:
        raise InvalidInput(f"{name}: expected columns file and faces, received {error}") from None
    if any(len(face) < 5 or not all(map(math.isfinite, face)) for face in faces):
        raise InvalidInput(f"{name}: expected x,y,w,h,...,score of each face")
    boxes = np.array([face[:4] for face in faces], np.float32).reshape(-1, 4)
    scores = np.array([face[-1] for face in faces], np.float32)
    return Known(name, to_grey(decode_picture(data, name)), boxes, scores)
