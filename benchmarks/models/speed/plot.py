"""Accuracy against cost on each kind of processor, and beside what is published: one picture.

python -m benchmarks.models.speed.measure PEER --aarch64 ROOT --json speed.json
python -m benchmarks.models.family prepared/ PEER --json family.json
python -m benchmarks.models.speed.plot speed.json family.json --out docs/images/speed.png

Cost is a ratio to the peer's, on the Cortex-M4, where that does not run, millions of instructions.
Accuracy is of int8 on the test split, a picture once. A point on a line is beaten by no other in
both. `NAME-fer2013` stands for the column of FER-2013's labels, the others for FER+'s.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from edgeemo.cli import shell
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from workstation.figures import COLOURS, figure_png, plt

_LITERATURE = "-fer2013"
_PEER = "mini_XCEPTION"
_SHOWN = {
    "avx2_ms": "AVX2 without VNNI, time",
    "here_ms": "AVX-512 VNNI, time",
    "cortex-a72": "Cortex-A72 (Pi 4), instructions",
    "cortex-a76": "Cortex-A76 (Pi 5), instructions",
    "cortex-m4": "Cortex-M4 (C), instructions",
}
"""Panels, by what was measured."""


@dataclass(frozen=True)
class Published:
    """A figure of others on FER-2013."""

    name: str
    """What its authors call it."""
    parameters: float
    """As they say; of VGG19 and ResNet18 counted from their code."""
    top1: float
    """Per cent."""
    label: tuple[int, int]
    """Where its name stands, in points from it."""


PUBLISHED = (
    Published("mini_XCEPTION (2017)", 60e3, 66, (5, -3)),
    Published("TinyFER-Lite (2026)", 932_202, 67.07, (0, -12)),
    Published("Light-NTWRN (2022)", 10.14e6, 73.21, (-6, -3)),
    Published("ResNet18 (2018)", 11.2e6, 71.19, (-6, -3)),
    Published("VGG19 (2018)", 20e6, 71.50, (-6, 6)),
)
"""docs/speed.md says where each stands."""


@dataclass(frozen=True)
class Series:
    """One measure of accuracy."""

    label: str
    """In the legend."""
    marker: str
    """Matplotlib's."""
    colour: str
    """Of points and line."""
    values: Mapping[str, float]
    """Per cent, by a model's name; the peer's under its file's stem."""


@click.command()
@click.argument("speed", type=click.Path(path_type=Path, exists=True))
@click.argument("family", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The picture (PNG).")
def main(speed: Path, family: Path, out: Path) -> None:
    """Draw what measure (SPEED) and family (FAMILY) wrote as JSON."""
    check_output(out, (speed, family))
    costs, cards = json.loads(speed.read_text()), json.loads(family.read_text())["models"]
    with written_beside(out) as part:
        part.write_bytes(drawn(costs, cards))


def drawn(costs: Mapping[str, Any], cards: Mapping[str, Any]) -> bytes:
    """The picture as PNG."""
    peer, models = costs["peer"], costs["models"]
    every = series({name.removesuffix(".tflite"): card for name, card in cards.items()})
    measured = {key for row in models.values() for key in row}
    shown = [key for key in _SHOWN if key in measured]
    figure, grid = plt.subplots(2, 3, figsize=(12, 7.6), layout="constrained")
    *panels, last = grid.flat
    for panel in panels[len(shown) :]:
        panel.axis("off")
    for panel, key in zip(panels, shown, strict=False):
        rows = {name: row[key] for name, row in models.items() if key in row}
        if peer in rows:
            costs_here, unit = {name: ratio for name, (_, ratio) in rows.items()}, _PEER
        else:
            costs_here, unit = {name: value / 1e6 for name, (value, _) in rows.items()}, ""
        _panel(panel, costs_here, every, peer)
        panel.set_title(_SHOWN[key], fontsize=10)
        panel.set_xlabel(f"1 = {unit}'s" if unit else "millions", fontsize=8)
    _published(last, cards)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    return figure_png(figure)


def series(cards: Mapping[str, Any]) -> list[Series]:
    """The measures of accuracy of family's JSON."""
    top1, recall, literature = {}, {}, {}
    for name, card in cards.items():
        int8, ours = card["int8"], "by_prior" in card
        if not name.endswith(_LITERATURE):
            at = card["by_prior"]["ferplus"]["default"] if ours else _of_peer(int8["ferplus"])
            top1[name], recall[name] = 100 * at["top1"], 100 * at["mean_recall"]
        if name.endswith(_LITERATURE) or not ours:
            literature[name] = 100 * int8["fer2013"]["top1"]
    return [
        Series("FER+ majority, top-1", "o", COLOURS[0], top1),
        Series("FER+ majority, mean recall", "s", COLOURS[1], recall),
        Series("FER-2013 labels, top-1 (NAME-fer2013)", "^", COLOURS[2], literature),
    ]


def _of_peer(card: Mapping[str, Any]) -> dict[str, float]:
    recalls = list(card["per_class_recall"].values())
    return {"top1": card["top1"], "mean_recall": float(np.mean(recalls))}


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those points (cost, accuracy) that no other beats in both, the cheapest first."""
    kept: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or accuracy > kept[-1][1]:
            kept.append((cost, accuracy))
    return kept


def _panel(panel: Any, cost: Mapping[str, float], every: list[Series], peer: str) -> None:
    for one in every:
        points = {name: (cost[name], value) for name, value in one.values.items() if name in cost}
        theirs = points.pop(peer, None)
        line = {"color": one.colour, "marker": one.marker, "markersize": 5}
        panel.plot(*zip(*points.values(), strict=True), linestyle="", label=one.label, **line)
        if theirs:
            panel.plot(*theirs, linestyle="", markerfacecolor="none", **line)
        best = front([*points.values(), *([theirs] if theirs else [])])
        panel.plot(*zip(*best, strict=True), color=one.colour, linewidth=1)
    for name, where in cost.items():
        if not name.endswith(_LITERATURE):
            panel.axvline(where, color="0.85", linewidth=0.8, zorder=0)
            panel.annotate(
                _PEER if name == peer else name,
                (where, 52.5),
                rotation=90,
                fontsize=8,
                va="bottom",
                ha="right",
            )
    _axes(panel, (52, 93))


def _axes(panel: Any, limits: tuple[float, float]) -> None:
    panel.set_xscale("log")
    panel.margins(x=0.1)
    panel.set_ylim(*limits)
    panel.set_ylabel("%", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter("{x:g}")
    panel.grid(axis="y", color="0.92")


def _published(panel: Any, cards: Mapping[str, Any]) -> None:
    colour = COLOURS[2]
    for name, card in cards.items():
        if name.endswith(_LITERATURE):
            at = card["parameters"], 100 * card["int8"]["fer2013"]["top1"]
            panel.plot(*at, linestyle="", marker="^", color=colour)
            panel.annotate(name, at, (0, 6), textcoords="offset points", fontsize=8)
    for one in PUBLISHED:
        panel.plot(one.parameters, one.top1, linestyle="", marker="x", color="0.3")
        panel.annotate(
            one.name,
            (one.parameters, one.top1),
            one.label,
            textcoords="offset points",
            fontsize=8,
            ha="right" if one.parameters > 2e6 else "left",
        )
    panel.set_title("FER-2013 as published (x), top-1", fontsize=10)
    panel.set_xlabel("million parameters", fontsize=8)
    _axes(panel, (60, 76))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}")


if __name__ == "__main__":
    shell.run(main, "benchmarks.models.speed.plot")
