"""Label, split and, where it is left out, reason of every picture that was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.prepared import EXCLUDED
from training.data.conflicts import CONFLICTING, Given, settle
from training.data.read import Faces
from training.data.splits import COPY_OF_TEST, SPLITTERS

DROPPED_IN_REVIEW = "dropped in review"


@dataclass(frozen=True)
class Choices:
    """How labels are settled and pictures split."""

    class_names: Sequence[str]
    """What label numbers mean."""
    reviewed: Mapping[str, str]
    """A person's decisions by sha256: "keep", "drop" or a class name."""
    split: str = "grouped"
    """One of SPLITTERS."""
    conflicts: str = "majority"
    """One of POLICIES."""
    seed: int = 1
    """Of the split."""


@dataclass(frozen=True)
class Decided:
    """What was decided of N pictures."""

    labels: NDArray[np.int64]
    """int64 (N,), positions in the class names."""
    splits: NDArray[np.str_]
    """(N,) names of splits, or EXCLUDED."""
    reasons: NDArray[np.str_]
    """(N,) why a picture is excluded, "" for the others."""
    summary: dict[str, Any]
    """For dataset.json: what conflicts and review came to."""


def decide(faces: Faces, groups: NDArray[np.int64], choices: Choices) -> Decided:
    """Settle the labels of pictures in `groups` (N,) of copies, drop what is to be dropped,
    split.
    """
    decisions = [choices.reviewed.get(picture.sha256) for picture in faces.pictures]
    held_out = faces.held_out
    reviewed = _to_copies(_persons_labels(faces, decisions, choices.class_names), groups)
    given = Given(faces.labels, groups, faces.votes, held_out, reviewed)
    settled = settle(given, choices.conflicts, choices.class_names)

    dropped = np.isin(groups, groups[[d == "drop" for d in decisions]]) & ~held_out
    reasons = np.where(dropped, DROPPED_IN_REVIEW, np.where(settled.dropped, CONFLICTING, ""))
    used = reasons == ""
    splits = np.full(len(groups), EXCLUDED, "U10")  # room for "validation"
    split = SPLITTERS[choices.split]
    splits[used] = split(settled.labels[used], groups[used], held_out[used], choices.seed)
    reasons = np.where((splits == EXCLUDED) & used, COPY_OF_TEST, reasons)
    summary = {
        "conflicts": settled.summary,
        "reviewed": _review_counts(decisions, held_out, len(choices.reviewed)),
    }
    return Decided(settled.labels, splits, reasons, summary)


def _persons_labels(
    faces: Faces, decisions: Sequence[str | None], class_names: Sequence[str]
) -> NDArray[np.int64]:
    """int64 (N,), -1 where no person chose a label.

    "keep" fixes the given label; a held-out test part is what others compare on, so no review
    changes it.
    """
    number = {name: i for i, name in enumerate(class_names)}
    return np.array(
        [
            picture.label if decision == "keep" else number.get(decision or "", -1)
            for decision, picture in zip(decisions, faces.pictures, strict=True)
        ],
        np.int64,
    )


def _to_copies(person: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """A person's labels (N,), given to the copies too: of several copies, review shows one."""
    of_group = np.full(int(groups.max()) + 1, -1, np.int64)
    decided = np.flatnonzero(person >= 0)[::-1]  # backwards, so that the first one stays
    of_group[groups[decided]] = person[decided]
    return np.where(person >= 0, person, of_group[groups])


def _review_counts(
    decisions: Sequence[str | None], held_out: NDArray[np.bool_], rows: int
) -> dict[str, int]:
    decided = np.array([decision is not None for decision in decisions], bool)
    return {
        "decisions": rows,
        "pictures": int(decided.sum()),
        "not_applied_to_held_out": int((decided & held_out).sum()),
    }
