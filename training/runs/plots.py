"""Pictures of a run: learning curves, confusion matrix and reliability diagram."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from edgeemo.contract.quantize import softmax
from edgeemo.contract.run import CURVES
from edgeemo.proof.evaluation import expected_calibration_error
from workstation.figures import Figure, plt, save_figure
from workstation.text import percent

_BINS, _PANELS = 10, 4  # of scores; diagrams side by side


def plot_curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write curves.png: loss and validation top-1 over the epochs."""
    save_figure(curves(history), path / CURVES)


def curves(history: Sequence[dict[str, Any]]) -> Figure:
    """Loss and validation top-1 and macro-F1 over the epochs, of rows of history.csv."""
    epochs = [row["epoch"] for row in history]
    figure: Figure
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    alone = {"marker": "o"} if len(epochs) == 1 else {}  # no line joins a single point
    left.plot(epochs, [row["loss"] for row in history], label="training (augmented)", **alone)
    left.plot(epochs, [row["validation_loss"] for row in history], label="validation", **alone)
    left.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
    top1, f1 = (
        [100 * row[f"validation_{what}"] for row in history] for what in ("top1", "macro_f1")
    )
    right.plot(epochs, top1, label="top-1", **alone)
    right.plot(epochs, f1, label="macro-F1", **alone)
    right.set(xlabel="epoch", ylabel="%", title="Validation")
    for axes in (left, right):
        axes.legend()
        if alone:
            axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no epoch 2.5
    return figure


def plot_confusion(
    path: Path, confusion: list[list[int]], class_names: Sequence[str], title: str
) -> None:
    """Write `path` as PNG: a confusion matrix, rows true, columns predicted, coloured by recall."""
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(1.0, len(class_names) / 7)
    figure, axes = plt.subplots(figsize=(6.4 * side, 5.6 * side), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        colour = "white" if shares[i, j] > 0.55 else "black"
        text = f"{counts[i, j]}\n{percent(shares[i, j], 0)}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    ticks = range(len(class_names))
    axes.set(xticks=ticks, yticks=ticks, xlabel="predicted", ylabel="true", title=title)
    axes.set_xticklabels(class_names, rotation=40, ha="right")
    axes.set_yticklabels(class_names)
    save_figure(figure, path)


def plot_reliability(
    path: Path,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    title: str,
) -> None:
    """Write `path` as PNG: how often what is answered with a score comes true.

    The first panel bins the confidence of the top answer, each other one a class's score, over all
    n pictures of logits (n, classes) and labels (n,); bars below show where the pictures are. On
    the diagonal a score means what it says.
    """
    scores = softmax(logits)
    right = scores.argmax(axis=1) == labels
    top = f"top answer, ECE {expected_calibration_error(logits, labels):.3f}"
    panels = [(top, scores.max(axis=1), right)]
    panels += [(name, scores[:, i], labels == i) for i, name in enumerate(class_names)]
    rows = math.ceil(len(panels) / _PANELS)
    width, height = 13, 3.4 * rows  # inches
    figure, axes = plt.subplots(
        rows, _PANELS, figsize=(width, height), sharex=True, sharey=True, squeeze=False
    )
    # Margins are set, because finding them takes as long as the picture.
    figure.subplots_adjust(
        left=0.7 / width, right=1 - 0.15 / width, bottom=0.55 / height, top=1 - 0.75 / height,
        wspace=0.14, hspace=0.15,
    )  # fmt: skip
    for axis, (name, answered, true) in zip(axes.flat, panels, strict=False):
        centres, observed, counts = reliability(answered, true)
        axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        axis.bar(centres, counts / counts.sum(), width=0.9 / _BINS, color="tab:blue", alpha=0.25)
        axis.plot(centres, observed, color="tab:blue", marker="o", markersize=4)
        axis.set(xlim=(0, 1), ylim=(0, 1), title=name)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("score")
    for axis in axes[:, 0]:
        axis.set_ylabel("share that is so (bars: share of pictures)")
    figure.suptitle(title)
    save_figure(figure, path)


def reliability(
    scores: NDArray[np.float32], true: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean score, share that is true, and number of pictures of ten equal bins of scores 0..1 (n,).

    Empty bins are NaN.
    """
    which = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(which, minlength=_BINS)
    sums = [
        np.bincount(which, weights=values.astype(np.float64), minlength=_BINS)
        for values in (scores, true)
    ]
    means = [
        np.divide(total, counts, out=np.full(_BINS, np.nan), where=counts > 0) for total in sums
    ]
    return means[0], means[1], counts
