"""Pictures of a run: their numbers against plain loops, and that they are pictures."""

from pathlib import Path

import cv2
import numpy as np

from edgeemo.contract.labels import LABELS
from training.runs.plots import plot_reliability, reliability


def test_reliability_bins_scores_and_counts_what_came_true() -> None:
    rng = np.random.default_rng(0)
    said, true = rng.random(400).astype(np.float32) ** 3, rng.random(400) < 0.4
    said[0] = 1.0
    centres, observed, counts = reliability(said, true)
    for k in range(10):
        inside = [
            i for i in range(400) if k / 10 <= said[i] < (k + 1) / 10 or (k == 9 and said[i] == 1)
        ]
        assert counts[k] == len(inside)
        if inside:
            assert abs(centres[k] - sum(said[i] for i in inside) / len(inside)) < 1e-6
            assert abs(observed[k] - sum(true[i] for i in inside) / len(inside)) < 1e-6
    assert np.isnan(reliability(np.full(3, 0.05, np.float32), np.ones(3, bool))[0][1:]).all()


def test_reliability_diagram_is_a_picture_that_shows_a_change(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 2, (300, 7)).astype(np.float32), rng.integers(0, 7, 300)
    plot_reliability(tmp_path / "a.png", logits, labels, LABELS, "n = 300")
    plot_reliability(tmp_path / "b.png", logits, logits.argmax(axis=1), LABELS, "n = 300")
    one, other = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert one.shape == other.shape
    assert (one != other).any()
