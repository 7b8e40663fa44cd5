"""The acceptance gate: what an artifact may lose against the float model on the same pictures.

The limits were set before anything was measured; no flag loosens them. Shares are 0..1, "pp" are
percentage points.
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
# An int8 model that answers one class more often than this is stuck.
MAX_SHARE_OF_ONE_CLASS = 0.80


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


def limits() -> dict[str, float]:
    """The gate's limits by name, for the report."""
    return {
        name.lower(): value
        for name, value in globals().items()
        if name.startswith(("MAX_", "MIN_"))
    }


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
    drop, over = m["drop"].upper95, m["float_card"].top1 - majority
    rise = m["ece"] - m["ece_float"]
    # Each condition is written so that a NaN breaks it.
    checks = [
        (
            drop < MAX_DROP_UPPER_BOUND,
            (
                f"top-1 drop may be as large as {drop:.2%} (95 % bound), "
                f"allowed below {MAX_DROP_UPPER_BOUND:.2%}"
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
        (
            over >= MIN_FLOAT_OVER_MAJORITY,
            (
                f"the float model's top-1 {m['float_card'].top1:.1%} is not far above the majority "
                f"class ({majority:.1%}): at least {MIN_FLOAT_OVER_MAJORITY:.0%} above is asked for"
            ),
        ),
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
