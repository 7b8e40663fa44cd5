"""What is measured of a candidate on a split's pictures, and what a step of the ladder came to."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.convert.artifacts import Candidate
from export.prove.exact import Exact
from export.prove.gate import Verdict


@dataclass(frozen=True)
class Attempt:
    """A step's outcome on the validation split, and its price."""

    file: str
    """The candidate's name in a bundle."""
    step: str
    """The ladder's step."""
    detail: str
    """What the step did, in words."""
    bytes: int
    """Size of the file."""
    seconds: float
    """To make it and to measure it."""
    ms_per_face: float
    """Of one inference on the building machine."""
    top1: float
    """Share of right answers, 0..1."""
    drop: float
    """Paired drop in top-1 from the float model, 0..1."""
    drop_upper95: float
    """Its one-sided 95 % bound."""
    agreement: float
    """Share of pictures with the float model's label, 0..1."""
    mean_kl: float
    """Mean KL(float || candidate) in nats."""
    passed: bool
    """Whether nothing speaks against it."""
    reasons: tuple[str, ...]
    """What does, in words."""
    lacks_pictures: int | None
    """How many pictures could pass, where that there are fewer is all that speaks against it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Measurement:
    """A candidate's answers to the N pictures of one split, and the gate's verdict on them."""

    candidate: Candidate
    """What was measured."""
    logits: NDArray[np.float32]
    """float32 (N, labels)."""
    verdict: Verdict
    """The gate's."""
    seconds: float
    """That the N inferences took."""
    faults: tuple[str, ...] = ()
    """What speaks against it besides the gate, in words."""
    attempts: tuple[Attempt, ...] = ()
    """The steps of the ladder that led to it."""
    looks: int = 1
    """How many candidates of its ladder met the test split."""
    exact: Exact | None = None
    """What a microcontroller answers to the same pictures; None where it was not asked."""

    @property
    def file(self) -> str:
        """The candidate's name in a bundle."""
        return self.candidate.file

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it may not ship; empty if it may."""
        in_c = self.exact.verdict.reasons if self.exact else ()
        return (*self.faults, *self.verdict.reasons, *(f"in C: {reason}" for reason in in_c))

    @property
    def lacks_pictures(self) -> int | None:
        """How many pictures could pass the gate, where that there are fewer is all that it has
        against the file, in LiteRT and in C; 0 where it has nothing.
        """
        verdicts = [self.verdict, *([self.exact.verdict] if self.exact else [])]
        lacking = [verdict.lacks_pictures for verdict in verdicts if not verdict.passed]
        known = [count for count in lacking if count is not None]
        return max(known, default=0) if len(known) == len(lacking) else None

    @property
    def pictures_lacking(self) -> dict[str, int]:
        """By split, how many pictures could pass, where that there are fewer on it is all that
        speaks against the file; empty otherwise.

        Its best step on validation is the one that the test split was asked about.
        """
        lacking = {"validation": 0, "test": 0}
        if self.attempts and not any(attempt.passed for attempt in self.attempts):
            best = min(self.attempts, key=lambda attempt: attempt.mean_kl)
            if best.lacks_pictures is None:
                return {}
            lacking["validation"] = best.lacks_pictures
        if self.lacks_pictures is None:
            return {}
        lacking["test"] = self.lacks_pictures
        return {split: count for split, count in lacking.items() if count}

    @property
    def ms_per_face(self) -> float:
        """Milliseconds of one inference."""
        return 1000 * self.seconds / len(self.logits)

    def as_attempt(self, seconds: float) -> Attempt:
        """In short, as a step that took `seconds` in all."""
        verdict, candidate = self.verdict, self.candidate
        return Attempt(
            file=candidate.file,
            step=candidate.step,
            detail=candidate.detail,
            bytes=len(candidate.model),
            seconds=round(seconds, 2),
            ms_per_face=round(self.ms_per_face, 4),
            top1=verdict.card.top1,
            drop=verdict.drop.drop,
            drop_upper95=verdict.drop.upper95,
            agreement=verdict.agreement,
            mean_kl=verdict.mean_kl,
            passed=not self.reasons,
            reasons=self.reasons,
            lacks_pictures=None if self.faults else self.lacks_pictures or None,
        )
