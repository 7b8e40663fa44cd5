"""Pictures of a run: learning curves, confusion matrix and reliability diagram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from numpy.typing import NDArray

from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.proof.evaluation import expected_calibration_error

_BINS = 10


def plot_curves(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write curves.png: loss and validation top-1 over the epochs."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(epochs, [row["loss"] for row in history], label="training (augmented)")
    left.plot(epochs, [row["validation_loss"] for row in history], label="validation")
    left.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
    left.legend()
    right.plot(epochs, [100 * row["validation_top1"] for row in history], label="top-1")
    right.plot(epochs, [100 * row["validation_macro_f1"] for row in history], label="macro-F1")
    right.set(xlabel="epoch", ylabel="%", title="Validation")
    right.legend()
    _save(figure, path / "curves.png")


def plot_confusion(path: Path, confusion: list[list[int]], title: str) -> None:
    """Write `path` as PNG: a confusion matrix, rows true and columns predicted, coloured by recall."""
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(*counts.shape):
        text = f"{counts[i, j]}\n{shares[i, j]:.0%}"
        axes.text(
            j,
            i,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if shares[i, j] > 0.55 else "black",
        )
    axes.set(
        xticks=range(len(LABELS)),
        yticks=range(len(LABELS)),
        xlabel="predicted",
        ylabel="true",
        title=title,
    )
    axes.set_xticklabels(LABELS, rotation=40, ha="right")
    axes.set_yticklabels(LABELS)
    _save(figure, path)


def plot_reliability(
    path: Path, logits: NDArray[np.float32], labels: NDArray[np.int64], title: str
) -> None:
    """Write `path` as PNG: for the answer and for each class, how often what is said with a score comes true.

    The first panel bins the confidence of the top answer, each other one that class's score, over all n pictures of logits
    (n, 7) and labels (n,); bars below show where the pictures are. On the diagonal a score means what it says.
    """
    scores = softmax(logits)
    right = scores.argmax(axis=1) == labels
    panels = [
        (
            f"top answer, ECE {expected_calibration_error(logits, labels):.3f}",
            scores.max(axis=1),
            right,
        )
    ]
    panels += [(label, scores[:, i], labels == i) for i, label in enumerate(LABELS)]
    figure, axes = plt.subplots(
        2, 4, figsize=(13, 6.8), layout="constrained", sharex=True, sharey=True
    )
    for axis, (name, said, true) in zip(axes.flat, panels, strict=True):
        centres, observed, counts = reliability(said, true)
        axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        axis.bar(centres, counts / counts.sum(), width=0.9 / _BINS, color="tab:blue", alpha=0.25)
        axis.plot(centres, observed, color="tab:blue", marker="o", markersize=4)
        axis.set(xlim=(0, 1), ylim=(0, 1), title=name)
    for axis in axes[-1]:
        axis.set_xlabel("score")
    for axis in axes[:, 0]:
        axis.set_ylabel("share that is so (bars: share of pictures)")
    figure.suptitle(title)
    _save(figure, path)


def reliability(
    said: NDArray[np.float32], true: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean score, share that is true, and number of pictures of each of ten equal bins of scores 0..1 (n,); empty bins are NaN."""
    which = np.minimum((said * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(which, minlength=_BINS)
    sums = [
        np.bincount(which, weights=values.astype(np.float64), minlength=_BINS)
        for values in (said, true)
    ]
    means = [
        np.divide(total, counts, out=np.full(_BINS, np.nan), where=counts > 0) for total in sums
    ]
    return means[0], means[1], counts


def _save(figure: Any, path: Path) -> None:
    with written_beside(path) as part:
        figure.savefig(part, dpi=120, format="png")
    plt.close(figure)
