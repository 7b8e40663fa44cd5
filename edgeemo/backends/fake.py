"""A backend without a model, for applications' tests: answers what it was told to."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS, label_index
from edgeemo.errors import InvalidInput


class FakeBackend:
    """Answers every face with the same scores: `FakeBackend(happy=0.9)`; what is left to 1 is spread over the others.

    `calls` counts the faces it was asked about.

    Raises:
        UnknownLabel: a word that is no label.
        InvalidInput: scores outside 0..1, or that sum to more than 1.
    """

    name, version, artifact, threads = "fake", "1", "none", 1

    def __init__(self, **scores: float) -> None:
        self.calls = 0
        self._logits = _logits(scores)

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The told logits float32 (N, 7) for uint8 (N, 48, 48, 1) inputs."""
        check_inputs(inputs, DEFAULT_SPEC.shape)
        self.calls += len(inputs)
        return np.repeat(self._logits[np.newaxis], len(inputs), axis=0)


def _logits(scores: Mapping[str, float]) -> NDArray[np.float32]:
    told = {label_index(word): score for word, score in scores.items()}
    if not all(0 <= score <= 1 for score in told.values()) or sum(told.values()) > 1 + 1e-6:
        raise InvalidInput(f"expected scores of 0 to 1 that sum to at most 1, received {dict(scores)}")
    rest = (1 - sum(told.values())) / max(1, len(LABELS) - len(told))
    full = np.array([told.get(i, rest) for i in range(len(LABELS))])
    return np.asarray(np.log(np.maximum(full, 1e-9)), np.float32)
