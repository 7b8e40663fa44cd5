"""What the family is fitted to: votes and labels for teachers, their answers for students."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.data.ferplus import ferplus_majority, votes_to_labels
from training.fast.faces import Part
from training.fit.distill import informed
from training.fit.targets import unusable_votes

SMOOTHING = 0.1  # of hard labels
_MOST = 4  # times that a rare class's face is in an epoch's list
_COUNT = len(LABELS)


@dataclass(frozen=True)
class Answers:
    """What people said of n faces."""

    hard: NDArray[np.float32]
    """(n, 7) the hard label, 1 at its place."""
    shares: NDArray[np.float32]
    """(n, 7) shares of the votes among the seven; 0 where the votes are not usable."""
    usable: NDArray[np.bool_]
    """(n,) whether they are."""

    def blend(self, mix: float) -> NDArray[np.float32]:
        """(n, 7): `mix` parts of votes, the rest the hard label, which is alone where votes are not
        usable.
        """
        weight = np.where(self.usable, np.float32(mix), np.float32(0))[:, np.newaxis]
        return np.asarray(weight * self.shares + (1 - weight) * self.hard, np.float32)


def answers(part: Part) -> Answers:
    """The labels and votes of a part as targets."""
    usable = unusable_votes(part.votes, LABELS) == ""
    soft = (np.maximum(part.votes, 0) @ votes_to_labels(LABELS)).astype(np.float32)
    sums = np.maximum(soft.sum(axis=1, keepdims=True), 1)
    shares = np.where(usable[:, np.newaxis], soft / sums, 0).astype(np.float32)
    return Answers(np.eye(_COUNT, dtype=np.float32)[part.labels], shares, usable)


def repeated(given: Answers) -> NDArray[np.int64]:
    """Rows of an epoch's list: each face once, those of rare classes up to four times.

    A face's class is the most probable one by votes and label; a class of n faces is in the list
    floor(sqrt(largest / n)) times.
    """
    kinds = given.blend(0.6).argmax(axis=1)
    sizes = np.maximum(np.bincount(kinds, minlength=_COUNT), 1)
    times = np.clip(np.sqrt(sizes.max() / sizes).astype(np.int64), 1, _MOST)
    return np.repeat(np.arange(len(kinds)), times[kinds])


def teachers_targets(part: Part, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(1, n, 14) for two heads, of the part's `rows` (n,): shares of the votes, 0 where there are
    none, and the hard label.

    The second is half the label itself, smoothed, and half how probable each label is for who
    knows the votes alone.
    """
    given = answers(part)
    guess = softmax(
        informed(part.votes, np.zeros((len(part.votes), 1), np.float32), part.labels, _COUNT)(
            np.zeros((len(part.votes), 1), np.float32)
        )
    )
    hard = given.hard * np.float32(1 - SMOOTHING) + np.float32(SMOOTHING / _COUNT)
    both = np.concatenate([given.shares, 0.5 * hard + 0.5 * guess], axis=1)
    return both[rows][np.newaxis].astype(np.float32)


def of_heads(logits: NDArray[np.float32], mix: float) -> NDArray[np.float32]:
    """(..., n, 7) scores from logits (teachers, ..., n, 14): `mix` parts of the votes' head, the
    rest of the labels' head.
    """
    votes = softmax(logits[..., :_COUNT]).mean(axis=0)
    labels = softmax(logits[..., _COUNT:]).mean(axis=0)
    return np.asarray(np.float32(mix) * votes + np.float32(1 - mix) * labels, np.float32)


def chosen_mix(logits: NDArray[np.float32], validation: Part) -> float:
    """How many parts of votes the default target has, by what teachers' logits (teachers, n, 14)
    say of validation faces.

    Of 0.5 to 1 the one that names most FER-2013 labels, among those within 0.3 points of the best
    top-1 on FER+'s majority.
    """
    majority, known = ferplus_majority(validation.votes, LABELS)
    scored = []
    for mix in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        named = of_heads(logits, mix).argmax(axis=-1)
        by_votes = float((named[known] == majority[known]).mean()) if known.any() else 0.0
        scored.append((by_votes, float((named == validation.labels).mean()), mix))
    best = max(first for first, _, _ in scored)
    return max((second, mix) for first, second, mix in scored if first >= best - 0.003)[1]


def default_targets(
    given: Answers,
    rows: NDArray[np.int64],
    extra: int,
    soft: NDArray[Any],
    share: float,
    mix: float,
) -> NDArray[np.float16]:
    """(views, n + extra, 7) for students of both kinds of label.

    `soft` (views, n + extra, 7) are the teachers' scores of every view; they count `share`, and
    all of it for the `extra` faces without labels at the list's end.
    """
    return _with_soft(given.blend(mix)[rows], extra, soft, share)


def label_targets(
    given: Answers, rows: NDArray[np.int64], extra: int, soft: NDArray[Any], share: float
) -> NDArray[np.float16]:
    """The same for students of FER-2013's labels, from the scores of informed teachers."""
    hard = given.hard[rows] * np.float32(1 - SMOOTHING) + np.float32(SMOOTHING / _COUNT)
    return _with_soft(hard, extra, soft, share)


def informed_scores(
    part: Part, rows: NDArray[np.int64], logits: NDArray[np.float32]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Scores (n, 7) of FER-2013's labels from logits (n, 14) on any view, by who also sees the
    votes of the faces `rows` (n,).

    Fitted on the logits (n, 14) of one view.
    """
    inform = informed(part.votes[rows], logits, part.labels[rows], _COUNT)
    return lambda given: softmax(inform(given))


def _with_soft(
    people: NDArray[np.float32], extra: int, soft: NDArray[Any], share: float
) -> NDArray[np.float16]:
    weight = np.full((len(people) + extra, 1), share, np.float32)
    weight[len(people) :] = 1
    nobody = np.zeros((extra, _COUNT), np.float32)
    hard = np.concatenate([people, nobody]) * (1 - weight)
    return np.stack([(hard + weight * of_view).astype(np.float16) for of_view in soft])
