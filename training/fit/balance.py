"""Ways of handling classes of unequal size, in training alone: equal numbers, or weights by
class.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import DataError


def balanced_rows(
    labels: NDArray[np.int64], n: int, class_names: Sequence[str], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Positions int64 (classes * n,) into `labels` (N,), n of each class, class by class.

    Of a class of more than n, n are drawn without replacement. Of a smaller one each is taken as
    often as it goes in n, and the rest is drawn without replacement; augmentation makes the copies
    different.

    Raises:
        DataError: a class has no picture, so nothing can be drawn from it.
    """
    return np.concatenate(
        [_drawn(np.flatnonzero(labels == i), n, name, rng) for i, name in enumerate(class_names)]
    )


def balanced_weights(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (classes,) weights n / (k n_c), as scikit-learn's "balanced".

    The rows of targets (n, classes) sum to 1. n_c is the sum of the class's targets and k the
    number of classes that occur; one that does not occur weighs 0. The mean of `targets @ weights`
    is 1, so the learning rate means what it does without weights.
    """
    sizes = targets.sum(axis=0, dtype=np.float64)
    weights = np.zeros(len(sizes))
    np.divide(len(targets), (sizes > 0).sum() * sizes, out=weights, where=sizes > 0)
    return weights.astype(np.float32)


def _drawn(
    members: NDArray[np.int64], n: int, name: str, rng: np.random.Generator
) -> NDArray[np.int64]:
    if not len(members):
        raise DataError(
            f"the training pictures hold no {name}, so the classes cannot be balanced; train "
            "without "
            "--balance"
        )
    times, rest = divmod(n, len(members))
    return np.concatenate([np.tile(members, times), rng.choice(members, rest, replace=False)])
