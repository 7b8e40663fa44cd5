"""`report.html` of prepared data: one self-contained page with counts, samples, copies, conflicts and what was left out."""

import base64
import html
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority
from edgeemo.data.prepared import EXCLUDED, SPLITS
from training.data.duplicates import exact_groups
from training.fit.targets import unusable_votes
from training.studies.sheets import group_sheet, png
from training.studies.stats import class_figure, source_overlap

_STYLE = """
:root { color-scheme: light dark; --line: #d8dee6; --heat: 0, 114, 178; }
@media (prefers-color-scheme: dark) { :root { --line: #3a4450; --heat: 86, 180, 233; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line); } .wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; } th, td { padding: .2rem .7rem; text-align: right; }
tr { border-bottom: 1px solid var(--line); } td.text, th.text { text-align: left; }
img { max-width: 100%; background: #fff; border-radius: 4px; padding: 4px; box-sizing: border-box; }
code { overflow-wrap: anywhere; } summary { cursor: pointer; }
"""
_ROWS, _COLUMNS, _PATHS = (
    10,
    12,
    20,
)  # groups on a sheet, pictures in a row, paths named for each reason


@dataclass(frozen=True)
class Pictures:
    """The prepared pictures: images uint8 (N, S, S, 1), and per picture label numbers, split, group and source name.

    `votes` int64 (N, 10) are FER+'s, -1 where unknown.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    given_labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    groups: NDArray[np.int64]
    sources: NDArray[np.str_]
    votes: NDArray[np.int64] | None = None


def write_report(path: Path, dataset: dict[str, Any], pictures: Pictures) -> None:
    """Write the page from dataset.json and the pictures. Whatever comes from archives is escaped."""
    sections = [
        _headline(dataset),
        _classes(dataset["counts"]),
        _samples(pictures, dataset["seed"]),
        _copies(dataset, pictures),
        _conflicts(dataset["conflicts"], pictures),
        _ferplus(pictures),
        _left_out(dataset),
    ]
    path.write_text(page("Prepared data", sections), encoding="utf-8")


def page(title: str, sections: Iterable[str]) -> str:
    """A whole HTML page of sections that are HTML already."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>\n<h1>{_text(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A section of parts that are HTML already."""
    return f"<section><h2>{_text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{_text(text)}</p>"


def picture(data: bytes, alt: str) -> str:
    """A PNG, inside the page."""
    return f'<p><img alt="{_text(alt)}" src="data:image/png;base64,{base64.b64encode(data).decode()}"></p>'


