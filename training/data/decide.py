"""Label, split and, where it is left out, reason of every picture that was read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import picture_ids
from edgeemo.data.prepared import EXCLUDED, SPLITS
from training.data.conflicts import CONFLICTING, Given, settle
from training.data.read import Faces
from training.data.split_files import KnownSplit
from training.data.splits import (
    COPY_OF_TEST,
    COPY_OF_VALIDATION,
    ToSplit,
    given_split,
    grouped_split,
    official_split,
)

DROPPED_IN_REVIEW = "dropped in review"


@dataclass(frozen=True)
class Choices:
    """How labels are settled and pictures split."""

    class_names: Sequence[str]
    """What label numbers mean."""
    reviewed: Mapping[str, str]
    """A person's decisions by sha256: "keep", "drop" or a class name."""
    split: str = "grouped"
    """One of WAYS."""
    conflicts: str = "majority"
    """One of POLICIES."""
    seed: int = 1
    """Of the split."""
    known: KnownSplit | None = None
    """Parts that pictures have already; None without."""


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
    """For dataset.json: what conflicts, review and known parts came to."""


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
    pictures = _to_split(faces, settled.labels, groups, used)
    known, counts = _known(faces, pictures, used, choices.known)
    splits[used] = _split(pictures, choices, known)
    if counts is not None:
        counts["apart"] = _apart(groups, splits)
    left_out = (splits == EXCLUDED) & used
    reasons = np.where(left_out, _why_left_out(groups, splits), reasons)
    summary = {
        "conflicts": settled.summary,
        "reviewed": _review_counts(decisions, held_out, len(choices.reviewed)),
        "split_from": counts,
    }
    if choices.split == "given":
        summary["given"] = _given_counts(pictures, splits[used])
    return Decided(settled.labels, splits, reasons, summary)


def _to_split(
    faces: Faces, labels: NDArray[np.int64], groups: NDArray[np.int64], used: NDArray[np.bool_]
) -> ToSplit:
    ids = [faces.pictures[i].id for i in np.flatnonzero(used)]
    return ToSplit(ids, labels[used], groups[used], faces.held_out[used], faces.given[used])


def _split(pictures: ToSplit, choices: Choices, known: NDArray[np.str_] | None) -> NDArray[np.str_]:
    if choices.split == "given":
        return given_split(pictures, choices.seed)
    if choices.split == "official":
        return official_split(pictures, choices.seed, known)
    of_bundle = choices.known is not None and choices.known.spec is not None
    return grouped_split(pictures, choices.seed, known, test_known=of_bundle)


def _known(
    faces: Faces, pictures: ToSplit, used: NDArray[np.bool_], known: KnownSplit | None
) -> tuple[NDArray[np.str_] | None, dict[str, Any] | None]:
    """Parts (n,) that the pictures have already, and for dataset.json where from and how many."""
    if known is None:
        return None, None
    ids = pictures.ids if known.spec is None else picture_ids(faces.images[used])
    parts = known.of(ids)
    named = parts != ""
    copies = ~named & np.isin(pictures.groups, pictures.groups[named])
    return parts, {
        "origin": known.origin,
        "known": int(named.sum()),
        "with_their_copies": int(copies.sum()),
        "by_hash": int((~named & ~copies).sum()),
    }


def _apart(groups: NDArray[np.int64], splits: NDArray[np.str_]) -> int:
    """How many groups lie in several parts.

    Known parts win over copies that were found here and not where the split was made: else a
    neighbour that one machine finds would change the split again.
    """
    several = Counter(
        group for part in SPLITS for group in np.unique(groups[splits == part]).tolist()
    )
    return sum(count > 1 for count in several.values())


def _why_left_out(groups: NDArray[np.int64], splits: NDArray[np.str_]) -> NDArray[np.str_]:
    """(N,) the reason that a picture of no split would have."""
    of_validation = np.isin(groups, groups[splits == "validation"])
    of_test = np.isin(groups, groups[splits == "test"])
    return np.where(of_validation & ~of_test, COPY_OF_VALIDATION, COPY_OF_TEST)


def _given_counts(pictures: ToSplit, splits: NDArray[np.str_]) -> dict[str, int]:
    """For dataset.json: what became of the parts that the sets came in."""
    given = pictures.given
    moved = (given == "train") & np.isin(splits, ("validation", "test"))
    return {
        "kept": int((given == splits).sum()),
        "cut_from_train": int(moved.sum()),
        "without_a_part": int((given == "").sum()),
        "copies_left_out": int((splits == EXCLUDED).sum()),
    }


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
