"""A person's decisions on suspicious labels: the edited CSV of `python -m training review`."""

import csv
from pathlib import Path

from edgeemo.contract.labels import LABELS, known_label
from edgeemo.errors import DataError, MissingFile

DECISIONS = ("keep", "drop")


def read_reviewed(path: str | Path) -> dict[str, str]:
    """Decisions by the sha256 of a picture's file: "keep", "drop" or one of LABELS. Rows without a decision do not count.

    Raises:
        MissingFile: nothing at `path`.
        DataError: no CSV with the columns sha256 and decision, an unknown decision, or two different ones for one picture.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFile(f"{file}: no such file; make one with: python -m training review PREPARED --run RUN")
    decisions: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:  # spreadsheets write a byte order mark
            reader = csv.DictReader(handle, strict=True)
            if not {"sha256", "decision"} <= set(reader.fieldnames or ()):
                raise ValueError(f"expected the columns sha256 and decision, received {str(reader.fieldnames)[:200]}")
            for row in reader:
                word = (row["decision"] or "").strip().lower()
                if not word:
                    continue
                decision = word if word in DECISIONS else known_label(word)
                if decision is None:
                    raise ValueError(
                        f"line {reader.line_num}: expected a decision of {', '.join((*DECISIONS, *LABELS))} or none, "
                        f"received {word[:40]!r}"
                    )
                if decisions.setdefault(row["sha256"], decision) != decision:
                    raise ValueError(f"line {reader.line_num}: a second, different decision for the same picture")
    except (ValueError, csv.Error) as error:
        raise DataError(f"{file}: not a reviewed CSV ({error})") from None
    return decisions
