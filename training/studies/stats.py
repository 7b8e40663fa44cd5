"""What a prepared folder holds, counted and drawn: classes, sources, splits, copies, conflicts."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.folders import folder_written_beside
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import EXCLUDED, SPLITS, Prepared
from training.runs.sheets import contact_sheet, png
from workstation.figures import COLOURS, figure_png, plt
from workstation.text import percent

Numbers = NDArray[np.int64]
Names = NDArray[np.str_]


def statistics(data: Prepared) -> dict[str, Any]:
    """The numbers of a prepared folder as plain JSON values, counted from its index."""
    sources = sources_of(data)
    names, overlap = source_overlap(data.groups, sources)
    sizes = np.bincount(np.unique(data.groups, return_inverse=True)[1])
    given = _pairs(data.groups, data.given_labels)
    several = np.isin(data.groups, given[:, 0][np.diff(given[:, 0], prepend=-1) == 0])
    return {
        "images": len(data.labels),
        "classes": list(data.class_names),
        "counts": counts(data.labels, data.splits, sources, data.class_names),
        "imbalance": {
            split: imbalance(data.labels[data.splits == split], len(data.class_names))
            for split in SPLITS
            if (data.splits == split).any()
        },
        "groups": len(sizes),
        "pictures_with_copies": int(sizes[sizes > 1].sum()),
        "group_sizes": {str(size): n for size, n in sorted(Counter(sizes.tolist()).items())},
        "sources": names,
        "shared_groups": overlap.tolist(),
        "conflicts": {
            "policy": data.dataset.get("conflicts", {}).get("policy"),
            "groups": len(np.unique(data.groups[several])),
            "pictures": int(several.sum()),
            "changed": int((data.labels != data.given_labels).sum()),
        },
        "excluded": dict(
            Counter(row["reason"] for row in data.rows if row["reason"]).most_common()
        ),
        "ferplus": None if data.votes is None else _ferplus(data),
    }


def sources_of(data: Prepared) -> Names:
    """(N,) source names."""
    return np.array([row["source"] for row in data.rows], np.str_)


def counts(
    labels: Numbers, splits: Names, sources: Names, class_names: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    """Number of pictures by source, split and label; splits without a picture are left out."""
    return {
        str(source): {
            split: _by_name(labels[rows], class_names)
            for split in (*SPLITS, EXCLUDED)
            if (rows := (sources == source) & (splits == split)).any()
        }
        for source in dict.fromkeys(sources.tolist())
    }


def _by_name(labels: Numbers, class_names: Sequence[str]) -> dict[str, int]:
    sizes = np.bincount(labels, minlength=len(class_names)).tolist()
    return dict(zip(class_names, sizes, strict=True))


def source_overlap(groups: Numbers, sources: Names) -> tuple[list[str], Numbers]:
    """Source names, and int64 (n, n): how many groups have a picture in both.

    On the diagonal it is how many have two or more in that one.
    """
    names = list(dict.fromkeys(sources.tolist()))
    group = np.unique(groups, return_inverse=True)[1]
    members = np.zeros((int(group.max()) + 1, len(names)), np.int64)
    np.add.at(members, (group, np.array([names.index(source) for source in sources.tolist()])), 1)
    inside = (members > 0).astype(np.int64)
    overlap = inside.T @ inside
    np.fill_diagonal(overlap, (members > 1).sum(axis=0))
    return names, overlap


def imbalance(labels: Numbers, classes: int) -> float | None:
    """Pictures of the largest class for one of the smallest; None where a class has none."""
    sizes = np.bincount(labels, minlength=classes)
    return float(sizes.max() / sizes.min()) if sizes.min() else None


def stats_lines(stats: dict[str, Any]) -> Iterator[str]:
    """The numbers as lines of text."""
    yield from count_lines(stats["counts"], stats["classes"])
    yield ""
    ratios = (
        f"{split} {'-' if ratio is None else f'{ratio:.1f}'}"
        for split, ratio in stats["imbalance"].items()
    )
    yield f"largest class to smallest: {', '.join(ratios)}"
    yield (
        f"{count_of(stats['images'], 'picture')} in {count_of(stats['groups'], 'group')}; "
        f"{stats['pictures_with_copies']:,} with a copy or near copy"
    )
    sizes = stats["group_sizes"]
    yield "groups by size: " + ", ".join(f"{size}: {n:,}" for size, n in sizes.items())
    yield ""
    yield from _overlap_lines(stats["sources"], stats["shared_groups"])
    yield ""
    conflicts = stats["conflicts"]
    yield (
        f"{count_of(conflicts['groups'], 'group')} of "
        f"{count_of(conflicts['pictures'], 'picture')} with different labels given; policy "
        f"{conflicts['policy']}; {count_of(conflicts['changed'], 'label')} now other than given"
    )
    for reason, n in stats["excluded"].items():
        yield f"{count_of(n, 'picture')} in no split: {reason}"
    if ferplus := stats["ferplus"]:
        yield (
            f"FER+: {count_of(ferplus['voted'], 'picture')} with votes, their copies included; for "
            f"{ferplus['majority']:,} most taggers agree on one of the classes: the given label is "
            f"that one for {percent(ferplus['given_agrees'])}, the settled one for "
            f"{percent(ferplus['label_agrees'])}"
        )


def _overlap_lines(sources: Sequence[str], shared_groups: list[list[int]]) -> Iterator[str]:
    yield "groups with pictures in both sources (diagonal: two or more in that source)"
    width = max(map(len, sources)) + 4
    yield " " * width + "".join(f"{i:>9}" for i in range(1, len(sources) + 1))
    for i, (name, row) in enumerate(zip(sources, shared_groups, strict=True), start=1):
        yield f"{i} {name}".ljust(width) + "".join(f"{n:>9,}" for n in row)


def count_lines(
    counts: dict[str, dict[str, dict[str, int]]], class_names: Sequence[str]
) -> Iterator[str]:
    """A table of pictures by source, split and class."""
    width = max(len("source"), *map(len, counts)) + 2
    columns = [max(10, len(name) + 1) for name in class_names]
    heads = "".join(name.rjust(n) for name, n in zip(class_names, columns, strict=True))
    yield "source".ljust(width) + "split".ljust(11) + heads + "all".rjust(10)
    for source, by_split in counts.items():
        for split, row in by_split.items():
            cells = "".join(
                f"{row[name]:,}".rjust(n) for name, n in zip(class_names, columns, strict=True)
            )
            yield source.ljust(width) + split.ljust(11) + cells + f"{sum(row.values()):>10,}"


def write_pictures(data: Prepared, stats: dict[str, Any], out: Path) -> list[Path]:
    """Write classes.png, groups.png, overlap.png and means.png into `out`; returns their paths."""
    drawn = {
        "classes.png": class_figure(stats["counts"], data.class_names),
        "groups.png": size_figure(stats["group_sizes"]),
        "overlap.png": overlap_figure(stats["sources"], stats["shared_groups"]),
        "means.png": png(mean_faces(data)),
    }
    with folder_written_beside(out) as folder:
        for name, picture in drawn.items():
            (folder / name).write_bytes(picture)
    return [out / name for name in drawn]


def class_figure(counts: dict[str, dict[str, dict[str, int]]], class_names: Sequence[str]) -> bytes:
    """PNG: pictures of each class, stacked by split (left) and by source (right)."""
    by_split = {
        split: _summed((s[split] for s in counts.values() if split in s), class_names)
        for split in (*SPLITS, EXCLUDED)
    }
    by_source = {name: _summed(splits.values(), class_names) for name, splits in counts.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    for axes, parts, title in ((left, by_split, "by split"), (right, by_source, "by source")):
        below = np.zeros(len(class_names))
        for (name, heights), colour in zip(parts.items(), itertools.cycle(COLOURS)):
            if heights.any():
                axes.bar(class_names, heights, bottom=below, label=name, color=colour)
            below += heights
        axes.set(title=f"Pictures per class, {title}")
        axes.tick_params(axis="x", rotation=30)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        # Below the bars, which the names of five sources would cover.
        axes.legend(fontsize=9, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return figure_png(figure)


def size_figure(sizes: dict[str, int]) -> bytes:
    """PNG: how many groups have how many pictures, logarithmic."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    axes.bar([int(size) for size in sizes], list(sizes.values()), color=COLOURS[0])
    axes.set(
        yscale="log",
        xlabel="pictures in a group",
        ylabel="groups",
        title="Sizes of the groups of copies",
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure_png(figure)


def overlap_figure(names: list[str], overlap: list[list[int]]) -> bytes:
    """PNG: a heat map of the groups that two sources share."""
    table = np.array(overlap)
    figure, axes = plt.subplots(figsize=(8, 6.5), layout="constrained")
    axes.imshow(np.log1p(table), cmap="Blues")
    for i, j in np.ndindex(*table.shape):
        dark = np.log1p(table[i, j]) > 0.6 * np.log1p(table.max())
        axes.text(
            j, i, f"{table[i, j]:,}", ha="center", va="center", color="white" if dark else "black"
        )
    axes.set(
        xticks=range(len(names)),
        yticks=range(len(names)),
        title="Groups with pictures in both sources",
    )
    axes.set_xticklabels(names, rotation=30, ha="right")
    axes.set_yticklabels(names)
    axes.set_xlabel("on the diagonal: groups with two or more pictures in that source")
    return figure_png(figure)


def mean_faces(data: Prepared, scale: int = 3) -> NDArray[np.uint8]:
    """uint8 (H, W): the mean picture of each class that occurs, with its name."""
    present = np.unique(data.labels).tolist()
    means = np.stack([data.images[data.labels == label].mean(axis=0) for label in present])
    names = [f"{data.class_names[label]} {(data.labels == label).sum():,}" for label in present]
    return contact_sheet(means.round().astype(np.uint8), len(data.class_names), names, scale)


def _summed(rows: Iterable[dict[str, int]], class_names: Sequence[str]) -> Numbers:
    counted = list(rows)
    return np.array([sum(row[label] for row in counted) for label in class_names])


def _pairs(groups: Numbers, labels: Numbers) -> Numbers:
    """int64 (M, 2): the distinct (group, label), sorted."""
    return np.unique(np.stack([groups, labels], axis=1), axis=0)


def _ferplus(data: Prepared) -> dict[str, Any]:
    votes = group_votes(data)
    majority, known = ferplus_majority(votes, data.class_names)
    return {
        "voted": int((votes >= 0).all(axis=1).sum()),
        "majority": int(known.sum()),
        "given_agrees": _share(data.given_labels[known] == majority[known]),
        "label_agrees": _share(data.labels[known] == majority[known]),
    }


def _share(right: NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None
