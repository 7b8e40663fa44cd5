"""Conditions of the acceptance gate that are more than a number beside its limit.

The gate (export/prove/gate.py) and `doctor` (`edgeemo.proof.verdict`) both judge by these, from
confusion matrices, int64 (classes, classes) counts with true labels in rows. They are rules, not
limits: a report does not list them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.proof.evaluation import recalls
from edgeemo.proof.limits import LIMITS, MAX_DROP_UPPER_BOUND

MAX_MAJORITY_FOR_TOP1 = 0.60
"""Where the most frequent class has a larger share, top-1 cannot be far above it."""
PICTURES_NEEDED = math.ceil(math.log(0.05) / math.log(1 - LIMITS[MAX_DROP_UPPER_BOUND]))
"""Fewest pictures on which not one lost shows a drop below the limit at 95 %: the exact bound is
1 - 0.05^(1/n), where the standard error is 0 and says nothing."""


@dataclass(frozen=True)
class Standing:
    """How far a model is above always answering the most frequent class."""

    measure: str
    """What tells: "top-1", or "mean recall" of lopsided pictures."""
    value: float
    """The model's, 0..1."""
    baseline: float
    """That of always answering the most frequent class, 0..1."""
    majority: float
    """Share of the most frequent class, 0..1."""

    @property
    def over(self) -> float:
        """What `min_float_over_majority` limits."""
        return self.value - self.baseline


def standing(confusion: NDArray[np.int64]) -> Standing:
    """That of the model with this confusion matrix of at least one picture.

    Where the most frequent class has up to MAX_MAJORITY_FOR_TOP1 of the pictures, by top-1; above,
    by the mean recall of the classes that occur, which is 1/classes for one answer to all.
    """
    support = confusion.sum(axis=1)
    majority = float(support.max() / support.sum())
    if majority <= MAX_MAJORITY_FOR_TOP1:
        return Standing("top-1", float(np.trace(confusion) / support.sum()), majority, majority)
    present = int(np.count_nonzero(support))
    return Standing("mean recall", float(np.nanmean(recalls(confusion))), 1 / present, majority)


def share_of_one_class(confusion: NDArray[np.int64], of_float: NDArray[np.int64]) -> float:
    """Share of the class that an artifact answers most often, which `max_share_of_one_class`
    limits; `of_float` is the float model's matrix of the same pictures.

    0 where the pictures are lopsided (see `standing`), the float model answers that class as often
    as `min_agreement` asks for, and the artifact still answers another one somewhere.
    """
    answered, n = confusion.sum(axis=0), confusion.sum()
    most = int(answered.argmax())
    share = float(answered[most] / n)
    more = int(answered[most] - of_float[:, most].sum())
    lopsided = confusion.sum(axis=1).max() / n > MAX_MAJORITY_FOR_TOP1
    as_often = more <= (1 - LIMITS["min_agreement"]) * n
    return 0.0 if lopsided and as_often and answered[most] < n else share


def too_few_pictures(n: int) -> str:
    """In words, that the n pictures of a report are fewer than are asked for, or ""."""
    if n >= PICTURES_NEEDED:
        return ""
    return f"judged on {count_of(n, 'picture')}; {PICTURES_NEEDED:,} are asked for"
