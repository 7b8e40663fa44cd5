"""The acceptance gate: what an artifact may lose against the float model on the same pictures.

The limits are `edgeemo.proof.limits`; no flag loosens them. Shares are 0..1, "pp" are percentage
points.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.proof.evaluation import (
    PairedDrop,
    Scorecard,
    agreement,
    expected_calibration_error,
    mean_kl,
    paired_drop,
    psnr,
    score,
)
from edgeemo.proof.limits import LIMITS, within


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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


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
    majority = float(np.bincount(labels).max() / len(labels))
    most_answered = float(np.bincount(top).max() / len(labels))
    reasons = tuple(_broken(measured, majority, most_answered))
    return Verdict(passed=not reasons, reasons=reasons, **measured)


def _broken(m: dict[str, Any], majority: float, most_answered: float) -> list[str]:
    card, rise = m["float_card"], m["ece"] - m["ece_float"]
    checks: list[tuple[str, float, str]] = [
        (
            "max_drop_upper_bound",
            m["drop"].upper95,
            "top-1 drop may be as large as {value:.2%} (95 % bound), allowed below {limit:.2%}",
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
            card.top1 - majority,
            f"the float model's top-1 {card.top1:.1%} is not far above the majority class "
            f"({majority:.1%}): at least {{limit:.0%}} above is asked for",
        ),
        (
            "max_share_of_one_class",
            most_answered,
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
