"""A backend without a model, for applications' tests: answers what it is set to."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS, check_labels, label_index
from edgeemo.errors import InvalidInput


class FakeBackend:
    """Answers every face with the same scores: `FakeBackend(happy=0.9)`.

    What is left to 1 is spread over the other labels. `say` changes the answer from the next face
    on; `FakeBackend.script` gives one answer after the other; `FakeBackend.of` answers for other
    labels or another input than the usual ones. `calls` counts the faces it was asked about.

    Raises:
        UnknownLabel: a word that is no label.
        InvalidInput: scores outside 0..1, or that sum to more than 1.
    """

    name, version, artifact, threads = "fake", "1", "none", 1

    labels: tuple[str, ...] = LABELS
    spec: InputSpec = DEFAULT_SPEC

    def __init__(self, **scores: float) -> None:
        self.calls = 0
        self._script = [_logits(scores, self.labels)]

    @classmethod
    def of(cls, labels: Sequence[str], spec: InputSpec = DEFAULT_SPEC) -> "FakeBackend":
        """A backend of these labels and this input, which finds all labels equal until `say`
        says more.

        Raises:
            InvalidInput: labels that no bundle could have.
        """
        check_labels(labels, "FakeBackend")
        made = cls()
        made.labels, made.spec = tuple(labels), spec
        made._script = [_logits({}, made.labels)]
        return made

    @classmethod
    def script(cls, answers: Sequence[Mapping[str, float]]) -> "FakeBackend":
        """Answers the faces in turn, one entry a face, `[{"happy": 0.9}, {"sad": 0.8}]`; the last
        one for all that follow.

        Raises:
            UnknownLabel, InvalidInput: as for the scores of one answer; InvalidInput without any.
        """
        if not answers:
            raise InvalidInput("expected at least one answer, received none")
        made = cls()
        made._script = [_logits(answer, made.labels) for answer in answers]
        return made

    def say(self, **scores: float) -> None:
        """Answer so from the next face on. Raises UnknownLabel, InvalidInput."""
        self._script = [_logits(scores, self.labels)]

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The given logits float32 (N, labels) for uint8 (N, H, W, C) inputs."""
        check_inputs(inputs, self.spec.shape)
        self.calls += len(inputs)
        return np.array([self._next() for _ in inputs], np.float32).reshape(-1, len(self.labels))

    def _next(self) -> NDArray[np.float32]:
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


def _logits(scores: Mapping[str, float], labels: Sequence[str]) -> NDArray[np.float32]:
    given = {label_index(word, labels): score for word, score in scores.items()}
    if not all(0 <= score <= 1 for score in given.values()) or sum(given.values()) > 1 + 1e-6:
        raise InvalidInput(
            f"expected scores of 0 to 1 that sum to at most 1, received {dict(scores)}"
        )
    rest = (1 - sum(given.values())) / max(1, len(labels) - len(given))
    full = np.array([given.get(i, rest) for i in range(len(labels))])
    return np.asarray(np.log(np.maximum(full, 1e-9)), np.float32)
