"""The acceptance gate: what an artifact may lose against the float model on the same pictures.

The limits were set before anything was measured; no flag loosens them. Shares are 0..1, "pp" are percentage points.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
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

MAX_DROP_UPPER_BOUND = 0.01  # one-sided 95 % bound of the paired top-1 drop stays below 1 pp
MIN_AGREEMENT = 0.97
MAX_MACRO_F1_DROP = 0.015
MAX_RECALL_DROP_LOWER_BOUND = (
    0.03  # a class fails only when its drop is surely above 3 pp: disgust has 55 test faces
)
MAX_ECE_RISE = 0.02
MAX_MEAN_KL = 0.02  # nats, float || int8
MIN_FLOAT_OVER_MAJORITY = (
    0.20  # the float model itself must be far above always answering the most frequent class
)
MAX_SHARE_OF_ONE_CLASS = 0.80  # an int8 model that answers one class more often than this is stuck


@dataclass(frozen=True)
class Verdict:
    """One artifact against the float model.

    Attributes:
        passed: whether no limit is broken.
        reasons: each broken limit in words, with value and limit.
        float_card, card: both scorecards on the same pictures.
        drop: the paired comparison of top-1.
        class_drops: the paired comparison of each class's recall; classes without pictures are left out.
        agreement, macro_f1_drop, ece_float, ece, mean_kl: as the gate measured them.
        psnr_db: peak signal to noise ratio of the logits; None where they are equal. It decides nothing.
    """

    passed: bool
    reasons: tuple[str, ...]
    float_card: Scorecard
    card: Scorecard
    drop: PairedDrop
    class_drops: dict[str, PairedDrop]
    agreement: float
    macro_f1_drop: float
    ece_float: float
    ece: float
    mean_kl: float
    psnr_db: float | None

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
    float_logits: NDArray[np.float32], logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> Verdict:
    """Compare float32 (N, 7) logits of both models on the same pictures with true label numbers (N,)."""
    float_top, top = float_logits.argmax(axis=1), logits.argmax(axis=1)
    float_card, card = score(labels, float_top), score(labels, top)
    float_right, right = float_top == labels, top == labels
    class_drops = {
        label: paired_drop(float_right[labels == i], right[labels == i])
        for i, label in enumerate(LABELS)
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
    # Each condition is written so that a NaN breaks it.
    checks = [
        (m["drop"].upper95 < MAX_DROP_UPPER_BOUND,
         f"top-1 drop may be as large as {m['drop'].upper95:.2%} (95 % bound), allowed below {MAX_DROP_UPPER_BOUND:.2%}"),
        (m["agreement"] >= MIN_AGREEMENT, f"agreement {m['agreement']:.2%}, allowed from {MIN_AGREEMENT:.0%}"),
        (m["macro_f1_drop"] <= MAX_MACRO_F1_DROP, f"macro-F1 drop {m['macro_f1_drop']:.2%}, allowed to {MAX_MACRO_F1_DROP:.1%}"),
        (m["ece"] - m["ece_float"] <= MAX_ECE_RISE,
         f"calibration error rises by {m['ece'] - m['ece_float']:.4f}, allowed to {MAX_ECE_RISE}"),
        (m["mean_kl"] <= MAX_MEAN_KL, f"mean KL divergence {m['mean_kl']:.4f}, allowed to {MAX_MEAN_KL}"),
        (m["float_card"].top1 - majority >= MIN_FLOAT_OVER_MAJORITY,
         f"the float model's top-1 {m['float_card'].top1:.1%} is not far above the majority class ({majority:.1%}): "
         f"at least {MIN_FLOAT_OVER_MAJORITY:.0%} above is asked for"),
        (most_answered <= MAX_SHARE_OF_ONE_CLASS,
         f"answers one class on {most_answered:.0%} of the pictures, allowed to {MAX_SHARE_OF_ONE_CLASS:.0%}"),
    ]  # fmt: skip
    checks += [
        (drop.lower95 <= MAX_RECALL_DROP_LOWER_BOUND,
         f"recall of {label} drops by at least {drop.lower95:.2%}, allowed to {MAX_RECALL_DROP_LOWER_BOUND:.0%}")
        for label, drop in m["class_drops"].items()
    ]  # fmt: skip
    return [text for holds, text in checks if not holds]
