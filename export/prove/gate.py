"""The acceptance gate: what an artifact may lose against the float model on the same pictures.

The limits were set before anything was measured; no flag loosens them. Shares are 0..1, "pp" are
percentage points.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.proof.evaluation import (
    Z95_ONE_SIDED,
    PairedDrop,
    Scorecard,
    agreement,
    expected_calibration_error,
    mean_kl,
    paired_drop,
    psnr,
    score,
)

# One-sided 95 % bound of the paired top-1 drop stays below 1 pp.
MAX_DROP_UPPER_BOUND = 0.01
MIN_AGREEMENT = 0.97
MAX_MACRO_F1_DROP = 0.015
# A class fails only when its drop is surely above 3 pp: disgust has 55 test faces.
MAX_RECALL_DROP_LOWER_BOUND = 0.03
MAX_ECE_RISE = 0.02
MAX_MEAN_KL = 0.02  # nats, float || int8
# The float model itself must be far above always answering the most frequent class.
MIN_FLOAT_OVER_MAJORITY = 0.20
# Where one class has a larger share, top-1 cannot be so far above it: mean recall has to be as far
# above that of always answering one class.
MAX_MAJORITY_FOR_TOP1 = 0.60
# An int8 model that answers one class more often than this is stuck, unless the float
# model does too: then agreement has the say.
MAX_SHARE_OF_ONE_CLASS = 0.80
# Smallest n on which not one lost picture shows a drop below MAX_DROP_UPPER_BOUND at 95 %: the
# exact bound is 1 - 0.05^(1/n), where the standard error is 0 and says nothing.
PICTURES_NEEDED = math.ceil(math.log(0.05) / math.log(1 - MAX_DROP_UPPER_BOUND))


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one artifact against the float model, on the same pictures."""

    passed: bool
    """Whether no limit is broken."""
    reasons: tuple[str, ...]
    """Each broken limit in words, with value and limit."""
    float_card: Scorecard
    """The float model's scorecard."""
    card: Scorecard
    """The artifact's."""
    drop: PairedDrop
    """The paired comparison of top-1."""
    class_drops: dict[str, PairedDrop]
    """That of each class's recall, by label; classes without pictures are left out."""
    agreement: float
    """Share of pictures with the same top label, 0..1."""
    macro_f1_drop: float
    """Float less artifact."""
    ece_float: float
    """Expected calibration error of the float model."""
    ece: float
    """Expected calibration error of the artifact."""
    mean_kl: float
    """Mean KL(float || artifact) in nats."""
    psnr_db: float | None
    """Peak signal to noise ratio of the logits, None where they are equal. It decides nothing."""
    pictures_needed: int | None
    """See `pictures_needed`."""

    @property
    def lacks_pictures(self) -> bool:
        """Whether all that speaks against the artifact is that more pictures have to be seen."""
        few = self.pictures_needed is not None and self.drop.n < self.pictures_needed
        return few and len(self.reasons) == 1 and not _bound_holds(self.drop)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def limits() -> dict[str, float]:
    """The gate's limits by name, for the report."""
    return {
        name.lower(): value
        for name, value in globals().items()
        if name.startswith(("MAX_", "MIN_"))
    }


def pictures_needed(drop: PairedDrop) -> int | None:
    """Smallest number of pictures on which the bound of the top-1 drop could hold, if as large
    shares of them were lost and won as in `drop`, and never below PICTURES_NEEDED.

    None where no number could: the drop itself is too large. From
    z sqrt(v / n) < limit - drop, with v = (b + c)/n - drop^2 (see PairedDrop).
    """
    room = MAX_DROP_UPPER_BOUND - drop.drop
    if not room > 0:
        return None
    variance = max(0.0, (drop.b + drop.c) / drop.n - drop.drop**2)
    return max(PICTURES_NEEDED, math.floor(Z95_ONE_SIDED**2 * variance / room**2) + 1)


def float_fault(card: Scorecard) -> str:
    """Why the float model of that scorecard is no measure for others, in words, or ""."""
    support = [sum(row) for row in card.confusion]
    majority, present = max(support) / card.n, sum(1 for count in support if count)
    if majority <= MAX_MAJORITY_FOR_TOP1:
        if card.top1 - majority >= MIN_FLOAT_OVER_MAJORITY:
            return ""
        return (
            f"the float model's top-1 {card.top1:.1%} is not far above the majority "
            f"class ({majority:.1%}): at least {MIN_FLOAT_OVER_MAJORITY:.0%} above is asked for"
        )
    recalls = [recall for recall in card.per_class_recall.values() if recall is not None]
    mean = sum(recalls) / present
    if present > 1 and mean - 1 / present >= MIN_FLOAT_OVER_MAJORITY:
        return ""
    return (
        f"the float model's mean recall {mean:.1%} is not far above that of always answering the "
        f"majority class ({1 / present:.1%}; its share is {majority:.1%}): at least "
        f"{MIN_FLOAT_OVER_MAJORITY:.0%} above is asked for"
    )


