"""What a network is fitted to: hard labels, the votes of FER+'s ten taggers, or a mix of the
two.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.labels import FERPLUS_COLUMNS
from edgeemo.data.ferplus import group_votes, votes_to_labels
from edgeemo.data.prepared import Prepared
from edgeemo.errors import DataError, InvalidInput
from training.fit.recipe import LABEL_CHOICES

_UNVOTED, _NO_VOTES = "votes not known", "no vote for any of the classes"


@dataclass(frozen=True)
class Targets:
    """What some pictures of a prepared folder are fitted to."""

    rows: NDArray[np.int64]
    """int64 (n,), row numbers of the pictures, in the order asked for, without those left out."""
    values: NDArray[np.float32]
    """float32 (n, classes), each row sums to 1."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many pictures were left out, by reason."""
    kept_hard: dict[str, int] = field(default_factory=dict)
    """How many pictures of a mix have their hard label alone, by reason."""
    votes_dropped: dict[str, int] = field(default_factory=dict)
    """Votes of the pictures in `rows` for what is none of the classes, by column."""


def targets(
    data: Prepared, rows: NDArray[np.int64], labels: str, mix: float = 0.5, smoothing: float = 0.0
) -> Targets:
    """Targets of the pictures `rows` (n,).

    labels: "fer2013", the hard labels; "ferplus", the share of each class among the votes for the
    classes; "mix", `mix` parts of the votes and 1 - `mix` of the hard label. `smoothing` (0..1) is
    label smoothing of the hard labels; votes are soft already. A picture without usable votes (see
    `unusable_votes`) is left out with "ferplus" and keeps its hard label with "mix".

    Raises:
        InvalidInput: another choice of labels.
        DataError: votes are asked for and the folder has none, or no picture has a usable one.
    """
    if labels not in LABEL_CHOICES:
        raise InvalidInput(f"expected labels of {', '.join(LABEL_CHOICES)}, received {labels!r}")
    classes = len(data.class_names)
    hard = np.eye(classes, dtype=np.float32)[data.labels[rows]]
    if smoothing:
        hard = hard * np.float32(1 - smoothing) + np.float32(smoothing / classes)
    if labels == "fer2013":
        return Targets(rows, hard)
    votes = group_votes(data)[rows]
    reasons = unusable_votes(votes, data.class_names)
    usable = reasons == ""
    if not usable.any():
        raise DataError(
            f"{data.path}: none of {count_of(len(rows), 'picture')} has usable FER+ votes; train "
            "with --labels fer2013"
        )
    counts = dict(Counter(reasons[~usable].tolist()).most_common())
    shares, others = _shares(votes[usable], data.class_names)
    if labels == "ferplus":
        return Targets(rows[usable], shares, left_out=counts, votes_dropped=others)
    hard[usable] = np.float32(mix) * shares + np.float32(1 - mix) * hard[usable]
    return Targets(rows, hard, kept_hard=counts, votes_dropped=others)


def _shares(
    votes: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[NDArray[np.float32], dict[str, int]]:
    """float32 (n, classes) shares of usable votes (n, 10), and votes for none of them by column."""
    of_classes = votes_to_labels(class_names)
    soft = votes @ of_classes
    others = {
        FERPLUS_COLUMNS[i]: int(votes[:, i].sum())
        for i in np.flatnonzero(_other_columns(of_classes))
    }
    return (soft / soft.sum(axis=1, keepdims=True)).astype(np.float32), others


def unusable_votes(votes: NDArray[np.int64], class_names: Sequence[str]) -> NDArray[np.str_]:
    """(n,) why votes (n, 10) give no target, empty where they do.

    As in Barsoum et al. (2016), a picture is unusable when a column that is none of the classes
    (unknown, not a face, and contempt where it is no class) got more votes than each of the
    classes.
    """
    of_classes = votes_to_labels(class_names)
    classes = (votes @ of_classes).max(axis=1)
    others = np.where(_other_columns(of_classes), votes, -1)
    mostly = np.array([f"most votes for {column}" for column in FERPLUS_COLUMNS])[
        others.argmax(axis=1)
    ]
    reasons = np.where(others.max(axis=1) > classes, mostly, np.where(classes > 0, "", _NO_VOTES))
    return np.where((votes < 0).any(axis=1), _UNVOTED, reasons)


def _other_columns(of_classes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(10,): the columns of the votes that are none of the classes."""
    return np.asarray(of_classes.sum(axis=1) == 0)
