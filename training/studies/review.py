"""Label review: labels that a network which never saw the pictures finds improbable, for a
person.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import written_beside
from edgeemo.data.ferplus import group_votes, votes_to_labels
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import StorageError
from edgeemo.proof.evaluation import wilson_interval
from training.data.reviewed import read_reviewed
from training.fit.recipe import Recipe
from training.runs.run import check_fits, load_run
from training.studies.folds import out_of_fold
from training.studies.ranking import METHOD, Ranking, rank
from training.studies.review_files import CSV, PAGE, write_csv, write_page, write_sheets

SUMMARY, FOLDS = "review.json", "folds"
EPOCHS = 12  # enough to tell wrong labels; fitted for long, a network learns them by heart


def review(
    data_path: Path,
    run_path: Path,
    out: Path,
    *,
    folds: int = 5,
    epochs: int | None = None,
    top: int = 500,
    seed: int = 1,
    progress: bool = True,
) -> dict[str, Any]:
    """Rank the labels of a prepared folder with networks of a run's recipe.

    Writes the review into `out` and returns review.json. `epochs` is 12 by default, or the run's
    own where that is fewer.

    Raises:
        MissingFile, DataError, RunError, SpecMismatch: the folder or the run does not fit; too few
            pictures for the folds.
        StorageError: `out` cannot be written, or holds a review.csv with decisions.
    """
    run, data = load_run(run_path), load_prepared(data_path)
    check_fits(run, data)
    _keep_decisions(out / CSV, data)
    recipe = replace(run.recipe, epochs=epochs or min(EPOCHS, run.recipe.epochs), seed=seed)
    if progress:
        _show_start(recipe, run.recipe.epochs, folds)

    rows, logits = out_of_fold(recipe, data, folds, out / FOLDS, progress=progress)
    ranking = rank(data, rows, logits)
    suspects = ranking[np.flatnonzero(ranking.suggestions != data.labels[ranking.rows])[:top]]

    summary = {
        "run": str(run_path),
        "recipe": recipe.to_dict(),
        "folds": folds,
        "pictures": len(rows),
        "out_of_fold_top1": float((logits.argmax(axis=1) == data.labels[rows]).mean()),
    } | _summary(data, ranking, suspects)
    _write(out, data, ranking, suspects, summary)
    return summary


def _show_start(recipe: Recipe, epochs: int, folds: int) -> None:
    say(
        f"{folds} networks of {recipe.model}, {recipe.epochs} of the run's "
        f"{count_of(epochs, 'epoch')} each, "
        f"seed {recipe.seed}",
        err=True,
    )


def _summary(data: Prepared, ranking: Ranking, suspects: Ranking) -> dict[str, Any]:
    """What review.json says of the data and the suspects."""
    return {
        "data": str(data.path),
        "split_hash": data.split_hash,
        "method": METHOD,
        "ranked": len(ranking.rows),
        "suspects": len(suspects.rows),
        "suspects_by_label": _by_label(data.labels[suspects.rows], data.class_names),
        "ferplus": ferplus_check(data, ranking.rows, suspects),
    }


def contradicted(
    votes: NDArray[np.int64], labels: NDArray[np.int64], class_names: Sequence[str]
) -> NDArray[np.bool_]:
    """(n,) whether FER+ votes (n, 10) contradict label numbers (n,).

    They do where another of the ten columns has more votes than the label. A tie for the most votes
    that the label has part in does not contradict it, nor do votes a label that has no column.
    """
    of_classes = votes_to_labels(class_names)
    for_label = (votes @ of_classes)[np.arange(len(votes)), labels]
    has_column = np.asarray(of_classes.sum(axis=0) > 0)[labels]
    return np.asarray(has_column & (for_label < votes.max(axis=1)))


def ferplus_check(
    data: Prepared, ranked: NDArray[np.int64], suspects: Ranking
) -> dict[str, Any] | None:
    """How many suspects the FER+ votes contradict, against the share among all `ranked` rows.

    None where no votes are known.
    """
    if data.votes is None:
        return None
    votes = group_votes(data)
    known = np.asarray((votes >= 0).all(axis=1))
    asked, everything = known[suspects.rows], ranked[known[ranked]]
    rows, suggestions = suspects.rows[asked], suspects.suggestions[asked]
    if not len(rows):
        return None
    names = data.class_names
    hits = int(contradicted(votes[rows], data.labels[rows], names).sum())
    base = float(contradicted(votes[everything], data.labels[everything], names).mean())
    return {
        "suspects_with_votes": len(rows),
        "contradicted": hits,
        "precision": hits / len(rows),
        "interval": list(wilson_interval(hits, len(rows))),
        "pictures_with_votes": len(everything),
        "base_rate": base,
        "lift": hits / len(rows) / base if base else None,
        "suggestion_agrees": int((~contradicted(votes[rows], suggestions, names)).sum()),
    }


def _keep_decisions(file: Path, data: Prepared) -> None:
    """Raise StorageError where a person's work would be overwritten."""
    if file.is_file() and (decisions := read_reviewed(file, data.class_names)):
        raise StorageError(
            f"{file}: holds {count_of(len(decisions), 'decision')} and would be overwritten; move "
            "it away or choose another --out"
        )


def _write(
    out: Path, data: Prepared, ranking: Ranking, suspects: Ranking, summary: dict[str, Any]
) -> None:
    write_csv(out / CSV, data, suspects)
    write_sheets(out, data, ranking)
    write_page(out / PAGE, data, suspects, summary)
    with written_beside(out / SUMMARY) as part:
        part.write_text(strict.dumps(summary))


def _by_label(labels: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, int]:
    counts = Counter(labels.tolist())
    return {label: counts[i] for i, label in enumerate(class_names)}
