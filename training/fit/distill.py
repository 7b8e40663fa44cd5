"""Runs that another run learns from: teachers, and the run whose weights training starts from."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgeemo.contract.quantize import softmax
from edgeemo.contract.run import WEIGHTS, SourceRun
from edgeemo.data.ferplus import group_votes
from edgeemo.data.prepared import Prepared, file_sha256
from edgeemo.errors import RunError
from training.data.sources import FER2013_AGAIN
from training.fit.recipe import Recipe
from training.machines.compute import computing_in, fuse_normalization
from training.runs.predict import mirrored, predict
from training.runs.run import Run, check_fits, load_run

Inform = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def trusted_run(path: str, data: Prepared, recipe: Recipe, *, any_labels: bool = False) -> Run:
    """The finished run at `path`, if it has learned nothing of what is held out from `recipe`.

    With `any_labels` it may be of other labels, and of other sets, whose pictures these are not.

    Raises:
        MissingFile, RunError: no run, of other labels, unfinished, trained on another split or on
            validation pictures that are to judge here.
        SpecMismatch: trained for another input spec.
    """
    run = load_run(path)
    check_fits(run, data, any_labels=any_labels)
    if not (any_labels and _of_other_sets(run, data)):
        _check_unseen(path, run, data, recipe)
    if not (run.path / WEIGHTS).is_file():
        raise RunError(
            f"{path}: is not finished; finish it with: python -m training train --resume --out "
            f"{path}"
        )
    return run


def _of_other_sets(run: Run, data: Prepared) -> bool:
    return bool(run.config.data_sets) and not common_sets(run.config.learned_from, data)


def common_sets(sets: Sequence[str], data: Prepared) -> list[str]:
    """The sets of `data` whose pictures are among those of `sets`."""
    mine = [source["name"] for source in data.dataset["sources"]]
    again = FER2013_AGAIN if FER2013_AGAIN & set(sets) else frozenset()
    return [name for name in mine if name in sets or name in again]


def _check_unseen(path: str, run: Run, data: Prepared, recipe: Recipe) -> None:
    if run.config.split_hash != data.split_hash:
        raise RunError(
            f"{path}: was trained on another split than {data.path} holds (hashes "
            f"{run.config.split_hash[:12]} and {data.split_hash[:12]}), so it may have seen the "
            f"test pictures; train it on {data.path} first"
        )
    if run.recipe.with_validation and not recipe.with_validation:
        raise RunError(
            f"{path}: was trained on the validation pictures too, which would no longer judge what "
            "learns from it; add --with-validation or take a run without it"
        )


class Teachers:
    """The teachers of a recipe, and what they answer for the pictures `rows` (n,) of prepared data.

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
        self._inform: Inform | None = None
        images = data.images[rows]
        # (teachers, 2, n, classes): of each picture and its mirror image.
        self._logits = np.array(
            [
                [predict(model, x, title) for x in (images, mirrored(images))]
                for title, model in self._titled()
            ]
        )
        if recipe.informed:
            logits = _side_by_side(self._logits.mean(axis=1))
            classes = len(data.class_names)
            self._inform = informed(group_votes(data)[rows], logits, data.labels[rows], classes)

    def scores(self) -> NDArray[np.float32]:
        """float32 (n, classes) scores of the pictures at the recipe's temperature.

        They are averaged over teachers and over mirroring; those of informed teachers are softened
        from informed logits.
        """
        return self._softened(self._logits)

    def view_scores(self, view: int, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same of the pictures as augmented, float32 (n, H, W, C) pixels 0..255, not mirrored.

        The teachers are asked once for each `view`.
        """
        if view not in self._views:
            logits = [
                predict(model, images, f"{title}, view {view + 1}")
                for title, model in self._titled()
            ]
            self._views[view] = self._softened(np.array(logits)[:, np.newaxis])
        return self._views[view]

    def _titled(self) -> Iterator[tuple[str, keras.Model]]:
        """The teachers, and what each is called while it is asked."""
        for number, model in enumerate(self._models):
            yield f"asking teacher {number + 1} of {len(self._models)}", model

    def _softened(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, classes) scores from logits (teachers, 1 or 2, n, classes)."""
        if self._inform is not None:
            return softmax(self._inform(_side_by_side(logits.mean(axis=1))) / self._temperature)
        return np.asarray(np.mean(softmax(logits / self._temperature), axis=(0, 1)), np.float32)


def _side_by_side(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, classes * teachers) from (teachers, n, classes)."""
    return np.concatenate(list(logits), axis=1)


def informed(
    votes: NDArray[np.int64],
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
) -> Inform:
    """What makes logits (n, k) of teachers on n pictures, or on variants of them, informed ones.

    Informed logits, float32 (n, classes), say how probable each hard label is for someone who sees
    the votes (n, 10; -1: not known) and the teachers' logits.

    The teachers are privileged as in Lopez-Paz et al. (2016): they are shown what no student will
    see. Here it is the votes, which say better than one tagger's word what a face shows; fitted to
    these targets, a student is spared most of that word's noise. The logits are those of a logistic
    regression on the shares of the votes, their roots and the products of those, and on the logits.
    """
    known = (votes >= 0).all(axis=1, keepdims=True)
    shares = np.where(known, votes, 0) / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    roots = np.sqrt(shares)
    first, second = np.triu_indices(votes.shape[1], 1)
    of_votes = np.concatenate([known, shares, roots, roots[:, first] * roots[:, second]], axis=1)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.2, max_iter=2000))
    regression.fit(np.concatenate([of_votes, logits], axis=1), labels)

    def inform(answers: NDArray[np.float32]) -> NDArray[np.float32]:
        # A class without a single face has no column: as improbable as float32 can say.
        result = np.full((len(votes), classes), -100.0, np.float32)
        result[:, regression.classes_] = regression.predict_log_proba(
            np.concatenate([of_votes, answers], axis=1)
        )
        return result

    return inform


def run_identity(use: str, run: Run) -> SourceRun:
    """For config.json: a run that is learned from, what it is for, and what its weights are."""
    return SourceRun(
        use=use,
        run=str(run.path),
        weights_sha256=file_sha256(Path(run.path, WEIGHTS)),
        model=run.recipe.model,
        labels=run.recipe.labels,
        seed=run.recipe.seed,
        data_sets=run.config.learned_from,
    )
