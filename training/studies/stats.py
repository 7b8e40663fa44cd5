"""What a prepared folder holds, counted and drawn: classes, sources, splits, groups, copies across sources, conflicts."""

import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import EXCLUDED, SPLITS, Prepared
from training.studies.sheets import contact_sheet, png

# Okabe and Ito's palette, which colour-blind people can tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
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
        "counts": counts(data.labels, data.splits, sources),
        "imbalance": {
            split: imbalance(data.labels[data.splits == split])
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


def counts(labels: Numbers, splits: Names, sources: Names) -> dict[str, dict[str, dict[str, int]]]:
    """Number of pictures by source, split and label; splits without a picture are left out."""
    return {
        str(source): {
            split: dict(
                zip(LABELS, np.bincount(labels[rows], minlength=len(LABELS)).tolist(), strict=True)
            )
            for split in (*SPLITS, EXCLUDED)
            if (rows := (sources == source) & (splits == split)).any()
        }
        for source in dict.fromkeys(sources.tolist())
    }


def source_overlap(groups: Numbers, sources: Names) -> tuple[list[str], Numbers]:
    """Source names, and int64 (n, n): how many groups have a picture in both; on the diagonal, two or more in that one."""
    names = list(dict.fromkeys(sources.tolist()))
    group = np.unique(groups, return_inverse=True)[1]
    members = np.zeros((int(group.max()) + 1, len(names)), np.int64)
    np.add.at(members, (group, np.array([names.index(source) for source in sources.tolist()])), 1)
    inside = (members > 0).astype(np.int64)
    overlap = inside.T @ inside
    np.fill_diagonal(overlap, (members > 1).sum(axis=0))
    return names, overlap


def imbalance(labels: Numbers) -> float | None:
    """Pictures of the largest class for one of the smallest; None where a class has none."""
    sizes = np.bincount(labels, minlength=len(LABELS))
    return float(sizes.max() / sizes.min()) if sizes.min() else None


def stats_lines(stats: dict[str, Any]) -> Iterator[str]:
    """The numbers as lines of text."""
    yield from count_lines(stats["counts"])
    yield ""
    ratios = (
        f"{split} {'-' if ratio is None else f'{ratio:.1f}'}"
        for split, ratio in stats["imbalance"].items()
    )
    yield f"largest class to smallest: {', '.join(ratios)}"
    yield f"{stats['images']:,} pictures in {stats['groups']:,} groups; {stats['pictures_with_copies']:,} have a copy or near copy"
    sizes = stats["group_sizes"]
    yield "groups by size: " + ", ".join(f"{size}: {n:,}" for size, n in sizes.items())
    yield ""
    yield "groups with pictures in both sources (diagonal: two or more in that source)"
    width = max(map(len, stats["sources"])) + 2
    yield " " * (width + 2) + "".join(f"{i:>9}" for i in range(1, len(stats["sources"]) + 1))
    for i, (name, row) in enumerate(
        zip(stats["sources"], stats["shared_groups"], strict=True), start=1
    ):
        yield f"{i} {name}".ljust(width + 2) + "".join(f"{n:>9,}" for n in row)
    yield ""
    conflicts = stats["conflicts"]
    yield (
        f"{conflicts['groups']:,} groups of {conflicts['pictures']:,} pictures were given different labels; policy "
        f"{conflicts['policy']}; {conflicts['changed']:,} labels differ from the given ones"
    )
    for reason, n in stats["excluded"].items():
        yield f"{n:,} pictures in no split: {reason}"
    if ferplus := stats["ferplus"]:
        yield (
            f"FER+: {ferplus['voted']:,} pictures with votes, their copies included; for {ferplus['majority']:,} most taggers agree on "
            f"one of the seven: the given label is that one for {_percent(ferplus['given_agrees'])}, the settled one for {_percent(ferplus['label_agrees'])}"
        )


def count_lines(counts: dict[str, dict[str, dict[str, int]]]) -> Iterator[str]:
    """A table of pictures by source, split and class."""
    width = max(map(len, counts)) + 2
    yield (
        "source".ljust(width)
        + "split".ljust(11)
        + "".join(label.rjust(10) for label in LABELS)
        + "all".rjust(10)
    )
    for source, by_split in counts.items():
        for split, row in by_split.items():
            cells = "".join(f"{row[label]:>10,}" for label in LABELS)
            yield source.ljust(width) + split.ljust(11) + cells + f"{sum(row.values()):>10,}"


def write_pictures(data: Prepared, stats: dict[str, Any], out: Path) -> list[Path]:
    """Write classes.png, groups.png, overlap.png and means.png into `out`, and return their paths."""
    drawn = {
        "classes.png": class_figure(stats["counts"]),
        "groups.png": size_figure(stats["group_sizes"]),
        "overlap.png": overlap_figure(stats["sources"], stats["shared_groups"]),
        "means.png": png(mean_faces(data)),
    }
    for name, picture in drawn.items():
        with written_beside(out / name) as part:
            part.write_bytes(picture)
    return [out / name for name in drawn]


def class_figure(counts: dict[str, dict[str, dict[str, int]]]) -> bytes:
    """PNG: pictures of each class, stacked by split (left) and by source (right)."""
    by_split = {
        split: _summed([splits[split] for splits in counts.values() if split in splits])
        for split in (*SPLITS, EXCLUDED)
    }
    by_source = {name: _summed(splits.values()) for name, splits in counts.items()}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    for axes, parts, title in ((left, by_split, "by split"), (right, by_source, "by source")):
        below = np.zeros(len(LABELS))
        for (name, heights), colour in zip(parts.items(), itertools.cycle(COLOURS)):
            if heights.any():
                axes.bar(LABELS, heights, bottom=below, label=name, color=colour)
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
    present = [label for label in range(len(LABELS)) if (data.labels == label).any()]
    means = np.stack([data.images[data.labels == label].mean(axis=0) for label in present])
    names = [f"{LABELS[label]} {(data.labels == label).sum():,}" for label in present]
    return contact_sheet(means.round().astype(np.uint8), len(LABELS), names, scale)


def figure_png(figure: Any) -> bytes:
    """The PNG of a matplotlib figure, which is closed."""
    buffer = io.BytesIO()
    # Without matplotlib's version in it, so that equal data give equal files.
    figure.savefig(buffer, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def _summed(rows: Iterable[dict[str, int]]) -> Numbers:
    counted = list(rows)
    return np.array([sum(row[label] for row in counted) for label in LABELS])


def _pairs(groups: Numbers, labels: Numbers) -> Numbers:
    """int64 (M, 2): the distinct (group, label), sorted."""
    return np.unique(np.stack([groups, labels], axis=1), axis=0)


def _ferplus(data: Prepared) -> dict[str, Any]:
    votes = group_votes(data)
    majority, known = ferplus_majority(votes)
    return {
        "voted": int((votes >= 0).all(axis=1).sum()),
        "majority": int(known.sum()),
        "given_agrees": _share(data.given_labels[known] == majority[known]),
        "label_agrees": _share(data.labels[known] == majority[known]),
    }


def _share(right: NDArray[np.bool_]) -> float | None:
    return float(right.mean()) if len(right) else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
