"""Runs that another run leans on: teachers whose scores are soft targets, and the run whose weights training starts from."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.labels import LABELS
from edgeemo.contract.prepared import Prepared, file_sha256
from edgeemo.contract.quantize import softmax
from edgeemo.errors import RunError
from training.predict import mirrored, predict
from training.recipe import Recipe
from training.run import WEIGHTS, Run, check_fits, load_run


def trusted_run(path: str, data: Prepared) -> Run:
    """The finished run at `path`, if what it learned holds nothing of the pictures that are held out here.

    Raises:
        MissingFile, RunError: no run, of other labels, unfinished, or trained on another split.
        SpecMismatch: trained for another input spec.
    """
    run = load_run(path)
    check_fits(run, data)
    if run.config["split_hash"] != data.split_hash:
        raise RunError(
            f"{path}: was trained on another split than {data.path} holds (hashes {run.config['split_hash'][:12]} and "
            f"{data.split_hash[:12]}), so it may have seen the test pictures; train it on {data.path} first"
        )
    if not (run.path / WEIGHTS).is_file():
        raise RunError(f"{path}: is not finished; finish it with: python -m training train --resume --out {path}")
    return run


def teacher_scores(recipe: Recipe, data: Prepared, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (n, 7) scores at the recipe's temperature of uint8 (n, 48, 48, 1), averaged over teachers and over mirroring."""
    total = np.zeros((len(images), len(LABELS)), np.float32)
    for path in recipe.teachers:
        model = trusted_run(path, data).build()
        for pictures in (images, mirrored(images)):
            total += softmax(predict(model, pictures) / np.float32(recipe.temperature))
    return total / np.float32(2 * len(recipe.teachers))


def leaned_on(recipe: Recipe, data: Prepared) -> list[dict[str, Any]]:
    """For config.json: each run that the recipe names, what it is for, and what its weights are."""
    named = [("init", recipe.init)] * bool(recipe.init) + [("teacher", path) for path in recipe.teachers]
    return [_identity(use, trusted_run(path, data)) for use, path in named]


def _identity(use: str, run: Run) -> dict[str, Any]:
    return {
        "use": use,
        "run": str(run.path),
        "weights_sha256": file_sha256(Path(run.path, WEIGHTS)),
        "model": run.recipe.model,
        "labels": run.recipe.labels,
        "seed": run.recipe.seed,
    }
