"""`report.html` of prepared data: counts, samples, copies, conflicts and what was left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.data.ferplus import ferplus_majority
from edgeemo.data.prepared import EXCLUDED, SPLITS
from training.data.duplicates import exact_groups
from training.fit.targets import unusable_votes
from training.runs.sheets import group_sheet, png
from training.studies.stats import class_figure, source_overlap
from workstation.html import details, heat_table, page, paragraph, picture, section, table, text

# Groups on a sheet, pictures in a row, paths named for each reason.
_ROWS, _COLUMNS, _PATHS = 10, 12, 20


@dataclass(frozen=True)
class Pictures:
    """The prepared pictures."""

    class_names: tuple[str, ...]
    """What label numbers mean."""
    images: NDArray[np.uint8]
    """uint8 (N, H, W, C)."""
    labels: NDArray[np.int64]
    """int64 (N,), what to train on."""
    given_labels: NDArray[np.int64]
    """int64 (N,), what the sets say."""
    splits: NDArray[np.str_]
    """(N,) names of splits, or "excluded"."""
    groups: NDArray[np.int64]
    """int64 (N,), one number for all copies of a picture."""
    sources: NDArray[np.str_]
    """(N,) names of the sets."""
    votes: NDArray[np.int64] | None = None
    """int64 (N, 10) FER+ votes, -1 where unknown."""


def write_report(path: Path, dataset: dict[str, Any], pictures: Pictures) -> None:
    """Write the page from dataset.json and the pictures. Whatever comes from archives is
    escaped.
    """
    sections = [
        _headline(dataset),
        _classes(dataset["counts"], pictures.class_names),
        _samples(pictures, dataset["seed"]),
        _copies(dataset, pictures),
        _conflicts(dataset["conflicts"], pictures),
        _ferplus(pictures),
        _left_out(dataset),
    ]
    path.write_text(page("Prepared data", sections), encoding="utf-8")


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
        f"Split {dataset['split']}, seed {dataset['seed']}, conflicts "
        f"{dataset['conflicts']['policy']}, input spec {dataset['input_fingerprint']}, face "
        f"detector for photos {dataset['detector'] or 'not needed'}, labels of "
        f"{count_of(dataset['reviewed']['pictures'], 'picture')} reviewed by a person."
    )
    sources = [(s["name"], s["kaggle"], s["licence"], s["file"]) for s in dataset["sources"]]
    return section(
        "In numbers",
        paragraph(made),
        table(["what", "number"], numbers),
        table(["source", "on Kaggle", "licence", "file"], sources, "Sources"),
    )


def _classes(counts: dict[str, dict[str, dict[str, int]]], class_names: Sequence[str]) -> str:
    counted = [
        (f"{source}, {split}", by_split[split])
        for source, by_split in counts.items()
        for split in (*SPLITS, EXCLUDED)
        if split in by_split
    ]
    rows = [
        (name, *(row[label] for label in class_names), sum(row.values())) for name, row in counted
    ]
    totals = [sum(row[label] for _, row in counted) for label in class_names]
    return section(
        "Classes",
        picture(
            class_figure(counts, class_names),
            "bar charts of the pictures per class by split and by source; the table has the "
            "numbers",
        ),
        table(["source, split", *class_names, "all"], [*rows, ("all", *totals, sum(totals))]),
    )


def _samples(pictures: Pictures, seed: int) -> str:
    rng = np.random.default_rng([seed, 0])
    rows = [
        rng.permutation(np.flatnonzero(pictures.labels == label))[:16]
        for label in range(len(pictures.class_names))
    ]
    sheet = group_sheet(pictures.images, rows, columns=16, scale=1)
    return section(
        "Samples",
        paragraph(f"Drawn at random, a row for each class: {', '.join(pictures.class_names)}."),
        picture(png(sheet), "sample faces, a row for each class"),
    )


def _copies(dataset: dict[str, Any], pictures: Pictures) -> str:
    counts = dataset["duplicates"]
    several = _members(pictures.groups)
    exact = exact_groups(pictures.images)
    near = [rows for rows in several if (exact[rows] != exact[rows[0]]).any()]
    equal = [rows for rows in several if (exact[rows] == exact[rows[0]]).all()]
    order = np.random.default_rng([dataset["seed"], 1]).permutation(len(near))
    drawn = [near[i] for i in order[:_ROWS]]
    names, overlap = source_overlap(pictures.groups, pictures.sources)
    number = {name: str(i) for i, name in enumerate(names, start=1)}
    sources = ", ".join(f"{i} {name}" for name, i in number.items())
    given = zip(pictures.sources, pictures.given_labels, strict=True)
    captions = np.array([f"{number[s]} {pictures.class_names[g]}" for s, g in given])
    return section(
        "Copies",
        paragraph(
            f"{count_of(counts['near_groups'], 'group')} with near copies (other pixels: "
            "re-encoded, resized, brighter or darker, mirrored, turned, zoomed), "
            f"{counts['exact_groups']:,} more with equal pixels only; the largest has "
            f"{count_of(counts['largest'], 'picture')}. Below each picture: its source "
            f"({sources}) and the label that it was given there. A row is a group, cut after "
            f"{_COLUMNS} pictures."
        ),
        *_sheet("Near copies, the largest groups", pictures, near[:_ROWS], captions),
        *_sheet("Near copies, groups drawn at random", pictures, drawn, captions),
        *_sheet("Equal pixels, the largest groups", pictures, equal[:_ROWS], captions),
        table(
            ["groups with pictures in both", *names],
            [(name, *row) for name, row in zip(names, overlap.tolist(), strict=True)],
            "Copies across sources; on the diagonal, groups with two or more pictures in that "
            "source",
        ),
    )


def _conflicts(conflicts: dict[str, Any], pictures: Pictures) -> str:
    labels, given, names = pictures.labels, pictures.given_labels, pictures.class_names
    groups = [rows for rows in _members(pictures.groups) if (given[rows] != given[rows[0]]).any()]
    captions = np.array([names[label] for label in given], dtype="U120")
    for i in np.flatnonzero(labels != given):
        captions[i] = f"{names[given[i]]} > {names[labels[i]]}"
    for i in np.flatnonzero(pictures.splits == EXCLUDED):
        captions[i] += ", out"
    return section(
        "Conflicting labels",
        paragraph(
            f"{count_of(conflicts['groups'], 'group')} of "
            f"{count_of(conflicts['pictures'], 'picture')} with different labels. Policy "
            f"{conflicts['policy']}: {count_of(conflicts['changed'], 'label')} changed, "
            f"{count_of(conflicts['dropped'], 'picture')} dropped."
        ),
        heat_table(
            "settled, given",
            names,
            conflicts["matrix"],
            "Pictures of these groups: label that the group settles on (row), label given (column)",
        ),
        paragraph(
            "Below each picture: the label it was given, > the label it has now; out: it is in no "
            "split. Labels of an official test part never change."
        ),
        *_sheet(
            "Groups with different labels, the largest", pictures, groups[: 2 * _ROWS], captions
        ),
    )


def _ferplus(pictures: Pictures) -> str:
    if pictures.votes is None:
        return ""
    known = (pictures.votes >= 0).all(axis=1)
    votes, given = pictures.votes[known], pictures.given_labels[known]
    majority, agreed = ferplus_majority(votes, pictures.class_names)
    unusable = unusable_votes(votes, pictures.class_names).tolist()
    reasons = Counter(reason for reason in unusable if reason)
    rows = [
        ("pictures with votes of their own", len(votes)),
        ("most taggers agree on one of the classes", int(agreed.sum())),
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
        (
            table(["reason", *sources, "all"], rows, "Files that are not in the prepared data")
            if rows
            else paragraph("No file.")
        ),
        *(_paths(reason, n, rejected) for reason, n in dataset["rejected_counts"].items()),
        (
            table(["reason", "pictures"], excluded, "Pictures in the folder that are in no split")
            if excluded
            else ""
        ),
    )


def _paths(reason: str, count: int, rejected: list[dict[str, str]]) -> str:
    rows = [row for row in rejected if row["reason"] == reason][:_PATHS]
    names = (text(f"{row['source']}: {row['path']}") for row in rows)
    items = "".join(f"<li><code>{name}</code></li>" for name in names)
    return details(f"{reason}: {len(rows)} of {count:,}", f"<ul>{items}</ul>")


def _sheet(
    title: str, pictures: Pictures, groups: list[NDArray[np.int64]], captions: NDArray[np.str_]
) -> list[str]:
    if not groups:
        return []
    sheet = png(group_sheet(pictures.images, groups, captions, columns=_COLUMNS))
    return [
        f"<h3>{text(title)}</h3>",
        picture(sheet, f"{title}: {count_of(len(groups), 'row')} of faces"),
    ]


def _members(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Row numbers of each group of two or more, largest group first."""
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return sorted((rows for rows in members if len(rows) > 1), key=len, reverse=True)
