"""What an int8 detector may lose against its float network, on the same frames.

The limits of lost faces are those of lost answers (edgeemo.proof.limits); no flag loosens them.
Shares are 0..1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeemo.contract.detector_bundle import Looks
from edgeemo.proof.evaluation import PairedDrop, paired_drop
from edgeemo.proof.limits import LIMITS, MAX_DROP_UPPER_BOUND, within
from workstation.frames.canvas import Canvas
from workstation.frames.judge import WITHOUT, Count, Find, iou

MAX_KIND_DROP = LIMITS["max_recall_drop_lower_bound"]
"""Of the share found in one kind of frames, surely (lower bound), as of a class's recall."""
MAX_FALSE = 0.01
"""False faces a frame without a face, or as many as the float network shows."""
MIN_OVERLAP = 0.9
"""Median IoU of the boxes of both, where both find a face."""
MIN_FLOAT_RECALL = 0.8
"""Of all faces, by the float network: one that finds less is no measure."""


@dataclass(frozen=True)
class DetectorVerdict:
    """What the gate says of an int8 detector."""

    reasons: tuple[str, ...]
    """Each broken limit in words; none of one that passes."""
    drop: PairedDrop
    """Of the share of faces found."""
    overlap: float
    """Median IoU of both models' boxes."""
    looks: tuple[Looks, ...]
    """Counts by kind of frames."""

    @property
    def passed(self) -> bool:
        """Whether no limit is broken."""
        return not self.reasons


def judge_detector(
    full: Mapping[str, Count], whole: Mapping[str, Count], overlap: float
) -> DetectorVerdict:
    """Compare the counts of the float network and of int8 on the same frames."""
    hits = [np.array([h for c in counts.values() for h in c.hits]) for counts in (full, whole)]
    drop = paired_drop(*hits)
    looks = tuple(
        Looks(kind, c.frames, c.faces, full[kind].found, c.found, full[kind].false, c.false)
        for kind, c in whole.items()
    )
    reasons = []
    if hits[0].mean() < MIN_FLOAT_RECALL:
        reasons.append(
            f"the float network finds {hits[0].mean():.1%} of the faces, and {MIN_FLOAT_RECALL:.0%}"
            " are asked for; train it longer or on more pictures"
        )
    if not within(MAX_DROP_UPPER_BOUND, drop.upper95):
        reasons.append(
            f"finds {drop.drop:.2%} fewer faces, and up to {drop.upper95:.2%}, allowed below "
            f"{LIMITS[MAX_DROP_UPPER_BOUND]:.0%}"
        )
    for kind, count in whole.items():
        if not count.faces:
            continue
        of_kind = paired_drop(np.array(full[kind].hits), np.array(count.hits))
        if of_kind.lower95 > MAX_KIND_DROP:
            reasons.append(
                f"{kind}: {of_kind.drop:.1%} fewer faces, surely {of_kind.lower95:.1%}, allowed "
                f"{MAX_KIND_DROP:.0%}"
            )
    allowed = max(full[WITHOUT].false, int(MAX_FALSE * whole[WITHOUT].frames))
    if whole[WITHOUT].false > allowed:
        reasons.append(
            f"{whole[WITHOUT].false} false faces in {whole[WITHOUT].frames} {WITHOUT}, allowed "
            f"{allowed}"
        )
    if not overlap >= MIN_OVERLAP:
        reasons.append(f"boxes overlap the float network's by {overlap:.2f}, not {MIN_OVERLAP}")
    return DetectorVerdict(tuple(reasons), drop, overlap, looks)


def median_overlap(full: Find, whole: Find, frames: Sequence[Canvas]) -> float:
    """Median IoU of boxes of both that meet by more than half; 0 without any."""
    overlaps = []
    for frame in frames:
        others = list(full(frame.grey))
        best = [max((iou(box, b) for b in others), default=0.0) for box in whole(frame.grey)]
        overlaps += [value for value in best if value > 0.5]
    return float(np.median(overlaps)) if overlaps else 0.0
