"""Out-of-fold predictions: every picture is judged by a network that was fitted to no picture of its group."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from tqdm import tqdm

from edgeemo.contract import strict
from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import EXCLUDED, Prepared
from edgeemo.errors import DataError, RunError
from training.fit.loop import Diverged, fitted_epochs
from training.fit.recipe import Recipe
from training.runs.predict import predict


def out_of_fold(
    recipe: Recipe, data: Prepared, folds: int, cache: Path, *, progress: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows int64 (n,) of all pictures that are not excluded, ascending, and their logits float32 (n, 7).

    The folds are drawn from the recipe's seed. Each finished one is kept in the folder `cache` as fold_K.npz (`fitted` rows,
    held-out `rows` and their `logits`, and the `key` that says what they were made from) and is not trained again.

    Raises:
        DataError: a class has fewer groups than there are folds, or the recipe asks for what the data do not hold.
        RunError: interrupted, or the loss is no number.
        StorageError: `cache` cannot be written.
    """
    rows = np.flatnonzero(data.splits != EXCLUDED)
    logits = np.empty((len(rows), len(LABELS)), np.float32)
    for held_out, found in fold_by_fold(recipe, data, rows, folds, cache, progress=progress):
        logits[held_out] = found
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
    """Yields of each fold which of `rows` (n,) it holds, (n,), and their logits float32 (m, 7).

    Raises and keeps finished folds as `out_of_fold` does.
    """
    numbers = fold_numbers(data.labels[rows], data.groups[rows], folds, recipe.seed)
    for fold in range(folds):
        held_out = numbers == fold
        try:
            logits = _one_fold(
                recipe,
                data,
                rows[~held_out],
                rows[held_out],
                (fold, folds),
                cache / f"fold_{fold}.npz",
                progress,
            )
        except KeyboardInterrupt:
            raise RunError(
                f"stopped in fold {fold + 1} of {folds}; finished folds are kept in {cache}: run the same command again"
            ) from None
        except Diverged:
            raise RunError(
                f"the loss became no number in fold {fold + 1} of {folds}; take a recipe with a lower learning_rate"
            ) from None
        yield held_out, logits


def fold_numbers(
    labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int
) -> NDArray[np.int64]:
    """Fold 0 to `folds` - 1 of each picture, int64 (n,), from labels and groups (n,): groups whole, classes spread evenly.

    Raises:
        DataError: a class has fewer groups than there are folds.
    """
    for label in np.unique(labels):
        count = len(np.unique(groups[labels == label]))
        if count < folds:
            raise DataError(
                f"expected at least {folds} groups of pictures in each class for {folds} folds, found {count} of "
                f"{LABELS[label]}; use fewer --folds or prepare more data"
            )
    numbers = np.empty(len(labels), np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        numbers[held_out] = fold
    return numbers


def _one_fold(
    recipe: Recipe,
    data: Prepared,
    fitted: NDArray[np.int64],
    rows: NDArray[np.int64],
    which: tuple[int, int],
    file: Path,
    progress: bool,
) -> NDArray[np.float32]:
    """Logits float32 (n, 7) of the held-out `rows`, from the cache or from a network fitted to the rows `fitted`."""
    key = _key(recipe, data, which)
    logits = _read(file, key, fitted, rows)
    if logits is None:
        title = f"fold {which[0] + 1} of {which[1]}"
        epochs = tqdm(
            fitted_epochs(recipe, data, fitted),
            title,
            recipe.epochs,
            unit="epoch",
            disable=not progress,
        )
        model, _ = list(epochs)[-1]
        logits = predict(model, data.images[rows])
        with written_beside(file) as part, part.open("wb") as handle:
            np.savez(handle, key=np.array(key), fitted=fitted, rows=rows, logits=logits)
    return logits


def _key(recipe: Recipe, data: Prepared, which: tuple[int, int]) -> str:
    made_from = {
        "images_sha256": data.dataset["images_sha256"],
        "index_sha256": data.dataset["index_sha256"],
        "split_hash": data.split_hash,
        "recipe": recipe.to_dict(),
        "fold": which[0],
        "folds": which[1],
    }
    return strict.dumps(made_from, indent=None)


def _read(
    file: Path, key: str, fitted: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """The stored logits; None where there are none, where they were made from something else, or where they are damaged."""
    try:
        # Opened here, since np.load leaves a damaged file open.
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            same = np.array_equal(stored["fitted"], fitted) and np.array_equal(stored["rows"], rows)
            if str(stored["key"]) != key or not same:
                return None
            logits = np.asarray(stored["logits"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = (
        logits.dtype == np.float32
        and logits.shape == (len(rows), len(LABELS))
        and bool(np.isfinite(logits).all())
    )
    return logits if fits else None
