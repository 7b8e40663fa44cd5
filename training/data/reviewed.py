"""A person's decisions on suspicious labels: the edited CSV of `python -m training review`."""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeemo.contract.labels import LABELS, known_label
from edgeemo.errors import DataError, MissingFile

DECISIONS = ("keep", "drop")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_reviewed(path: str | Path) -> dict[str, str]:
    """Decisions by the sha256 of a picture's file: "keep", "drop" or one of LABELS. Rows without a decision do not count.

    "keep" is given as the row's label where the file has that column, since that is the label the person saw: it need not be
    the one of the picture's folder.

    Raises:
        MissingFile: nothing at `path`.
        DataError: no CSV with the columns sha256 and decision, an unknown decision, or two different ones for one picture.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFile(
            f"{file}: no such file; make one with: python -m training review PREPARED --run RUN"
        )
    decisions: dict[str, str] = {}
    try:
        with file.open(
            newline="", encoding="utf-8-sig"
        ) as handle:  # spreadsheets write a byte order mark
            for line, sha256, decision in _decided(handle):
                if decisions.setdefault(sha256, decision) != decision:
                    raise ValueError(
                        f"line {line}: {decision} for a picture that an earlier line decides to be {decisions[sha256]}; "
                        "leave one of the two"
                    )
    except (ValueError, csv.Error) as error:
        raise DataError(f"{file}: not a reviewed CSV ({error})") from None
    return decisions


def _decided(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, sha256 and decision of each row that has one; raises ValueError or csv.Error."""
    reader = csv.DictReader(lines, strict=True)
    columns = list(reader.fieldnames or ())
    if not {"sha256", "decision"} <= set(columns):
        raise ValueError(
            f"line 1: expected the columns sha256 and decision, separated by commas, received {','.join(columns)[:120]!r}"
        )
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
        sha256 = (row["sha256"] or "").strip().lower()
        if not _SHA256.fullmatch(sha256):
            raise ValueError(
                f"line {reader.line_num}: expected a sha256 of 64 hex digits, received {sha256[:80]!r}"
            )
        if decision == "keep":
            decision = known_label(row.get("label") or "") or decision
        yield reader.line_num, sha256, decision