def judge(
    float_logits: NDArray[np.float32],
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
) -> Verdict:
    """Compare float32 (N, classes) logits of both models on the same pictures.

    `labels` are the pictures' true label numbers (N,), positions in `class_names`.
    """
    float_top, top = float_logits.argmax(axis=1), logits.argmax(axis=1)
    float_card, card = (score(labels, answers, class_names) for answers in (float_top, top))
    float_right, right = float_top == labels, top == labels
    class_drops = {
        label: paired_drop(float_right[labels == i], right[labels == i])
        for i, label in enumerate(class_names)
        if (labels == i).any()
    }
    measured: dict[str, Any] = {
        "float_card": float_card,
        "card": card,
        "drop": paired_drop(float_right, right),
        "class_drops": class_drops,
        "agreement": agreement(float_logits, logits),
        "macro_f1_drop": float_card.macro_f1 - card.macro_f1,
        "ece_float": expected_calibration_error(float_logits, labels),
        "ece": expected_calibration_error(logits, labels),
        "mean_kl": mean_kl(float_logits, logits),
        "psnr_db": psnr(float_logits, logits),
    }
    measured["pictures_needed"] = pictures_needed(measured["drop"])
    reasons = tuple(_broken(measured, _stuck_share(top, float_top)))
    return Verdict(passed=not reasons, reasons=reasons, **measured)


def _bound_holds(drop: PairedDrop) -> bool:
    return drop.upper95 < MAX_DROP_UPPER_BOUND


def _too_few(drop: PairedDrop, needed: int | None) -> str:
    """What follows a broken bound where the drop itself is small enough, or ""."""
    if needed is None:
        return ""
    return f": {drop.n:,} pictures are too few to tell, {needed:,} like these could"


def _stuck_share(top: NDArray[np.int64], float_top: NDArray[np.int64]) -> float:
    """Share of the class that is answered most often; 0 where the float model answers it as often
    as agreement asks for.
    """
    counts = np.bincount(top)
    most = int(counts.argmax())
    share, of_float = float(counts[most] / len(top)), float((float_top == most).mean())
    return share if share > of_float + 1 - MIN_AGREEMENT else 0.0


def _broken(m: dict[str, Any], most_answered: float) -> list[str]:
    drop, of_float = m["drop"].upper95, float_fault(m["float_card"])
    rise = m["ece"] - m["ece_float"]
    # Each condition is written so that a NaN breaks it.
    checks = [
        (
            _bound_holds(m["drop"]),
            (
                f"top-1 drop may be as large as {drop:.2%} (95 % bound), allowed below "
                f"{MAX_DROP_UPPER_BOUND:.2%}{_too_few(m['drop'], m['pictures_needed'])}"
            ),
        ),
        (
            m["agreement"] >= MIN_AGREEMENT,
            f"agreement {m['agreement']:.2%}, allowed from {MIN_AGREEMENT:.0%}",
        ),
        (
            m["macro_f1_drop"] <= MAX_MACRO_F1_DROP,
            f"macro-F1 drop {m['macro_f1_drop']:.2%}, allowed to {MAX_MACRO_F1_DROP:.1%}",
        ),
        (
            rise <= MAX_ECE_RISE,
            f"calibration error rises by {rise:.4f}, allowed to {MAX_ECE_RISE}",
        ),
        (
            m["mean_kl"] <= MAX_MEAN_KL,
            f"mean KL divergence {m['mean_kl']:.4f}, allowed to {MAX_MEAN_KL}",
        ),
        (not of_float, of_float),
        (
            most_answered <= MAX_SHARE_OF_ONE_CLASS,
            (
                f"answers one class on {most_answered:.0%} of the pictures, "
                f"allowed to {MAX_SHARE_OF_ONE_CLASS:.0%}"
            ),
        ),
    ]
    checks += [_recall_check(label, drop) for label, drop in m["class_drops"].items()]
    return [text for holds, text in checks if not holds]


def _recall_check(label: str, drop: PairedDrop) -> tuple[bool, str]:
    return (
        drop.lower95 <= MAX_RECALL_DROP_LOWER_BOUND,
        (
            f"recall of {label} drops by at least {drop.lower95:.2%}, "
            f"allowed to {MAX_RECALL_DROP_LOWER_BOUND:.0%}"
        ),
    )
