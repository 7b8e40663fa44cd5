"""FER+ votes: ten taggers' choices for each FER-2013 picture (Barsoum et al. 2016), from files of
two shapes: by file name, and as published, a row for each row of FER-2013's table.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from edgeemo.contract.checked.reading import read_text, why_no_file
from edgeemo.contract.labels import FERPLUS_COLUMNS
from edgeemo.errors import DataError, MissingFile
from training.data.competition import MAX_ROWS, USAGES

Counts = tuple[int, ...]
"""Ten numbers of votes in FERPLUS_COLUMNS order."""

_MAX_BYTES = 16 * 1024 * 1024  # FER+ itself has 2 million
_BY_NAME = ["filename", "usage", *FERPLUS_COLUMNS]
_OFFICIAL = ["Usage", "Image name", *FERPLUS_COLUMNS]


def is_official(path: str | Path) -> bool:
    """Whether a file begins as the published fer2013new.csv does. Raises MissingFile, DataError."""
    return _columns(next(_lines(Path(path)), [])) == _columns(_OFFICIAL)


def read_votes(path: str | Path) -> dict[str, Counts]:
    """Votes by file name, ten numbers each in FERPLUS_COLUMNS order.

    Raises:
        MissingFile: nothing at `path`.
        DataError: not a CSV file with the columns filename, usage and the ten of FER+, or a vote
            out of 0..10.
    """
    file = Path(path)
    lines = _lines(file)
    header = next(lines, [])
    if header != _BY_NAME:
        raise _error(
            file, f"expected the columns {','.join(_BY_NAME)}, received {','.join(header)[:120]}"
        )
    rows = ((_counts(file, number, row), row) for number, row in enumerate(lines, start=2))
    return {row[0]: counts for counts, row in rows}


def read_official(path: str | Path) -> list[tuple[str, Counts | None]]:
    """Usage and votes of each row of the published fer2013new.csv, which has one for each row of
    fer2013.csv, in its order.

    A row without a name, which FER+ left out, keeps its votes (they say that it is no face); one
    without any vote has None.

    Raises:
        MissingFile: nothing at `path`.
        DataError: not such a file, a vote out of 0..10, or an unknown Usage.
    """
    file = Path(path)
    lines = _lines(file)
    header = next(lines, [])
    if _columns(header) != _columns(_OFFICIAL):
        raise _error(
            file, f"expected the columns {','.join(_OFFICIAL)}, received {','.join(header)[:120]}"
        )
    rows: list[tuple[str, Counts | None]] = []
    for number, row in enumerate(lines, start=2):
        counts, usage = _counts(file, number, row), row[0].strip()
        if usage not in USAGES or len(rows) == MAX_ROWS:
            raise _error(
                file,
                f"line {number}: expected a Usage of {', '.join(USAGES)} and at most "
                f"{MAX_ROWS:,} rows, received {usage[:40]!a}",
            )
        rows.append((usage, counts if any(counts) else None))
    return rows


def _lines(file: Path) -> Iterator[list[str]]:
    if why := why_no_file(file):
        raise MissingFile(f"{file}: {why}; expected the FER+ votes as CSV")
    try:
        with read_text(file, _MAX_BYTES, "utf-8-sig") as handle:
            yield from csv.reader(handle, strict=True)
    except (ValueError, OSError, csv.Error) as error:
        raise _error(file, str(error)) from None


def _columns(header: list[str]) -> list[str]:
    return [name.strip().lower() for name in header]


def _counts(file: Path, number: int, row: list[str]) -> Counts:
    try:
        counts = tuple(int(value) for value in row[2:])
    except ValueError as error:
        raise _error(file, f"line {number}: {error}") from None
    if len(row) != len(_BY_NAME) or not all(0 <= count <= 10 for count in counts):
        raise _error(file, f"line {number}: expected ten votes of 0 to 10")
    return counts


def _error(file: Path, what: str) -> DataError:
    return DataError(f"{file}: not a FER+ vote file ({what})")
