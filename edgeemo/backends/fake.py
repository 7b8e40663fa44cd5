"""A backend without a model, for applications' tests: answers what it was told to."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS, label_index
from edgeemo.errors import InvalidInput


class FakeBackend:
    """Answers every face with the same scores: `FakeBackend(happy=0.9)`; what is left to 1 is spread over the others.

    `say` changes the answer from the next face on; `FakeBackend.script` gives one answer after the other. `calls` counts the faces it was asked about.

    Raises:
        UnknownLabel: a word that is no label.
        InvalidInput: scores outside 0..1, or that sum to more than 1.
    """

    name, version, artifact, threads = "fake", "1", "none", 1

    def __init__(self, **scores: float) -> None:
        self.calls = 0
        self._script = [_logits(scores)]

    @classmethod
    def script(cls, answers: Sequence[Mapping[str, float]]) -> Self:
        """Answers the faces in turn, one entry a face, `[{"happy": 0.9}, {"sad": 0.8}]`; the last one for all that follow.

        Raises:
            UnknownLabel, InvalidInput: as for the scores of one answer; InvalidInput without any.
        """
        if not answers:
            raise InvalidInput("expected at least one answer, received none")
        made = cls()
        made._script = [_logits(answer) for answer in answers]
        return made

    def say(self, **scores: float) -> None:
        """Answer so from the next face on. Raises UnknownLabel, InvalidInput."""
        self._script = [_logits(scores)]

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The told logits float32 (N, 7) for uint8 (N, 48, 48, 1) inputs."""
        check_inputs(inputs, DEFAULT_SPEC.shape)
        self.calls += len(inputs)
        return np.array([self._next() for _ in inputs], np.float32).reshape(-1, len(LABELS))

    def _next(self) -> NDArray[np.float32]:
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


def _logits(scores: Mapping[str, float]) -> NDArray[np.float32]:
    told = {label_index(word): score for word, score in scores.items()}
    if not all(0 <= score <= 1 for score in told.values()) or sum(told.values()) > 1 + 1e-6:
        raise InvalidInput(
            f"expected scores of 0 to 1 that sum to at most 1, received {dict(scores)}"
        )
    rest = (1 - sum(told.values())) / max(1, len(LABELS) - len(told))
    full = np.array([told.get(i, rest) for i in range(len(LABELS))])
    return np.asarray(np.log(np.maximum(full, 1e-9)), np.float32)
