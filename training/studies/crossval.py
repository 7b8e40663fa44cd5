"""Cross-validation: how much a recipe's figures vary with the pictures that it is fitted to.

The test split stays unseen.
"""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import written_beside
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import InvalidInput
from edgeemo.proof.evaluation import score
from edgeemo.version import __version__
from training.fit.recipe import Recipe
from training.studies.folds import fold_by_fold
from workstation.figures import plt, save_figure

SUMMARY, PICTURE, FOLDS = "crossval.json", "crossval.png", "folds"
_TITLES = {"top1": "top-1", "macro_f1": "macro-F1", "ferplus_top1": "top-1, FER+"}


def crossval(
    recipe: Recipe, data_path: Path, out: Path, *, folds: int = 5, progress: bool = True
) -> dict[str, Any]:
    """Fit `folds` networks by `recipe` and judge each on the fold that it has not seen.

    Returns what crossval.json says. The pictures are those of the splits train and validation, in
    grouped and stratified folds drawn from the recipe's seed. Writes crossval.json, crossval.png
    and folds/fold_K.npz into `out`; finished folds there are not trained again.

    Raises:
        InvalidInput: the recipe names another run, which has seen pictures of every fold, or asks
            for validation besides.
        MissingFile, DataError, SpecMismatch: the folder does not fit; too few groups in a class for
            the folds.
        RunError: interrupted, or the loss is no number.
        StorageError: `out` cannot be written.
    """
    _check_honest(recipe)
    data = load_prepared(data_path)
    rows = np.flatnonzero(np.isin(data.splits, ("train", "validation")))
    judged = fold_by_fold(recipe, data, rows, folds, out / FOLDS, progress=progress)
    per_fold = [
        {"fold": i + 1} | _judged(data, rows[of_fold], logits)
        for i, (of_fold, logits) in enumerate(judged)
    ]
    summary = _summary(recipe, data, per_fold)
    with written_beside(out / SUMMARY) as part:
        part.write_text(strict.dumps(summary))
    _plot(out / PICTURE, summary)
    return summary


def _summary(recipe: Recipe, data: Prepared, per_fold: list[dict[str, Any]]) -> dict[str, Any]:
    """What crossval.json says."""
    measures = _measures(per_fold, data.class_names)
    return {
        "class_names": list(data.class_names),
        "data": str(data.path),
        "split_hash": data.split_hash,
        "recipe": recipe.to_dict(),
        "seed": recipe.seed,
        "pictures": sum(fold["n"] for fold in per_fold),
        "folds": per_fold,
        "summary": {name: mean_and_sd(values) for name, values in measures.items()},
        "edgeemo": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


def _check_honest(recipe: Recipe) -> None:
    """Raise InvalidInput where a fold's network would have seen the pictures that it judges."""
    if recipe.teachers or recipe.init:
        named = ", ".join(recipe.teachers or (recipe.init,))
        raise InvalidInput(
            f"expected a recipe without teachers and init, received {named}: it has seen pictures "
            "of every fold, so no figure would be honest; cross-validate the recipe without it"
        )
    if recipe.with_validation:
        raise InvalidInput(
            "expected a recipe without with_validation: the folds are made of train and validation "
            "already"
        )


def mean_and_sd(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and sample standard deviation (n - 1) of the folds that have a value.

    None where there are too few for one.
    """
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
    }


def table_lines(summary: dict[str, Any]) -> Iterator[str]:
    """What crossval.json says, in percent: a row a class, a column a fold, mean and sd at the
    end.
    """
    folds, recipe = summary["folds"], summary["recipe"]
    yield (
        f"{recipe['model']}, {recipe['labels']}, {count_of(recipe['epochs'], 'epoch')}, seed "
        f"{summary['seed']}: "
        f"{summary['pictures']:,} pictures in {len(folds)} folds, recall and totals in %"
    )
    yield (
        "".ljust(12)
        + "".join(f"fold {fold['fold']}".rjust(9) for fold in folds)
        + "mean +- sd".rjust(16)
    )
    for name, values in _measures(folds, summary["class_names"]).items():
        mean, sd = (_percent(summary["summary"][name][key]) for key in ("mean", "sd"))
        cells = "".join(_percent(value).rjust(9) for value in values)
        yield _TITLES.get(name, name).ljust(12) + cells + f"{mean.rjust(8)} +- {sd.rjust(4)}"
    yield "pictures".ljust(12) + "".join(f"{fold['n']:,}".rjust(9) for fold in folds)


def _judged(data: Prepared, rows: NDArray[np.int64], logits: NDArray[np.float32]) -> dict[str, Any]:
    """One fold's figures, from its logits (n, 7)."""
    predicted = logits.argmax(axis=1)
    card = score(data.labels[rows], predicted, data.class_names)
    figures = {
        "n": card.n,
        "top1": card.top1,
        "macro_f1": card.macro_f1,
        "per_class_recall": card.per_class_recall,
        "confusion": card.confusion,
        "ferplus_n": 0,
        "ferplus_top1": None,
    }
    if data.votes is not None:
        majority, known = ferplus_majority(group_votes(data)[rows], data.class_names)
        if known.any():
            figures |= {
                "ferplus_n": int(known.sum()),
                "ferplus_top1": float((majority == predicted)[known].mean()),
            }
    return figures


def _measures(
    folds: Sequence[dict[str, Any]], class_names: Sequence[str]
) -> dict[str, list[float | None]]:
    """Each figure's value of every fold: recall by label, then the totals.

    Against the FER+ majority only where a fold has one.
    """
    measures: dict[str, list[float | None]] = {
        label: [fold["per_class_recall"][label] for fold in folds] for label in class_names
    }
    measures |= {name: [fold[name] for fold in folds] for name in _TITLES}
    if measures["ferplus_top1"] == [None] * len(folds):
        del measures["ferplus_top1"]
    return measures


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _plot(path: Path, summary: dict[str, Any]) -> None:
    """Each figure's mean with its standard deviation as error bar, and every fold as a dot."""
    measures = _measures(summary["folds"], summary["class_names"])
    figure, axes = plt.subplots(figsize=(9, 4.6), layout="constrained")
    for x, (name, values) in enumerate(measures.items()):
        known = [100 * value for value in values if value is not None]
        # Folds lie side by side, so that equal ones can be told apart.
        axes.scatter(x + np.linspace(-0.14, 0.14, len(known)), known, s=16, color="0.55", zorder=2)
        mean, sd = (summary["summary"][name][key] for key in ("mean", "sd"))
        if mean is not None:
            axes.errorbar(
                x,
                100 * mean,
                100 * (sd or 0),
                fmt="_",
                markersize=22,
                capsize=5,
                color="tab:blue",
                zorder=3,
            )
    axes.axvline(len(summary["folds"][0]["per_class_recall"]) - 0.5, color="0.8", linewidth=1)
    recipe = summary["recipe"]
    axes.set(
        xticks=range(len(measures)),
        xticklabels=[_TITLES.get(name, name) for name in measures],
        ylim=(-3, 103),
        ylabel="recall of each class, totals (%)",
        title=(
            f"{recipe['model']}, {recipe['labels']}: {len(summary['folds'])} folds (dots), mean "
            "and standard deviation"
        ),
    )
    axes.grid(axis="y", color="0.92")
    save_figure(figure, path)
