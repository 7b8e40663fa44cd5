"""A person's decisions on suspicious labels: the edited CSV of `python -m training review`."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgeemo.contract.checked.reading import read_text, why_no_file
from edgeemo.contract.labels import match_label_or_none
from edgeemo.errors import DataError, MissingFile

DECISIONS = ("keep", "drop")
_MAX_BYTES = 64 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_reviewed(path: str | Path, class_names: Sequence[str]) -> dict[str, str]:
    """Decisions by the sha256 of a picture's file: "keep", "drop" or one of the class names.

    Rows without a decision do not count. "keep" is given as the row's label where the file has that
    column, since that is the label the person saw: it need not be the one of the picture's folder.

    Raises:
        MissingFile: no file at `path`.
        DataError: no CSV with the columns sha256 and decision, an unknown decision, or two
            different ones for one picture.
    """
    file = Path(path)
    if why := why_no_file(file):
        raise MissingFile(
            f"{file}: {why}; make one with: python -m training review PREPARED --run RUN"
        )
    decisions: dict[str, str] = {}
    try:
        # Spreadsheets write a byte order mark.
        with read_text(file, _MAX_BYTES, "utf-8-sig") as handle:
            for line, sha256, decision in _decided(handle, class_names):
                if decisions.setdefault(sha256, decision) != decision:
                    raise ValueError(
                        f"line {line}: {decision} for a picture that an earlier line decides to be "
                        f"{decisions[sha256]}; leave one of the two"
                    )
    except (ValueError, OSError, csv.Error) as error:
        raise DataError(f"{file}: not a reviewed CSV ({error})") from None
    return decisions


def _decided(lines: Iterable[str], class_names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, sha256 and decision of each row that has one; raises ValueError or csv.Error."""
    reader = csv.DictReader(lines, strict=True)
    columns = list(reader.fieldnames or ())
    if not {"sha256", "decision"} <= set(columns):
        raise ValueError(
            "line 1: expected the columns sha256 and decision, separated by commas, received "
            f"{','.join(columns)[:120]!r}"
        )
    for row in reader:
        word = (row["decision"] or "").strip()
        if not word:
            continue
        plain = word.lower()
        decision = plain if plain in DECISIONS else match_label_or_none(word, class_names)
        if decision is None:
            raise ValueError(
                f"line {reader.line_num}: expected a decision of "
                f"{', '.join((*DECISIONS, *class_names))} or none, received {word[:40]!r}"
            )
        sha256 = (row["sha256"] or "").strip().lower()
        if not _SHA256.fullmatch(sha256):
            raise ValueError(
                f"line {reader.line_num}: expected a sha256 of 64 hex digits, received "
                f"{sha256[:80]!r}"
            )
        if decision == "keep":
            decision = match_label_or_none(row.get("label") or "", class_names) or decision
        yield reader.line_num, sha256, decision
