"""What a network of the family does on validation, and the table of all."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority
from training.fast.faces import Part
from workstation.operating_point import chosen_point

_COLUMNS = (
    ("network", "name"),
    ("epochs", "epochs"),
    ("FER+ top-1", "ferplus_top1"),
    ("FER+ mean recall", "ferplus_recall"),
    ("adjusted top-1", "adjusted_top1"),
    ("adjusted mean recall", "adjusted_recall"),
    ("FER-2013 top-1", "labels_top1"),
    ("seconds", "seconds"),
)


def measured(logits: NDArray[np.float32], part: Part) -> dict[str, float]:
    """Shares 0..1 of a part's faces that logits (n, 7) name right, on FER+'s majority and on
    FER-2013's labels.

    "adjusted" is at the operating point that its bundle will have, whose adjustment is `tau`.
    """
    majority, known = ferplus_majority(part.votes, LABELS)
    row = {"labels_top1": _top1(logits, part.labels), "labels_recall": _recall(logits, part.labels)}
    if not known.any():
        return row
    of_known, right = logits[known], majority[known]
    point = chosen_point(of_known, right)
    at = point.applied(of_known)
    return row | {
        "ferplus_top1": _top1(of_known, right),
        "ferplus_recall": _recall(of_known, right),
        "adjusted_top1": _top1(at, right),
        "adjusted_recall": _recall(at, right),
        "tau": point.adjustment,
    }


def write_results(out: Path, rows: list[dict[str, Any]]) -> str:
    """Write results.json and results.md, a row a network, and return the second."""
    lines = [
        "| " + " | ".join(title for title, _ in _COLUMNS) + " |",
        "|" + "---|" * len(_COLUMNS),
    ]
    for row in rows:
        lines.append("| " + " | ".join(_cell(key, row.get(key)) for _, key in _COLUMNS) + " |")
    text = "\n".join(lines) + "\n"
    make_folder(out)
    for name, content in (
        ("results.json", strict.dumps({"networks": rows})),
        ("results.md", text),
    ):
        with written_beside(out / name) as part:
            part.write_text(content)
    return text


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key.endswith(("top1", "recall")):
        return f"{value:.2%}"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _top1(logits: NDArray[np.float32], right: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == right).mean())


def _recall(logits: NDArray[np.float32], right: NDArray[np.int64]) -> float:
    named = logits.argmax(axis=1)
    kinds = [i for i in range(len(LABELS)) if (right == i).any()]
    return float(np.mean([(named[right == i] == i).mean() for i in kinds]))