def table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A table of plain values; whole numbers are grouped in thousands, and a row's first cell is its heading."""
    text = [i == 0 or any(not isinstance(row[i], int) for row in rows) for i in range(len(head))]
    heads = "".join(
        f'<th scope="col"{_align(left)}>{_text(h)}</th>' for h, left in zip(head, text, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row"{_align(True)}>{_text(row[0])}</th>'
        + "".join(
            f"<td{_align(left)}>{_number(v)}</td>"
            for v, left in zip(row[1:], text[1:], strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    titled = f"<caption>{_text(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{titled}<thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _headline(dataset: dict[str, Any]) -> str:
    used = dataset["images"] - sum(dataset["excluded"].values())
    numbers = [
        ("pictures", dataset["images"]),
        ("of them in a split", used),
        ("groups of copies, a single picture counted as one", dataset["groups"]),
        ("pictures with a copy or near copy", dataset["pictures_with_copies"]),
        ("groups whose pictures were given different labels", dataset["conflicts"]["groups"]),
        ("files left out", sum(dataset["rejected_counts"].values())),
    ]
    made = (
        f"Split {dataset['split']}, seed {dataset['seed']}, conflicts {dataset['conflicts']['policy']}, input spec "
        f"{dataset['input_fingerprint']}, face detector for photos {dataset['detector'] or 'not needed'}, "
        f"labels of {dataset['reviewed']['pictures']:,} pictures reviewed by a person."
    )
    sources = [(s["name"], s["kaggle"], s["licence"], s["file"]) for s in dataset["sources"]]
    return section(
        "In numbers",
        paragraph(made),
        table(["what", "number"], numbers),
        table(["source", "on Kaggle", "licence", "file"], sources, "Sources"),
    )


def _classes(counts: dict[str, dict[str, dict[str, int]]]) -> str:
    counted = [
        (f"{source}, {split}", by_split[split])
        for source, by_split in counts.items()
        for split in (*SPLITS, EXCLUDED)
        if split in by_split
    ]
    rows = [(name, *(row[label] for label in LABELS), sum(row.values())) for name, row in counted]
    totals = [sum(row[label] for _, row in counted) for label in LABELS]
    return section(
        "Classes",
        picture(
            class_figure(counts),
            "bar charts of the pictures per class by split and by source; the table has the numbers",
        ),
        table(["source, split", *LABELS, "all"], [*rows, ("all", *totals, sum(totals))]),
    )


def _samples(pictures: Pictures, seed: int) -> str:
    rng = np.random.default_rng([seed, 0])
    rows = [
        rng.permutation(np.flatnonzero(pictures.labels == label))[:16]
        for label in range(len(LABELS))
    ]
    sheet = group_sheet(pictures.images, rows, columns=16, scale=1)
    return section(
        "Samples", paragraph(f"Drawn at random, a row for each class: {', '.join(LABELS)}."),
        picture(png(sheet), "sample faces, a row for each class"),
    )  # fmt: skip


def _copies(dataset: dict[str, Any], pictures: Pictures) -> str:
    found = dataset["duplicates"]
    several = _members(pictures.groups)
    exact = exact_groups(pictures.images)
    near = [rows for rows in several if (exact[rows] != exact[rows[0]]).any()]
    equal = [rows for rows in several if (exact[rows] == exact[rows[0]]).all()]
    drawn = [
        near[i] for i in np.random.default_rng([dataset["seed"], 1]).permutation(len(near))[:_ROWS]
    ]
    names, overlap = source_overlap(pictures.groups, pictures.sources)
    number = {name: str(i) for i, name in enumerate(names, start=1)}
    captions = np.array(
        [
            f"{number[s]} {LABELS[g]}"
            for s, g in zip(pictures.sources, pictures.given_labels, strict=True)
        ]
    )
    return section(
        "Copies",
        paragraph(
            f"{found['near_groups']:,} groups hold near copies (other pixels: re-encoded, resized, brighter or darker, mirrored, turned, "
            f"zoomed), {found['exact_groups']:,} more hold equal pixels only; the largest has {found['largest']:,} pictures. Below each "
            f"picture: its source ({', '.join(f'{i} {name}' for name, i in number.items())}) and the label that it was given there. "
            f"A row is a group, cut after {_COLUMNS} pictures."
        ),
        *_sheet("Near copies, the largest groups", pictures, near[:_ROWS], captions),
        *_sheet("Near copies, groups drawn at random", pictures, drawn, captions),
        *_sheet("Equal pixels, the largest groups", pictures, equal[:_ROWS], captions),
        table(
            ["groups with pictures in both", *names],
            [(name, *row) for name, row in zip(names, overlap.tolist(), strict=True)],
            "Copies across sources; on the diagonal, groups with two or more pictures in that source",
        ),
    )


def _conflicts(conflicts: dict[str, Any], pictures: Pictures) -> str:
    labels, given = pictures.labels, pictures.given_labels
    found = [rows for rows in _members(pictures.groups) if (given[rows] != given[rows[0]]).any()]
    captions = np.array([LABELS[label] for label in given], dtype="U40")
    for i in np.flatnonzero(labels != given):
        captions[i] = f"{LABELS[given[i]]} > {LABELS[labels[i]]}"
    for i in np.flatnonzero(pictures.splits == EXCLUDED):
        captions[i] += ", out"
    return section(
        "Conflicting labels",
        paragraph(
            f"{conflicts['groups']:,} groups of {conflicts['pictures']:,} pictures carry different labels. Policy {conflicts['policy']}: "
            f"{conflicts['changed']:,} labels changed, {conflicts['dropped']:,} pictures dropped."
        ),
        _matrix(conflicts["matrix"]),
        paragraph(
            "Below each picture: the label it was given, > the label it has now; out: it is in no split. "
            "Labels of an official test part never change."
        ),
        *_sheet(
            "Groups with different labels, the largest", pictures, found[: 2 * _ROWS], captions
        ),
    )


def _ferplus(pictures: Pictures) -> str:
    if pictures.votes is None:
        return ""
    known = (pictures.votes >= 0).all(axis=1)
    votes, given = pictures.votes[known], pictures.given_labels[known]
    majority, agreed = ferplus_majority(votes)
    reasons = Counter(reason for reason in unusable_votes(votes).tolist() if reason)
    rows = [
        ("pictures with votes of their own", len(votes)),
        ("most taggers agree on one of the seven", int(agreed.sum())),
        ("of these, the given label is another", int((given[agreed] != majority[agreed]).sum())),
        *((f"left out with --labels ferplus: {reason}", n) for reason, n in reasons.most_common()),
    ]
    return section("FER+ votes", table(["what", "pictures"], rows))


def _left_out(dataset: dict[str, Any]) -> str:
    rejected, sources = dataset["rejected"], [source["name"] for source in dataset["sources"]]
    by_source = Counter((row["reason"], row["source"]) for row in rejected)
    rows = [
        (reason, *(by_source[reason, source] for source in sources), n)
        for reason, n in dataset["rejected_counts"].items()
    ]
    excluded = [(reason, n) for reason, n in dataset["excluded"].items()]
    return section(
        "Left out",
        table(["reason", *sources, "all"], rows, "Files that are not in the prepared data")
        if rows
        else paragraph("No file."),
        *(_paths(reason, n, rejected) for reason, n in dataset["rejected_counts"].items()),
        table(["reason", "pictures"], excluded, "Pictures in the folder that are in no split")
        if excluded
        else "",
    )


def _paths(reason: str, count: int, rejected: list[dict[str, str]]) -> str:
    found = [f"{row['source']}: {row['path']}" for row in rejected if row["reason"] == reason][
        :_PATHS
    ]
    items = "".join(f"<li><code>{_text(name)}</code></li>" for name in found)
    return f"<details><summary>{_text(reason)}: {len(found)} of {count:,}</summary><ul>{items}</ul></details>"


def _matrix(matrix: list[list[int]]) -> str:
    largest = max(max(row) for row in matrix) or 1
    rows = "".join(
        f'<tr><th scope="row" class="text">{label}</th>'
        + "".join(
            f'<td style="background: rgba(var(--heat), {0.6 * n / largest:.2f})">{n:,}</td>'
            for n in row
        )
        + "</tr>\n"
        for label, row in zip(LABELS, matrix, strict=True)
    )
    heads = "".join(f'<th scope="col">{label}</th>' for label in LABELS)
    return (
        '<div class="wide"><table><caption>Pictures of these groups: label that the group settles on (row), label given (column)'
        f'</caption><thead><tr><th scope="col" class="text">settled, given</th>{heads}</tr></thead><tbody>\n{rows}</tbody></table></div>'
    )


def _sheet(
    title: str, pictures: Pictures, groups: list[NDArray[np.int64]], captions: NDArray[np.str_]
) -> list[str]:
    if not groups:
        return []
    sheet = png(group_sheet(pictures.images, groups, captions, columns=_COLUMNS))
    return [f"<h3>{_text(title)}</h3>", picture(sheet, f"{title}: {len(groups)} rows of faces")]


def _members(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Row numbers of each group of two or more, largest group first."""
    order = np.argsort(groups, kind="stable")
    found = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return sorted((rows for rows in found if len(rows) > 1), key=len, reverse=True)


def _align(left: bool) -> str:
    return ' class="text"' if left else ""


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    # A file name that is no UTF-8 comes as surrogates, which cannot be written.
    return html.escape(str(value).encode("utf-8", "replace").decode())
