"""Which FER+ votes belong to a picture: by its file name, by its row, or by its pixels."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import match_label_or_none
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.labelled import LabelledFile
from edgeemo.errors import DataError, InvalidInput, MissingFile
from training.data.competition import SIDE, Row, find_table
from training.data.ferplus import Counts, is_official, read_official, read_votes

MAX_DIFFERENCE = 4.0
"""Grey levels: the mean absolute difference of two pictures' pixels up to which one is taken for
the other, encoded again.
"""
_BLOCK = 4  # pixels: neighbours are sought among means of blocks, and judged pixel by pixel
_NEAREST = 8

Official = Sequence[tuple[str, Counts | None]]


class Votes(Protocol):
    """The votes of some FER+ file."""

    matched: Counter[str]
    """How pictures were matched by pixels: "exact", "near", "none"; empty for other ways."""

    def of_file(self, file: LabelledFile, frame: NDArray[np.uint8]) -> Counts | None:
        """Those of a picture file; `frame` is uint8 (H, W, 3), RGB. Raises DataError."""

    def of_row(self, row: Row) -> Counts | None:
        """Those of a row of the competition's table. Raises DataError where it is another table."""

    def check_rows(self, count: int) -> None:
        """Raise DataError unless a table of so many rows is the one that the votes are of."""

    @property
    def contents(self) -> str:
        """What of the file could have matched, in words: `7 file names`."""


def open_votes(
    ferplus: Path | None, pixels: Path | None, class_names: Sequence[str]
) -> Votes | None:
    """The votes of a FER+ file of either shape; None without one.

    `pixels` is the competition's table, which the published FER+ file needs for picture files.

    Raises:
        InvalidInput: `pixels` without the published file.
        MissingFile, ArchiveError, DataError: a file that is missing, or not what it is taken for.
    """
    if ferplus is not None and is_official(ferplus):
        rows = read_official(ferplus)
        if pixels is None:
            return VotesByRow(ferplus, rows)
        return VotesByPixels(ferplus, rows, pixels, class_names)
    if pixels is not None:
        raise InvalidInput(
            "expected --pixels together with --ferplus fer2013new.csv, whose votes have no file "
            f"names; received {ferplus or 'no --ferplus'}; leave --pixels out"
        )
    return None if ferplus is None else VotesByName(read_votes(ferplus))


@dataclass
class VotesByName:
    """Votes by the name of a picture's file."""

    by_name: Mapping[str, Counts]
    """What `read_votes` gives."""

    def __post_init__(self) -> None:
        self.matched: Counter[str] = Counter()

    def of_file(self, file: LabelledFile, frame: NDArray[np.uint8]) -> Counts | None:
        return self.by_name.get(Path(file.path).name)

    def of_row(self, row: Row) -> Counts | None:
        return None  # a row has no file name

    def check_rows(self, count: int) -> None:
        pass

    @property
    def contents(self) -> str:
        return f"{len(self.by_name):,} file names"


class VotesByRow:
    """The published votes, for the competition's table."""

    def __init__(self, path: Path, rows: Official) -> None:
        self._path, self._rows = path, rows
        self.matched: Counter[str] = Counter()

    def of_file(self, file: LabelledFile, frame: NDArray[np.uint8]) -> Counts | None:
        raise DataError(
            f"{self._path}: its votes have no names of these picture files; add --pixels "
            "fer2013.csv to match them by pixels, or give --source fer2013=fer2013.csv"
        )

    def of_row(self, row: Row) -> Counts | None:
        if row.number > len(self._rows):
            return None  # check_rows says so
        usage, counts = self._rows[row.number - 1]
        if usage != row.usage:
            raise DataError(
                f"{self._path}: row {row.number} is of {usage}, FER-2013's of {row.usage}; "
                "expected one row for each of fer2013.csv, in its order"
            )
        return counts

    def check_rows(self, count: int) -> None:
        if count != len(self._rows):
            raise DataError(
                f"{self._path}: expected a row for each of FER-2013's {count:,}, received "
                f"{len(self._rows):,}; give the whole of both files"
            )

    @property
    def contents(self) -> str:
        return f"{count_of(len(self._rows), 'row')}"


