"""`report.html` of prepared data: one self-contained page with counts, a sample sheet and what was left out."""

import base64
import html
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.contract.prepared import EXCLUDED, SPLITS

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .25rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #d8dee6; } img { max-width: 100%; }
@media (prefers-color-scheme: dark) { body { background: #12161c; color: #e4e8ee; } tr { border-color: #333c48; } }
"""


def write_report(path: Path, dataset: dict[str, Any], images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write the page for uint8 (N, S, S, 1) pictures with label numbers (N,)."""
    rejected = "".join(
        f"<tr><td>{html.escape(r)}</td><td>{n:,}</td></tr>" for r, n in dataset["rejected_counts"].items()
    )
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Prepared data</title><style>{_STYLE}</style>
<h1>Prepared data</h1>
<p>{dataset["images"]:,} pictures in {dataset["groups"]:,} groups; {dataset["pictures_with_copies"]:,} of them have an exact copy.
{dataset["excluded"]["copy of a test picture"]:,} training pictures are copies of a test picture and stay out of training.
Split {html.escape(dataset["split"])}, seed {dataset["seed"]}, input spec {html.escape(dataset["input_fingerprint"])}.</p>
<h2>Pictures per class and split</h2>{_counts_table(dataset["counts"])}
<h2>Samples</h2><p>Rows: {", ".join(LABELS)}.</p>
<img alt="sample faces, a row per class" src="data:image/png;base64,{_sheet(images, labels, dataset["seed"])}">
<h2>Left out</h2><table><tr><th>reason</th><th>files</th></tr>{rejected or "<tr><td>nothing</td><td>0</td></tr>"}</table>
</html>"""
    path.write_text(page, encoding="utf-8")


def _counts_table(counts: dict[str, Any]) -> str:
    head = "".join(f"<th>{label}</th>" for label in LABELS)
    body = ""
    for source, by_split in counts.items():
        for split in (*SPLITS, EXCLUDED):
            if split in by_split:
                row = by_split[split]
                cells = "".join(f"<td>{row[label]:,}</td>" for label in LABELS)
                body += f"<tr><td>{html.escape(source)} {split}</td>{cells}<td>{sum(row.values()):,}</td></tr>"
    return f"<table><tr><th></th>{head}<th>all</th></tr>{body}</table>"


def _sheet(images: NDArray[np.uint8], labels: NDArray[np.int64], seed: int, columns: int = 16) -> str:
    rng = np.random.default_rng(seed)
    side = images.shape[1]
    sheet = np.full((len(LABELS) * side, columns * side), 255, np.uint8)
    for row in range(len(LABELS)):
        of_class = np.flatnonzero(labels == row)
        chosen = rng.choice(of_class, min(columns, len(of_class)), replace=False)
        for column, i in enumerate(chosen):
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = images[i, :, :, 0]
    return base64.b64encode(cv2.imencode(".png", sheet)[1].tobytes()).decode()
