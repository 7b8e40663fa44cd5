"""Out-of-fold predictions: a picture's judge is a network that was fitted to none of its group."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.data.prepared import EXCLUDED, Prepared
from edgeemo.errors import DataError, Interrupted, RunError
from training.fit.anew import fitted_epochs
from training.fit.diverged import Diverged
from training.fit.recipe import Recipe
from training.runs.predict import predict
from workstation.progress import counted


def out_of_fold(
    recipe: Recipe, data: Prepared, folds: int, cache: Path, *, progress: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows int64 (n,) of all pictures that are not excluded, ascending, and their logits.

    The logits are float32 (n, classes). The folds are drawn from the recipe's seed. Each finished
    one is kept in the folder `cache` as fold_K.npz (`fitted` rows, held-out `rows` and their
    `logits`, and the `key` that says what they were made from) and is not trained again.

    Raises:
        DataError: a class has fewer groups than there are folds, or the recipe asks for what the
            data do not hold.
        RunError: interrupted, or the loss is no number.
        StorageError: `cache` cannot be written.
    """
    rows = np.flatnonzero(data.splits != EXCLUDED)
    logits = np.empty((len(rows), len(data.class_names)), np.float32)
    judged = fold_by_fold(recipe, data, rows, folds, cache, progress=progress)
    for held_out, of_fold in judged:
        logits[held_out] = of_fold
    return rows, logits


def fold_by_fold(
    recipe: Recipe,
    data: Prepared,
    rows: NDArray[np.int64],
    folds: int,
    cache: Path,
    *,
    progress: bool = True,
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
    """Yields of each fold which of `rows` (n,) it holds, (n,), and their logits (m, classes).

    Raises and keeps finished folds as `out_of_fold` does.
    """
    numbers = fold_numbers(
        data.labels[rows], data.groups[rows], folds, recipe.seed, data.class_names
    )
    for fold in range(folds):
        held_out = numbers == fold
        try:
            logits = _one_fold(
                _Fold(rows[~held_out], rows[held_out], fold, folds),
                recipe,
                data,
                cache / f"fold_{fold}.npz",
                progress,
            )
        except KeyboardInterrupt:
            raise Interrupted(
                f"stopped in fold {fold + 1} of {folds}; finished folds are kept in {cache}: run "
                "the same command again"
            ) from None
        except Diverged:
            raise RunError(
                f"the loss became no number in fold {fold + 1} of {folds}; take a recipe with a "
                "lower learning_rate"
            ) from None
        yield held_out, logits


def fold_numbers(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: int,
    seed: int,
    class_names: Sequence[str],
) -> NDArray[np.int64]:
    """Fold 0 to `folds` - 1 of each picture, int64 (n,), from labels and groups (n,).

    Groups stay whole, and classes are spread evenly.

    Raises:
        DataError: a class has fewer groups than there are folds.
    """
    for label in np.unique(labels):
        count = len(np.unique(groups[labels == label]))
        if count < folds:
            raise DataError(
                f"expected at least {folds} groups of pictures in each class for {folds} folds, "
                f"found {count} of {class_names[label]}; use fewer --folds or prepare more data"
            )
    numbers = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        numbers[held_out] = fold
    return numbers


@dataclass(frozen=True)
class _Fold:
    """One fold."""

    fitted: NDArray[np.int64]
    """int64 (m,), the rows that its network is fitted to."""
    rows: NDArray[np.int64]
    """int64 (n,), the rows that it judges."""
    number: int
    """From 0."""
    of: int
    """How many folds there are."""


def _one_fold(
    fold: _Fold, recipe: Recipe, data: Prepared, file: Path, progress: bool
) -> NDArray[np.float32]:
    """Logits float32 (n, classes) of the fold's rows, from the cache or from a new network."""
    key = _key(recipe, data, fold)
    logits = _read(file, key, fold, len(data.class_names))
    if logits is None:
        title = f"fold {fold.number + 1} of {fold.of}"
        inner = f"{title}, epoch" if progress else ""
        epochs = fitted_epochs(recipe, data, fold.fitted, inner)
        shown = counted(epochs, title, "epochs", recipe.epochs, shown=progress, keep=True)
        model, _ = list(shown)[-1]
        logits = predict(model, data.images[fold.rows])
        arrays: dict[str, Any] = {
            "key": np.array(key),
            "fitted": fold.fitted,
            "rows": fold.rows,
            "logits": logits,
        }
        make_folder(file.parent)
        with written_beside(file) as part, part.open("wb") as handle:
            np.savez(handle, **arrays)
    return logits


def _key(recipe: Recipe, data: Prepared, fold: _Fold) -> str:
    made_from = {
        "images_sha256": data.dataset["images_sha256"],
        "index_sha256": data.dataset["index_sha256"],
        "split_hash": data.split_hash,
        "recipe": recipe.to_dict(),
        "fold": fold.number,
        "folds": fold.of,
    }
    return strict.dumps(made_from, indent=None)


def _read(file: Path, key: str, fold: _Fold, classes: int) -> NDArray[np.float32] | None:
    """The stored logits; None where there are none, damaged ones, or ones made of something
    else.
    """
    try:
        # Opened here, since np.load leaves a damaged file open.
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            same = all(
                np.array_equal(stored[name], getattr(fold, name)) for name in ("fitted", "rows")
            )
            if str(stored["key"]) != key or not same:
                return None
            logits = np.asarray(stored["logits"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = logits.dtype == np.float32 and logits.shape == (len(fold.rows), classes)
    return logits if fits and np.isfinite(logits).all() else None
