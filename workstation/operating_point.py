"""Which operating point a network gets, by its logits on validation."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.operating_point import COOLEST, HOTTEST, OperatingPoint
from edgeemo.contract.quantize import softmax

COST = 0.01
"""Of top-1 on validation that the default adjustment may cost."""
FEWEST = 200
"""Pictures that a temperature and an adjustment are chosen on; below, both stay as trained."""
_TEMPERATURES = np.geomspace(COOLEST, HOTTEST, 601)  # steps of 1 %
_ADJUSTMENTS = np.linspace(0, 1, 41)
_LEAST = 1e-6  # share of a class that the network never expects


def chosen_point(
    logits: NDArray[np.float32], labels: NDArray[np.int64], adjustment: float | None = None
) -> OperatingPoint:
    """The operating point by a trained network's logits (N, classes) on labelled pictures (N,).

    The temperature has the least negative log likelihood. The prior is the network's own: its mean
    scores. The adjustment is the largest of 0, 0.025 ... 1 that costs at most COST of top-1.
    Expected mean recall grows with it up to 1 (Menon et al. 2021, theorem 1 and section 4.2), while
    the recall that is counted here hangs on the rarest class: of 2,104 FER+ faces of `validation`
    three show disgust.

    Args:
        adjustment: takes the choice's place, 0..1.
    """
    enough = len(labels) >= FEWEST
    temperature = _temperature(logits, labels) if enough else 1.0
    scaled = logits.astype(np.float64) / temperature
    mean = softmax(scaled.astype(np.float32)).mean(axis=0, dtype=np.float64)
    prior = np.maximum(mean, _LEAST) / np.maximum(mean, _LEAST).sum()
    if adjustment is None:
        adjustment = _adjustment(scaled, labels, np.log(prior)) if enough else 0.0
    return OperatingPoint(tuple(prior.tolist()), temperature, adjustment)


def _temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        z = logits.astype(np.float64) / temperature
        z -= z.max(axis=1, keepdims=True)
        return float((np.log(np.exp(z).sum(axis=1)) - z[rows, labels]).mean())

    return float(min(_TEMPERATURES, key=loss))


def _adjustment(
    logits: NDArray[np.float64], labels: NDArray[np.int64], log_prior: NDArray[np.float64]
) -> float:
    def top1(adjustment: float) -> float:
        return float(((logits - adjustment * log_prior).argmax(axis=1) == labels).mean())

    least = top1(0.0) - COST
    return float(max(a for a in _ADJUSTMENTS if top1(a) >= least))
