"""What a review leaves for a person: review.csv to fill in, review.html to look at, sheets."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import written_beside
from edgeemo.data.prepared import Prepared
from training.data.reviewed import DECISIONS
from training.runs.sheets import contact_sheet, png
from training.studies.ranking import Ranking
from workstation.html import image, page, paragraph, text
from workstation.text import percent

CSV, PAGE = "review.csv", "review.html"
COLUMNS = (
    "rank", "source", "path", "sha256", "group", "label", "suggestion", "quality", "confidence",
    "decision",
)  # fmt: skip
_SHEET_COLUMNS, _SHEET_ROWS = 10, 6
_STYLE = """
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .8rem; }
figure img { width: 100%; image-rendering: pixelated; }
"""


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """What review.json says, for people."""
    by_label = ", ".join(f"{n:,} {label}" for label, n in summary["suspects_by_label"].items() if n)
    yield (
        f"{count_of(summary['pictures'], 'picture')}, out-of-fold top-1 "
        f"{percent(summary['out_of_fold_top1'], 2)}; "
        f"{count_of(summary['suspects'], 'suspect')} ({by_label or 'no label is doubted'})"
    )
    check = summary["ferplus"]
    if check is None:
        yield (
            "no FER+ votes of these pictures are known, so the suspects are not checked against "
            "them"
        )
        return
    low, high = (percent(bound) for bound in check["interval"])
    lift = f"{check['lift']:.2f} times the base rate" if check["lift"] else "against a base rate"
    yield (
        f"FER+ votes contradict {check['contradicted']:,} of "
        f"{count_of(check['suspects_with_votes'], 'suspect')}: precision "
        f"{percent(check['precision'])} (95 % interval {low} to {high}), "
        f"{lift} "
        f"of {percent(check['base_rate'])} over "
        f"{count_of(check['pictures_with_votes'], 'picture')}; the "
        f"suggestion agrees with them for {check['suggestion_agrees']:,}"
    )
    if summary["recipe"]["labels"] != "fer2013":
        yield (
            "the networks were fitted to FER+ votes of other pictures, so this check is not "
            "independent of them"
        )


def write_csv(path: Path, data: Prepared, suspects: Ranking) -> None:
    """The suspects, the most suspicious first, with an empty column for a person's decision."""
    with written_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for position, row in enumerate(suspects.rows):
            index = data.rows[row]
            writer.writerow(
                [
                    position + 1,
                    *(_no_formula(index[name]) for name in ("source", "path")),
                    *(index[name] for name in ("sha256", "group", "label")),
                    data.class_names[suspects.suggestions[position]],
                    f"{suspects.quality[position]:.6f}",
                    f"{suspects.confidence[position]:.6f}",
                    "",
                ]
            )


def write_sheets(out: Path, data: Prepared, ranking: Ranking) -> None:
    """sheet_LABEL.png: each label's least trusted pictures, with their suggestion and quality."""
    shown = _SHEET_COLUMNS * _SHEET_ROWS
    for number, label in enumerate(data.class_names):
        chosen = ranking[np.flatnonzero(data.labels[ranking.rows] == number)[:shown]]
        captions = [
            f"{data.class_names[suggestion]} {quality:.3f}"
            for suggestion, quality in zip(chosen.suggestions, chosen.quality, strict=True)
        ]
        sheet = contact_sheet(data.images[chosen.rows], _SHEET_COLUMNS, captions, scale=2)
        with written_beside(out / f"sheet_{_file_name(label)}.png") as part:
            part.write_bytes(png(sheet))


def write_page(path: Path, data: Prepared, suspects: Ranking, summary: dict[str, Any]) -> None:
    """review.html: the suspects' pictures, in the order of review.csv."""
    choices = f"{' or '.join(DECISIONS)}, or one of {', '.join(data.class_names)}"
    figures = "".join(_figure(data, suspects, position) for position in range(len(suspects.rows)))
    sections = [
        *(paragraph(line) for line in summary_lines(summary)),
        (
            f"<p>Below: rank in <code>{CSV}</code>, the given label, the suggestion, and the"
            f" probabilities of both. Fill in the column <code>decision</code>: {text(choices)};"
            " what stays empty changes nothing. Then <code>python -m training prepare ..."
            f" --reviewed {text(path.parent / CSV)}</code></p>"
        ),
        f'<div class="faces">{figures}</div>',
    ]
    with written_beside(path) as part:
        part.write_text(page("Label review", sections, _STYLE), encoding="utf-8")


def _figure(data: Prepared, suspects: Ranking, position: int) -> str:
    row = suspects.rows[position]
    pixels = np.asarray(data.images[row])
    face = png(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    given, suggestion = (
        text(data.class_names[label])
        for label in (data.labels[row], suspects.suggestions[position])
    )
    return (
        f"<figure>{image(face, data.rows[row]['path'])}<figcaption>{position + 1}: <s>{given}</s> "
        f"{suggestion}<br>{suspects.quality[position]:.3f} {suspects.confidence[position]:.3f}"
        "</figcaption></figure>"
    )


def _no_formula(words: str) -> str:
    """A name out of an archive as a cell that no spreadsheet takes for a formula."""
    return f"./{words}" if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words


def _file_name(label: str) -> str:
    """A label as a part of a file's name."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in label)
