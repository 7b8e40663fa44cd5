"""The acceptance gate: what an artifact may lose against the float model on the same pictures.

The limits are `edgeemo.proof.limits` and `edgeemo.proof.conditions`; no flag loosens them. Shares
are 0..1, "pp" are percentage points.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.proof.conditions import (
    PICTURES_NEEDED,
    Standing,
    share_of_one_class,
    standing,
)
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
from edgeemo.proof.limits import LIMITS, MAX_DROP_UPPER_BOUND, within


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

    @property
    def lacks_pictures(self) -> int | None:
        """How many pictures could pass (see `pictures_needed`), where that there are fewer is all
        that speaks against the artifact.
        """
        needed = pictures_needed(self.drop)
        few = needed is not None and self.drop.n < needed
        only = len(self.reasons) == 1 and not within(MAX_DROP_UPPER_BOUND, self.drop.upper95)
        return needed if few and only else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def pictures_needed(drop: PairedDrop) -> int | None:
    """Smallest number of pictures on which the bound of the top-1 drop could be small enough, if as
    large shares of them were lost and won as in `drop`, and never below PICTURES_NEEDED.

    None where no number could: the drop itself is too large. From
    z sqrt(v / n) < limit - drop, with v = (b + c)/n - drop^2 (see PairedDrop).
    """
    room = LIMITS[MAX_DROP_UPPER_BOUND] - drop.drop
    if not room > 0:
        return None
    variance = max(0.0, (drop.b + drop.c) / drop.n - drop.drop**2)
    return max(PICTURES_NEEDED, math.floor(Z95_ONE_SIDED**2 * variance / room**2) + 1)


def float_fault(card: Scorecard) -> str:
    """Why the float model of that scorecard is no measure for others, in words, or ""."""
    at = standing(np.array(card.confusion))
    name = "min_float_over_majority"
    return "" if within(name, at.over) else _not_far_above(at, LIMITS[name])


def _not_far_above(at: Standing, limit: float) -> str:
    above = f"the majority class ({at.majority:.1%})"
    if at.baseline != at.majority:
        above = (
            f"that of always answering the majority class ({at.baseline:.1%}; its share is "
            f"{at.majority:.1%})"
        )
    return (
        f"the float model's {at.measure} {at.value:.1%} is not far above {above}: at least "
        f"{limit:.0%} above is asked for"
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
    reasons = tuple(_broken(measured))
    return Verdict(passed=not reasons, reasons=reasons, **measured)


def _too_few(drop: PairedDrop) -> str:
    """What follows a broken bound where the drop itself is small enough, or ""."""
    needed = pictures_needed(drop)
    if needed is None:
        return ""
    return f": {count_of(drop.n, 'picture')} cannot tell, {needed:,} like these could"


def _broken(m: dict[str, Any]) -> list[str]:
    confusion, full = (np.array(m[card].confusion) for card in ("card", "float_card"))
    at, rise = standing(full), m["ece"] - m["ece_float"]
    checks: list[tuple[str, float, str]] = [
        (
            MAX_DROP_UPPER_BOUND,
            m["drop"].upper95,
            "top-1 drop may be as large as {value:.2%} (95 % bound), allowed below {limit:.2%}"
            + _too_few(m["drop"]),
        ),
        ("min_agreement", m["agreement"], "agreement {value:.2%}, allowed from {limit:.0%}"),
        (
            "max_macro_f1_drop",
            m["macro_f1_drop"],
            "macro-F1 drop {value:.2%}, allowed to {limit:.1%}",
        ),
        ("max_ece_rise", rise, "calibration error rises by {value:.4f}, allowed to {limit}"),
        ("max_mean_kl", m["mean_kl"], "mean KL divergence {value:.4f}, allowed to {limit}"),
        (
            "min_float_over_majority",
            at.over,
            _not_far_above(at, LIMITS["min_float_over_majority"]),
        ),
        (
            "max_share_of_one_class",
            share_of_one_class(confusion, full),
            "answers one class on {value:.0%} of the pictures, allowed to {limit:.0%}",
        ),
    ]
    reasons = [
        words.format(value=value, limit=LIMITS[name])
        for name, value, words in checks
        if not within(name, value)
    ]
    name = "max_recall_drop_lower_bound"
    for label, drop in m["class_drops"].items():
        if not within(name, drop.lower95):
            reasons.append(
                f"recall of {label} drops by at least {drop.lower95:.2%}, "
                f"allowed to {LIMITS[name]:.0%}"
            )
    return reasons
