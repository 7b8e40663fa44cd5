"""Runs that another run leans on: teachers whose scores are soft targets, and the run whose weights training starts from."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgeemo.contract.ferplus import group_votes
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


def teacher_scores(recipe: Recipe, data: Prepared, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 (n, 7) scores at the recipe's temperature of the pictures `rows` (n,), averaged over teachers and over mirroring.

    Those of informed teachers are softened from `informed_logits`.

    Raises:
        MissingFile, RunError, SpecMismatch: a teacher cannot be trusted, see `trusted_run`.
        DataError: the teachers are to be informed and the folder has no votes.
    """
    images, temperature = data.images[rows], np.float32(recipe.temperature)
    models = [trusted_run(path, data).build() for path in recipe.teachers]
    logits = [[predict(model, pictures) for pictures in (images, mirrored(images))] for model in models]
    if recipe.informed:
        means = np.concatenate([np.mean(pair, axis=0) for pair in logits], axis=1)
        return softmax(informed_logits(group_votes(data)[rows], means, data.labels[rows]) / temperature)
    return np.asarray(np.mean(softmax(np.array(logits, np.float32) / temperature), axis=(0, 1)), np.float32)


def informed_logits(
    votes: NDArray[np.int64], logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.float32]:
    """float32 (n, 7): how probable each hard label is for someone who sees votes (n, 10; -1: not known) and teachers' logits (n, k).

    The teachers are privileged as in Lopez-Paz et al. (2016): they are shown what no student will see. Here it is the votes, which
    say better than one tagger's word what a face shows; fitted to these targets, a student is spared most of that word's noise. The
    logits are those of a logistic regression on the shares of the votes, their roots and the products of those, and on the logits.
    """
    known = (votes >= 0).all(axis=1, keepdims=True)
    shares = np.where(known, votes, 0) / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    roots = np.sqrt(shares)
    first, second = np.triu_indices(votes.shape[1], 1)
    seen = np.concatenate([known, shares, roots, roots[:, first] * roots[:, second], logits], axis=1)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.2, max_iter=2000)).fit(seen, labels)
    # A class without a single face has no column there and is as improbable as float32 can say.
    informed = np.full((len(votes), len(LABELS)), -100.0, np.float32)
    informed[:, regression.classes_] = np.log(regression.predict_proba(seen))
    return informed


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
