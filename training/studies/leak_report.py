"""leaks.json, leaks.html and leaks.png: what was counted and trained to show what a split leaks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.data.prepared import Prepared
from edgeemo.version import __version__
from training.runs.sheets import contact_sheet, png
from training.studies.leaks import DRAWS, REFERENCE_PER_CLASS, count_leaks, leaked_pairs
from training.studies.stats import sources_of
from workstation.figures import COLOURS, figure_png, plt
from workstation.html import page, paragraph, picture, section, table
from workstation.text import percent

LEAKS = "leaks.json"
_PAIRS, _COLUMNS = 36, 12


def write_leaks(
    folder: Path, data: Prepared, seed: int, training: dict[str, Any] | None
) -> dict[str, Any]:
    """Count the leaks, write leaks.json, leaks.html and leaks.png into `folder`, and return the
    report.

    `training` is what training.studies.protocols.compare found, or None.
    """
    report = {
        "format": 1,
        "edgeemo": __version__,
        "pictures": len(data.groups),
        "groups": len(np.unique(data.groups)),
        "sources": list(dict.fromkeys(sources_of(data).tolist())),
        "images_sha256": data.dataset["images_sha256"],
        "split": data.dataset["split"],
        "seed": seed,
        "reference_per_class": REFERENCE_PER_CLASS,
        "leaks": count_leaks(data, seed),
        "training": training,
    }
    drawn = leaks_figure(report)
    (folder / "leaks.png").write_bytes(drawn)
    (folder / "leaks.html").write_text(leaks_page(report, data, drawn), encoding="utf-8")
    (folder / LEAKS).write_text(strict.dumps(report), encoding="utf-8")
    return report


def markdown_lines(report: dict[str, Any]) -> Iterator[str]:
    """The report as one markdown table."""
    head, *rows = _cells(report)
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def leaks_page(report: dict[str, Any], data: Prepared, drawn: bytes) -> str:
    """leaks.html: the table, the picture, and pairs of a test picture with its copy in train."""
    head, *rows = _cells(report)
    pairs = leaked_pairs(data, report["seed"], _PAIRS)
    captions = [
        f"{kind} {data.class_names[data.given_labels[i]]}"
        for pair in pairs
        for kind, i in zip(("test", "train"), pair, strict=True)
    ]
    sheet = png(contact_sheet(data.images[pairs.ravel()], _COLUMNS, captions, scale=2))
    counted = paragraph(
        f"{count_of(report['pictures'], 'picture')} in "
        f"{count_of(report['groups'], 'group')} of copies, labels as the sets give them. Shares "
        f"of random splits are means over {DRAWS} draws."
    )
    shown = [
        section(
            "Tested on what was trained on",
            picture(
                sheet, f"{count_of(len(pairs), 'pair')} of a test picture and its copy in train"
            ),
        )
    ]
    return page(
        "What a random split leaks",
        [
            section(
                "Numbers",
                counted,
                picture(drawn, "bar charts; the table has their numbers"),
                table(head, rows),
            )
        ]
        + (shown if len(pairs) else []),
    )


def leaks_figure(report: dict[str, Any]) -> bytes:
    """PNG: shares of test pictures with a copy in train, and accuracies where they were trained."""
    training = report["training"]
    figure, axes = plt.subplots(
        1,
        2 if training else 1,
        figsize=(11 if training else 6, 4.5),
        layout="constrained",
        squeeze=False,
    )
    _draw_shares(axes[0, 0], report["leaks"])
    if training:
        _draw_accuracies(axes[0, 1], training)
    return figure_png(figure)


def _draw_shares(axes: Any, leaks: dict[str, Any]) -> None:
    bars = [
        ("random split", leaks["random"]),
        ("balanced,\nthen random", leaks["balanced"]),
        ("groups\ntogether", leaks["grouped"]),
    ]
    for x, (_, counts) in enumerate(bars):
        if counts is None:
            continue
        all_copies, equal = (
            100 * counts[key] / max(counts["test"], 1) for key in ("with_copy", "equal_pixels")
        )
        axes.bar(x, equal, color=COLOURS[0], label="of equal pixels" if x == 0 else None)
        axes.bar(
            x,
            all_copies - equal,
            bottom=equal,
            color=COLOURS[1],
            label="near copy, stored copy" if x == 0 else None,
        )
        axes.text(x, all_copies + 1, f"{all_copies:.1f} %", ha="center")
    axes.set(
        xticks=range(len(bars)),
        ylim=(0, 100),
        ylabel="%",
        title="Test pictures with a copy in train",
    )
    axes.set_xticklabels([name for name, _ in bars])
    axes.legend(loc="upper right")


def _draw_accuracies(axes: Any, training: dict[str, Any]) -> None:
    shown = {"its own test part": "own_test", "official test part,\nseen by neither": "common_test"}
    for x, key in enumerate(shown.values()):
        for offset, name, colour in ((-0.2, "reference", COLOURS[5]), (0.2, "honest", COLOURS[2])):
            card = training[name][key]
            if card is None:
                continue
            top1, (low, high) = 100 * card["top1"], (100 * bound for bound in card["interval"])
            label = {
                "reference": "balanced, then split at random",
                "honest": "groups split, then train balanced",
            }[name]
            error = [[top1 - low], [high - top1]]
            axes.bar(
                x + offset,
                top1,
                0.38,
                yerr=error,
                capsize=3,
                color=colour,
                label=label if x == 0 else None,
            )
            axes.text(x + offset, high + 1, f"{top1:.1f} %", ha="center")
    axes.set(
        xticks=range(len(shown)),
        ylim=(0, 115),
        yticks=range(0, 101, 20),
        ylabel="top-1, %",
        title="Accuracy that is measured",
    )
    axes.set_xticklabels(shown)
    axes.legend(loc="upper right")


def _cells(report: dict[str, Any]) -> list[list[str]]:
    """The table, head first: a column for each way of splitting."""
    columns = [report["leaks"][name] for name in ("random", "balanced", "grouped")]
    head = [
        "",
        "random split",
        f"{REFERENCE_PER_CLASS:,} of each class, then random split",
        "groups together",
    ]
    rows = [
        [
            "test pictures with a copy in train",
            *(f"{_share(c, 'with_copy')}{_of_how_many(c)}" for c in columns),
        ],
        ["with one of equal pixels", *(_share(c, "equal_pixels") for c in columns)],
    ]
    for source in report["sources"]:
        rows.append(
            [f"of {source}", *(_share(c and c["by_source"][source], "with_copy") for c in columns)]
        )
    if training := report["training"]:
        rows += _training_cells(training)
    return [head, *rows]


def _training_cells(training: dict[str, Any]) -> list[list[str]]:
    """What the two trained networks did, in the columns that their protocols belong to."""
    both = [training["reference"], training["honest"]]
    shares = [
        {"test": t["own_test"]["n"], "with_copy": t["with_copy"]["n"] if t["with_copy"] else 0}
        for t in both
    ]
    trained = (
        f"trained small: {training['pictures']:,} pictures ("
        f"{percent(training['share_of_groups'], 0)} of the groups), {training['per_class']:,} a "
        f"class, {count_of(training['epochs'], 'epoch')}; faces an epoch"
    )
    rows = [
        (trained, [f"{t['trained_on']:,}" for t in both]),
        (
            "its test pictures with a copy in train",
            [_share(share, "with_copy") for share in shares],
        ),
        ("top-1 on its own test part", [_top1(t["own_test"]) for t in both]),
        ("mean recall there", [percent(t["own_test"]["mean_recall"]) for t in both]),
        ("top-1 where a copy is in train", [_top1(t["with_copy"]) for t in both]),
        (
            "the same in the class mix of the next line",
            [percent(t["with_copy_in_the_classes_of_without"]) for t in both],
        ),
        ("top-1 where no copy is in train", [_top1(t["without_copy"]) for t in both]),
        (
            "top-1 on the official test part, kept from both with its copies",
            [_top1(t["common_test"]) for t in both],
        ),
        (
            "mean recall there",
            [percent(t["common_test"] and t["common_test"]["mean_recall"]) for t in both],
        ),
    ]
    return [[name, "", *cells] for name, cells in rows]


def _share(counts: dict[str, Any] | None, key: str) -> str:
    if not counts or not counts["test"]:
        return "-"
    return percent(counts[key] / counts["test"])


def _of_how_many(counts: dict[str, Any] | None) -> str:
    if not counts or not counts["test"]:
        return ""
    copies, tested = (counts[key] / counts["draws"] for key in ("with_copy", "test"))
    return f" ({copies:,.0f} of {tested:,.0f})"


def _top1(card: dict[str, Any] | None) -> str:
    if card is None:
        return "-"
    low, high = card["interval"]
    return f"{percent(card['top1'])} ({percent(low)} to {percent(high)}, n {card['n']:,})"
