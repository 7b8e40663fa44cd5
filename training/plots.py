"""Pictures of a run: learning curves and confusion matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS


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
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.55 else "black")
    axes.set(xticks=range(len(LABELS)), yticks=range(len(LABELS)), xlabel="predicted", ylabel="true", title=title)
    axes.set_xticklabels(LABELS, rotation=40, ha="right")
    axes.set_yticklabels(LABELS)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with written_beside(path) as part:
        figure.savefig(part, dpi=120, format="png")
    plt.close(figure)
