"""Runs that another run leans on: teachers whose scores are soft targets, and the run whose weights training starts from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.data.ferplus import group_votes
from edgeemo.data.prepared import Prepared, file_sha256
from edgeemo.errors import RunError
from training.fit.compute import computing_in, fuse_normalization
from training.fit.recipe import Recipe
from training.runs.predict import mirrored, predict
from training.runs.run import WEIGHTS, Run, check_fits, load_run


def trusted_run(path: str, data: Prepared, recipe: Recipe) -> Run:
    """The finished run at `path`, if what it learned holds nothing of the pictures that are held out from `recipe`.

    Raises:
        MissingFile, RunError: no run, of other labels, unfinished, trained on another split or on validation pictures that are to
            judge here.
        SpecMismatch: trained for another input spec.
    """
    run = load_run(path)
    check_fits(run, data)
    if run.config["split_hash"] != data.split_hash:
        raise RunError(
            f"{path}: was trained on another split than {data.path} holds (hashes {run.config['split_hash'][:12]} and "
            f"{data.split_hash[:12]}), so it may have seen the test pictures; train it on {data.path} first"
        )
    if run.recipe.with_validation and not recipe.with_validation:
        raise RunError(
            f"{path}: was trained on the validation pictures too, which would no longer judge what learns from it; add "
            "--with-validation or take a run without it"
        )
    if not (run.path / WEIGHTS).is_file():
        raise RunError(
            f"{path}: is not finished; finish it with: python -m training train --resume --out {path}"
        )
    return run


class Teachers:
    """The teachers of a recipe, and what they say of the pictures `rows` (n,) of prepared data.

    Informed teachers have seen the votes for these pictures, see `informed`.

    Raises:
        MissingFile, RunError, SpecMismatch: a teacher cannot be trusted, see `trusted_run`.
        DataError: the teachers are to be informed and the folder has no votes.
    """

    def __init__(self, recipe: Recipe, data: Prepared, rows: NDArray[np.int64]) -> None:
        runs = [trusted_run(path, data, recipe) for path in recipe.teachers]
        with computing_in(recipe.precision):
            self._models = [run.build() for run in runs]
        for model in self._models:
            fuse_normalization(model)
        self._temperature = np.float32(recipe.temperature)
        self._views: dict[int, NDArray[np.float32]] = {}
        self._inform: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
        images = data.images[rows]
        # (teachers, 2, n, 7): of each picture and its mirror image.
        self._logits = np.array(
            [[predict(model, x) for x in (images, mirrored(images))] for model in self._models]
        )
        if recipe.informed:
            self._inform = informed(
                group_votes(data)[rows], _side_by_side(self._logits.mean(axis=1)), data.labels[rows]
            )

    def scores(self) -> NDArray[np.float32]:
        """float32 (n, 7) scores of the pictures at the recipe's temperature, averaged over teachers and over mirroring.

        Those of informed teachers are softened from informed logits.
        """
        return self._softened(self._logits)

    def view_scores(self, view: int, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of the pictures as augmented, float32 (n, 48, 48, 1) pixels 0..255, not mirrored; asked once for each `view`."""
        if view not in self._views:
            said = [predict(model, images) for model in self._models]
            self._views[view] = self._softened(np.array(said)[:, np.newaxis])
        return self._views[view]

    def _softened(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 7) scores from logits (teachers, 1 or 2, n, 7)."""
        if self._inform is not None:
            return softmax(self._inform(_side_by_side(logits.mean(axis=1))) / self._temperature)
        return np.asarray(np.mean(softmax(logits / self._temperature), axis=(0, 1)), np.float32)


def _side_by_side(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 7 * teachers) from (teachers, n, 7)."""
    return np.concatenate(list(logits), axis=1)


def informed(
    votes: NDArray[np.int64], logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """What makes logits (n, k) of teachers on n pictures, or on variants of them, informed ones, float32 (n, 7).

    Those say how probable each hard label is for someone who sees the votes (n, 10; -1: not known) and the teachers' logits.

    The teachers are privileged as in Lopez-Paz et al. (2016): they are shown what no student will see. Here it is the votes, which
    say better than one tagger's word what a face shows; fitted to these targets, a student is spared most of that word's noise. The
    logits are those of a logistic regression on the shares of the votes, their roots and the products of those, and on the logits.
    """
    known = (votes >= 0).all(axis=1, keepdims=True)
    shares = np.where(known, votes, 0) / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    roots = np.sqrt(shares)
    first, second = np.triu_indices(votes.shape[1], 1)
    of_votes = np.concatenate([known, shares, roots, roots[:, first] * roots[:, second]], axis=1)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.2, max_iter=2000))
    regression.fit(np.concatenate([of_votes, logits], axis=1), labels)

    def inform(said: NDArray[np.float32]) -> NDArray[np.float32]:
        # A class without a single face has no column there and is as improbable as float32 can say.
        result = np.full((len(votes), len(LABELS)), -100.0, np.float32)
        result[:, regression.classes_] = regression.predict_log_proba(
            np.concatenate([of_votes, said], axis=1)
        )
        return result

    return inform


def leaned_on(recipe: Recipe, data: Prepared) -> list[dict[str, Any]]:
    """For config.json: each run that the recipe names, what it is for, and what its weights are."""
    named = [("init", recipe.init)] * bool(recipe.init) + [
        ("teacher", path) for path in recipe.teachers
    ]
    return [_identity(use, trusted_run(path, data, recipe)) for use, path in named]


def _identity(use: str, run: Run) -> dict[str, Any]:
    return {
        "use": use,
        "run": str(run.path),
        "weights_sha256": file_sha256(Path(run.path, WEIGHTS)),
        "model": run.recipe.model,
        "labels": run.recipe.labels,
        "seed": run.recipe.seed,
    }
