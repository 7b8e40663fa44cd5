"""A folder of runs of one recipe by several seeds, as `train --seeds` writes it: seeds.json beside
a run folder for each seed.
"""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.run import CHECKPOINT, WEIGHTS
from edgeemo.errors import InvalidInput, RunError
from training.fit.recipe import Recipe

SEEDS = "seeds.json"
LARGEST_SEED = 2**32 - 1  # what NumPy, scikit-learn and Keras all take
MOST_SEEDS = 100
_MAX_BYTES = 1024**2


@dataclass(frozen=True)
class Seeds:
    """Runs of one recipe that differ in their seed.

    Raises:
        InvalidInput: no seeds, too many, one twice, or one that cannot be drawn by.
    """

    recipe: dict[str, Any]
    """The recipe as plain JSON values; each run has a seed of its own in it."""
    seeds: tuple[int, ...]
    """In the order of the training."""
    split_hash: str
    """`Prepared.split_hash` of the data."""

    def __post_init__(self) -> None:
        check_seeds(self.seeds)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise InvalidInput unless one run each can be trained by these seeds."""
    if not 1 <= len(seeds) <= MOST_SEEDS:
        raise InvalidInput(f"expected 1 to {MOST_SEEDS} seeds, received {len(seeds):,}")
    for seed in seeds:
        if not 0 <= seed <= LARGEST_SEED:
            raise InvalidInput(f"expected seeds of 0 to {LARGEST_SEED}, received {seed}")
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"expected each seed once, received {twice} twice: both runs would be the same"
        )


def seed_folder(path: str | Path, seed: int) -> Path:
    """Where the run of a seed lies."""
    return Path(path) / f"seed-{seed}"


def holds_seeds(path: str | Path) -> bool:
    """Whether `path` is a folder of several seeds' runs."""
    return (Path(path) / SEEDS).is_file()


def is_finished(run: Path) -> bool:
    """Whether the run folder `run` has its last weights, and no epoch left."""
    return (run / WEIGHTS).is_file() and not (run / CHECKPOINT).is_file()


def read_seeds(path: str | Path) -> Seeds:
    """What `path` was begun with.

    Raises:
        RunError: no such folder, or a damaged one.
    """
    file = Path(path) / SEEDS
    try:
        begun = strict.from_dict(Seeds, strict.loads(read_regular(file, _MAX_BYTES)), "seeds")
        return replace(begun, recipe=Recipe.from_dict(begun.recipe).to_dict())
    except (ValueError, OSError) as error:
        raise RunError(
            f"{file}: not what `train --seeds` wrote ({error}); train into another --out"
        ) from None


def write_seeds(path: Path, seeds: Seeds) -> None:
    """Write seeds.json of the folder `path`, which is made, in one step. Raises StorageError."""
    with written_beside(make_folder(path) / SEEDS) as part:
        part.write_text(strict.dumps(asdict(seeds) | {"seeds": list(seeds.seeds)}))


def runs_at(path: str) -> tuple[str, ...]:
    """The runs that `path` stands for: those of all its seeds, or the one run that it is.

    Raises:
        RunError: a seed's run is not finished.
    """
    if not holds_seeds(path):
        return (path,)
    runs = [seed_folder(path, seed) for seed in read_seeds(path).seeds]
    ahead = [run.name for run in runs if not is_finished(run)]
    if ahead:
        raise RunError(
            f"{path}: {', '.join(ahead)} not finished; finish with: "
            f"python -m training train --resume --data DATA --out {shlex.quote(str(path))}"
        )
    return tuple(str(run) for run in runs)
