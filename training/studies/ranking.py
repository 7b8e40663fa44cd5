"""Labels of prepared pictures, ranked by how far out-of-fold predictions are from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray

from edgeemo.contract.quantize import softmax
from edgeemo.data.prepared import Prepared

# The probability of the given label. cleanlab's other scores rank as well or worse on FER-2013
# (docs/data.md), and this one also finds pictures that belong to no class, which a person will want
# to drop.
METHOD = "self_confidence"


@dataclass(frozen=True)
class Ranking:
    """Pictures by how much their label is to be trusted, the least first.

    Of copies with one label only the first is among them.
    """

    rows: NDArray[np.int64]
    """int64 (n,), row numbers in the prepared folder."""
    quality: NDArray[np.float64]
    """float64 (n,), the probability of the given label, 0..1."""
    suggestions: NDArray[np.int64]
    """int64 (n,), the most probable label."""
    confidence: NDArray[np.float64]
    """float64 (n,), its probability."""

    def __getitem__(self, chosen: NDArray[Any] | slice) -> "Ranking":
        return Ranking(
            self.rows[chosen],
            self.quality[chosen],
            self.suggestions[chosen],
            self.confidence[chosen],
        )


def rank(data: Prepared, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> Ranking:
    """Rank the pictures `rows` (n,) by their out-of-fold logits (n, classes)."""
    labels, scores = data.labels[rows], softmax(logits).astype(np.float64)
    quality = get_label_quality_scores(labels, scores, method=METHOD)
    order = np.argsort(quality, kind="stable")
    # A decision on a picture holds for its copies, so that a person sees it once.
    of_one_label = np.stack([data.groups[rows], labels], axis=1)[order]
    order = order[np.sort(np.unique(of_one_label, axis=0, return_index=True)[1])]
    return Ranking(rows, quality, scores.argmax(axis=1), scores.max(axis=1))[order]
