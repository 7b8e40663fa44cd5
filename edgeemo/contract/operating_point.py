"""Where a bundle's scores stand: how sure they are, and how much the training prior still weighs.

A network learns how frequent each class was in training along with what it looks like. At a site
where classes are not so frequent the same logits are off by the log of the two priors' ratio
(Bayes; Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities").
Taking off a share of the log prior trades top-1 for the rare classes' recall (Menon et al. 2021,
"Long-tail learning via logit adjustment", section 4); dividing by a temperature makes scores as
sure as they are right (Guo et al. 2017, "On calibration of modern neural networks").
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import match_label
from edgeemo.errors import InvalidInput

Prior = str | Mapping[str, float]
"""How frequent the classes are where a model looks: DEFAULT, "training", "balanced", or shares 0..1
by label. Labels that are not named share what is left as in training."""

DEFAULT, TRAINING, BALANCED = "default", "training", "balanced"
PRIORS = (DEFAULT, TRAINING, BALANCED)
COOLEST, HOTTEST = 0.05, 20.0
"""Temperatures that a bundle may have."""
LEAST = 1e-9
"""Smallest share that a bundle's prior may have: one picture of as many as data may have."""
_SLACK = 0.01  # shares are typed by hand, in per cent


@dataclass(frozen=True)
class OperatingPoint:
    """What the last layer of a bundle's models was changed by; their logits are
    z / temperature - adjustment * log(prior), less a constant, of the trained network's logits z.

    Raises InvalidInput for a prior, temperature or adjustment that no bundle may have.
    """

    prior: tuple[float, ...]
    """How frequent the trained network takes each class to be, in the order of the labels; sums to
    1."""
    temperature: float
    """What its logits were divided by."""
    adjustment: float
    """Share of the log prior that was taken off, 0 (as trained) to 1 (all classes as likely)."""

    def __post_init__(self) -> None:
        shares = all(LEAST <= share <= 1 for share in self.prior)
        if not shares or abs(math.fsum(self.prior) - 1) > _SLACK:
            raise InvalidInput(f"expected a prior of shares of at least {LEAST:g} that sum to 1")
        if not COOLEST <= self.temperature <= HOTTEST or not 0 <= self.adjustment <= 1:
            raise InvalidInput(
                f"expected a temperature of {COOLEST} to {HOTTEST} and an adjustment of 0 to 1, "
                f"received {self.temperature} and {self.adjustment}"
            )

    @property
    def log_prior(self) -> NDArray[np.float64]:
        """float64 (labels,) logs of the prior, less their mean."""
        logs = np.log(np.array(self.prior, np.float64))
        return np.asarray(logs - logs.mean())

    def applied(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The bundle's logits of the trained network's, float32 (N, labels)."""
        return np.asarray(logits / self.temperature - self.adjustment * self.log_prior, np.float32)

    def folded(
        self, kernel: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Kernel (..., labels) and bias (labels,) of a last layer that gives `applied` logits."""
        moved = bias / self.temperature - self.adjustment * self.log_prior
        return np.asarray(kernel / self.temperature, np.float32), np.asarray(moved, np.float32)

    def unfolded(
        self, kernel: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The last layer as it was trained, of the `folded` one."""
        moved = (bias + self.adjustment * self.log_prior) * self.temperature
        return np.asarray(kernel * self.temperature, np.float32), np.asarray(moved, np.float32)

    def shift(self, prior: Prior, labels: Sequence[str]) -> NDArray[np.float32]:
        """float32 (labels,): what the bundle's logits gain for another prior than the default.

        Raises:
            InvalidInput: no such prior, or shares that leave nothing for the others or sum to more
                than 1.
            UnknownLabel: a share of what is no label.
        """
        if isinstance(prior, str):
            if prior not in PRIORS:
                raise InvalidInput(
                    f"expected a prior of {', '.join(PRIORS)} or shares by label, received "
                    f"{prior[:80]!r}"
                )
            left = {DEFAULT: 0.0, TRAINING: self.adjustment, BALANCED: self.adjustment - 1}[prior]
            return np.asarray(left * self.log_prior, np.float32)
        if not isinstance(prior, Mapping):
            raise InvalidInput(
                f"expected a prior of {', '.join(PRIORS)} or shares by label, received "
                f"{str(prior)[:80]!r} ({type(prior).__name__})"
            )
        wanted = np.log(self._complete(prior, labels))
        gain = self.adjustment * self.log_prior + wanted - np.log(np.array(self.prior))
        return np.asarray(gain - gain.mean(), np.float32)

    def _complete(self, shares: Mapping[str, float], labels: Sequence[str]) -> NDArray[np.float64]:
        """float64 (labels,): `shares`, and what they leave for the other labels."""
        named = {match_label(word, labels): _number(share) for word, share in shares.items()}
        if len(named) != len(shares) or not all(LEAST <= share < 1 for share in named.values()):
            raise InvalidInput(
                f"expected shares between 0 and 1 (at least {LEAST:g}), each label once, received "
                f"{_shown(shares)}"
            )
        total, whole = math.fsum(named.values()), len(named) == len(labels)
        if total > 1 + _SLACK or (whole and total < 1 - _SLACK):
            raise InvalidInput(
                f"expected shares that sum to 1{'' if whole else ' at most'}, received "
                f"{_shown(shares)}, in all {total:g}"
            )
        others = math.fsum(
            p for label, p in zip(labels, self.prior, strict=True) if label not in named
        )
        if not whole and total > 1 - LEAST:
            raise InvalidInput(
                f"expected shares that leave something for the other labels, received "
                f"{_shown(shares)}; name all of {', '.join(labels)}, or less"
            )
        rest = (1 - total) / others if others else 0.0
        return np.array(
            [named.get(label, p * rest) for label, p in zip(labels, self.prior, strict=True)]
        )


def parse_prior(text: str) -> Prior:
    """A prior as one types it: a word of PRIORS, or LABEL=SHARE,LABEL=SHARE...

    Raises InvalidInput.
    """
    if "=" not in text:
        if text in PRIORS:
            return text
        raise InvalidInput(
            f"expected {', '.join(PRIORS)} or LABEL=SHARE,... such as neutral=0.7,happy=0.2; "
            f"received {text[:80]!r}"
        )
    shares: dict[str, float] = {}
    for part in _parts(text):
        label, _, share = part.rpartition("=")
        value = _number(share)
        if not label.strip() or label.strip() in shares or not LEAST <= value < 1:
            raise InvalidInput(
                f"expected LABEL=SHARE,... with each label once and shares between 0 and 1 (at "
                f"least {LEAST:g}), received {text[:80]!r}"
            )
        shares[label.strip()] = value
    return shares


def _parts(text: str) -> Iterator[str]:
    """Each LABEL=SHARE; a label may hold commas, so what has no equals sign goes on."""
    begun = ""
    for part in text.split(","):
        begun += part
        if "=" in part:
            yield begun
            begun = ""
        else:
            begun += ","
    if begun:
        yield begun


def _number(share: object) -> float:
    """What was given as a share; NaN for what is no number."""
    try:
        return float(share)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _shown(shares: Mapping[str, float]) -> str:
    words = (f"{str(label)[:20]}={str(share)[:20]}" for label, share in shares.items())
    return ",".join(words)[:120]
