"""The ladder: int8 made with more and more effort, until its losses on `validation` pass the gate.

Each step is judged with the gate's own limits on the validation split, so that the test split,
which has the last word, is not what a step is chosen by.
"""

from collections.abc import Callable, Iterator

from export.convert.artifacts import Candidate
from export.prove.makers import Maker
from export.prove.measurement import Attempt, Measurement


def climb(
    maker: Maker,
    steps: tuple[str, ...],
    measure: Callable[[Candidate], Measurement],
    clock: Callable[[], float],
) -> Iterator[tuple[Candidate, Attempt]]:
    """Each step's candidate with its attempt; who has enough stops asking.

    `measure` runs a candidate on the validation split; `clock` gives seconds.
    """
    best: tuple[float, Candidate] | None = None
    for step in steps:
        start = clock()
        candidate = maker.make(step, best[1] if best else None)
        attempt = measure(candidate).as_attempt(clock() - start)
        # Mean KL uses every score, so it tells two candidates apart that give the same top labels.
        if best is None or attempt.mean_kl < best[0]:
            best = attempt.mean_kl, candidate
        yield candidate, attempt