@dataclass(frozen=True)
class _Group:
    """The table's pictures of one class and part."""

    pixels: NDArray[np.uint8]
    """uint8 (N, 2304)."""
    blocks: NDArray[np.float32]
    """float32 (N, 144), means of blocks."""
    squares: NDArray[np.float32]
    """float32 (N,), sums of the squares of `blocks`."""
    numbers: NDArray[np.int64]
    """int64 (N,), positions in the table."""
    exact: Mapping[bytes, int]
    """First position in the table by the hash of the pixels."""

    def nearest(self, pixels: NDArray[np.uint8]) -> tuple[float, int]:
        """Mean absolute difference to, and position of, the picture most like uint8 (48, 48)."""
        distances = self.squares - 2 * self.blocks @ _blocks(pixels[np.newaxis])[0]
        count = min(_NEAREST, len(distances))
        likely = np.sort(np.argpartition(distances, count - 1)[:count])
        given = pixels.reshape(-1).astype(np.int16)
        differences = np.abs(self.pixels[likely] - given).mean(axis=1)
        best = int(differences.argmin())
        return float(differences[best]), int(self.numbers[likely[best]])


class VotesByPixels(VotesByRow):
    """The published votes, for picture files that are the table's pictures, encoded again.

    A file is sought among the rows of its class and part (training or test): equal pixels first,
    else the smallest mean difference, of MAX_DIFFERENCE at most. Of equal rows the first counts.
    """

    def __init__(
        self, path: Path, rows: Official, pixels: Path, class_names: Sequence[str]
    ) -> None:
        super().__init__(path, rows)
        table = find_table(pixels)
        if table is None:
            raise MissingFile(
                f"{pixels}: expected FER-2013's table (fer2013.csv) for --pixels, found none there"
            )
        lists: dict[tuple[str | None, bool], list[Row]] = defaultdict(list)
        count = 0
        for count, row in enumerate(table.rows(), start=1):  # noqa: B007 - the last one is used
            self.of_row(row)
            lists[match_label_or_none(row.label, class_names), row.held_out].append(row)
        self.check_rows(count)
        self._groups = {key: _group(lists.pop(key)) for key in list(lists)}

    def of_file(self, file: LabelledFile, frame: NDArray[np.uint8]) -> Counts | None:
        group = self._groups.get((file.label, file.split == "test"))
        place = None if group is None else self._match(group, frame)
        if place is None:
            self.matched["none"] += 1
            return None
        return self._rows[place][1]

    def _match(self, group: _Group, frame: NDArray[np.uint8]) -> int | None:
        box = (0, 0, frame.shape[1], frame.shape[0])
        pixels = face_to_input(frame, box, DEFAULT_SPEC)[..., 0]
        place = group.exact.get(_hash(pixels))
        if place is not None:
            self.matched["exact"] += 1
            return place
        difference, place = group.nearest(pixels)
        if difference > MAX_DIFFERENCE:
            return None
        self.matched["near"] += 1
        return place


def _group(rows: list[Row]) -> _Group:
    pixels = np.stack([row.pixels for row in rows])
    blocks = _blocks(pixels)
    exact: dict[bytes, int] = {}
    for row in rows:
        exact.setdefault(_hash(row.pixels), row.number - 1)
    numbers = np.array([row.number - 1 for row in rows], np.int64)
    squares = (blocks**2).sum(axis=1)
    return _Group(pixels.reshape(len(rows), -1), blocks, squares, numbers, exact)


def _blocks(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (N, 144): means of the blocks of uint8 (N, 48, 48)."""
    side = SIDE // _BLOCK
    split = pixels.reshape(-1, side, _BLOCK, side, _BLOCK)
    means: NDArray[np.float32] = split.mean(axis=(2, 4), dtype=np.float32)
    return means.reshape(-1, side * side)


def _hash(pixels: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(pixels.tobytes()).digest()
