"""On what a network is fitted: one device, or what all kinds that share batches have in common."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import RunError
from training.fit.recipe import Recipe

Asked = int | Literal["all"] | None


class Devices:
    """One device, which Keras chooses; the kinds that share a batch among several are made of this
    one.

    count is the number of devices in all, on `workers` machines. One worker is the chief: it writes
    the run.
    """

    def __init__(self, count: int = 1, workers: int = 1, chief: bool = True) -> None:
        self.count, self.workers, self.chief = count, workers, chief

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Networks that are fitted, their checkpoints and their gradient steps belong inside.

        Raises:
            RunError: another worker was lost.
        """
        yield

    def step(self, model: keras.Model, x: Any, y: Any, weights: Any) -> float:
        """One gradient step on a whole batch, pictures x (n, ...), targets y (n, ...), weights (n,)
        or None; its mean loss.
        """
        # some versions of Keras do so themselves, others answer the mean over all steps so far
        model.reset_metrics()
        return float(model.train_on_batch(x, y, sample_weight=weights))

    def gathered(self, values: list[float]) -> NDArray[np.float64]:
        """(k, v) of the v values that each worker gives, the chief's first. Every worker waits here
        for all others.

        Raises:
            RunError: another worker was lost.
        """
        return np.array([values], np.float64)

    def check(self, recipe: Recipe, pictures: int) -> None:
        """Raise RunError unless these devices can share the recipe's batches of an epoch of so many
        pictures.
        """
        batch = min(recipe.batch_size, pictures)
        if left := batch % self.count:
            low, high = batch - left, batch - left + self.count
            raise RunError(
                f"expected a batch that {self.count} devices can share evenly, received one of "
                f"{count_of(batch, 'picture')}; "
                f"try --batch-size {low or high}{f' or {high}' if low else ''}"
            )

    def check_agreement(self, facts: dict[str, Any]) -> None:
        """Raise RunError on every worker unless all of them have the same facts (JSON values by
        what they are).
        """
        digests = [
            hashlib.sha256(strict.dumps({"": fact}).encode()).hexdigest() for fact in facts.values()
        ]
        everyone = self.gathered(
            [float(int(digest[:12], 16)) for digest in digests]
        )  # 48 bits: exact in a float64
        apart = [name for name, marks in zip(facts, everyone.T, strict=True) if len(set(marks)) > 1]
        if apart:
            raise RunError(
                f"expected the same {' and '.join(apart)} on all workers, received different ones; "
                "start each with the same command "
                "and version, and resume from one folder or from copies of the chief's"
            )


ONE = Devices()


def taken(available: list[str], asked: Asked, *, accelerators: bool) -> list[str]:
    """Those of the devices `available` that are `asked` for; processors have to be asked for."""
    if asked is None:
        return available if accelerators else available[:1]
    if asked == "all":
        return available
    if asked > len(available):
        raise RunError(
            f"expected at most {len(available)} as --devices, which are all that there are here "
            f"({', '.join(available)}), received {asked}"
        )
    return available[:asked]
