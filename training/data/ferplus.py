"""FER+ votes: ten taggers' choices for each FER-2013 picture, by file name (Barsoum et al.
2016).
"""

import csv
from pathlib import Path

from edgeemo.contract.checked.reading import read_text, why_no_file
from edgeemo.contract.labels import FERPLUS_COLUMNS
from edgeemo.errors import DataError, MissingFile

_MAX_BYTES = 16 * 1024 * 1024  # FER+ itself has 2 million


def read_votes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Votes by file name, ten numbers each in FERPLUS_COLUMNS order.

    Raises:
        MissingFile: no file at `path`.
        DataError: not a CSV file with the columns filename, usage and the ten of FER+, or a vote
            out of 0..10.
    """
    file = Path(path)
    if why := why_no_file(file):
        raise MissingFile(f"{file}: {why}; expected the FER+ votes as CSV")
    expected = ["filename", "usage", *FERPLUS_COLUMNS]
    votes: dict[str, tuple[int, ...]] = {}
    try:
        with read_text(file, _MAX_BYTES) as handle:
            reader = csv.reader(handle, strict=True)
            header = next(reader, [])
            if header != expected:
                raise ValueError(
                    f"expected the columns {','.join(expected)}, received {','.join(header)[:120]}"
                )
            for number, row in enumerate(reader, start=2):
                counts = tuple(int(value) for value in row[2:])
                if len(row) != len(expected) or not all(0 <= count <= 10 for count in counts):
                    raise ValueError(f"line {number}: expected ten votes of 0 to 10")
                votes[row[0]] = counts
    except (ValueError, OSError, csv.Error) as error:
        raise DataError(f"{file}: not a FER+ vote file ({error})") from None
    return votes
