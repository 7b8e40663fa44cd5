"""What is said before the ladder climbs: that no artifact could pass, and why that is not int8."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import GateFailed
from edgeemo.proof.conditions import PICTURES_NEEDED
from edgeemo.proof.evaluation import score
from export.prove.gate import float_fault

# On so many pictures of a class, never answering it shows a recall below 10 % at 95 %.
_SURELY_NEVER = math.ceil(math.log(0.05) / math.log(1 - 0.10))

ADVICE = (
    "quantization cannot help: look at the labels (python -m training stats), and train on more "
    "faces of the weak classes, longer, or with --class-weight or --balance "
    "(python -m training train)"
)


def check_pictures(count: int, minimum: int, data: Path) -> None:
    """Raise GateFailed where the test split of `data` has less than `minimum` pictures."""
    if count >= minimum:
        return
    raise GateFailed(
        f"{data}: {count_of(count, 'picture')} of the test split, expected at least {minimum:,} to "
        f"judge a model by{_why(minimum)}; prepare more pictures, or take these "
        f"with --gate-min {count}, which the bundle's report will say"
    )


def _why(minimum: int) -> str:
    if minimum != PICTURES_NEEDED:
        return ""
    return " (the fewest on which not one lost shows a top-1 drop below 1 % at 95 %)"


def check_float_model(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    run: Path,
    advice: str = ADVICE,
) -> str:
    """Refuse a float model that fails by itself on the test split.

    Finite float32 (N, classes) `logits` of pictures whose true label numbers (N,) are positions in
    `class_names`; `advice` says what to do.

    Returns:
        In words, which classes it never answers, of so many pictures that their recall is surely
        under 10 %; "" where there is none. Int8 loses nothing by it, so it is no refusal.

    Raises:
        GateFailed: top-1 or mean recall is near what one answer for all gives, or the pictures are
            of one class.
    """
    card = score(labels, logits.argmax(axis=1), class_names)
    present = [name for name, row in zip(class_names, card.confusion, strict=True) if any(row)]
    if len(present) == 1:
        raise GateFailed(
            f"{run}: all {card.n:,} test pictures show {present[0]}, so one answer to all would be "
            "right; prepare a test split of every class"
        )
    if fault := float_fault(card):
        raise GateFailed(
            f"{run}: the float model fails by itself, so nothing was quantized: {fault}; {advice}"
        )
    never = [
        f"{name} ({count_of(sum(row), 'test picture')})"
        for i, (name, row) in enumerate(zip(class_names, card.confusion, strict=True))
        if sum(row) >= _SURELY_NEVER and not any(other[i] for other in card.confusion)
    ]
    if not never:
        return ""
    return f"note: the float model never answers {', '.join(never)}; {advice}"
