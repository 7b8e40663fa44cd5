"""A run's float network on one split: predictions and pictures into the run, and scorecards."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.quantize import softmax
from edgeemo.contract.run import Predictions, read_predictions, write_predictions
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from edgeemo.proof.evaluation import Scorecard, score
from training.runs.plots import plot_confusion, plot_reliability
from training.runs.predict import mirrored, predict
from training.runs.run import check_fits, load_run
from workstation.text import percent


def evaluate_run(run_path: Path, data_path: Path, split: str) -> Scorecard:
    """Evaluate a run's float network on a split; writes its predictions and pictures into the run.

    Raises:
        MissingFile, DataError, RunError, SpecMismatch: no run, no data, or they do not fit.
    """
    run = load_run(run_path)
    data = load_prepared(data_path, run.spec)
    check_fits(run, data)
    return write_split(run.build(), data, split, run.path)


def write_split(
    model: keras.Model, data: Prepared, split: str, out: Path, pictures: bool = True
) -> Scorecard:
    """Write predictions of a split into `out`; with `pictures` confusion matrices and reliability
    diagrams, too.

    Returns the scorecard against the data set's labels.
    """
    rows = data.indices(split)
    images, labels = data.images[rows], data.labels[rows]
    logits = predict(model, images, f"predicting {split}")
    of_mirrored = predict(model, mirrored(images), f"predicting {split}, mirrored")
    predictions = Predictions(logits, of_mirrored, labels, rows)
    write_predictions(out, split, predictions)
    names = data.class_names
    for against, truth, known in _truths(data, rows) if pictures else ():
        card = score(truth[known], logits[known].argmax(axis=1), names)
        suffix = "" if against == "labels" else "_ferplus"
        whose = "FER+ majority" if suffix else "data set's labels"
        title = f"{out.name}, {split}, {whose}: top-1 {percent(card.top1)}, n = {card.n:,}"
        plot_confusion(out / f"confusion_{split}{suffix}.png", card.confusion, names, title)
        reliability = out / f"reliability_{split}{suffix}.png"
        plot_reliability(reliability, logits[known], truth[known], names, title)
    return score(labels, logits.argmax(axis=1), names)


def scorecards(run_path: Path, data_path: Path, split: str) -> dict[str, Scorecard]:
    """Scorecards of a run's stored predictions on a split.

    "labels", and "ferplus_majority" where votes are known: there only the pictures count where more
    than half of the taggers agree on one of the classes. Both again with the logits of each picture
    and its mirror image averaged, as "labels_flipped" and "ferplus_majority_flipped".

    Raises:
        MissingFile, DataError, RunError: no run, no data, or predictions that are not of this
            split.
    """
    data = load_prepared(data_path)
    stored = _predictions(run_path, data, split)
    averaged = (stored.logits + stored.mirrored) / 2
    return _cards(data, stored.rows, {"": stored.logits, "_flipped": averaged})


def together(run_paths: Sequence[Path], data_path: Path, split: str) -> dict[str, Scorecard]:
    """Scorecards of several runs as one, whose scores are the mean of theirs, on a split.

    Named and raising as those of `scorecards`, those of mirror images left out.
    """
    data = load_prepared(data_path)
    answers = [softmax(_predictions(path, data, split).logits) for path in run_paths]
    return _cards(data, data.indices(split), {"": np.mean(answers, axis=0)})


def _predictions(run_path: Path, data: Prepared, split: str) -> Predictions:
    """A run's stored predictions on a split of `data`. Raises RunError where they are of others."""
    stored = read_predictions(run_path, split, len(data.class_names))
    if not np.array_equal(stored.rows, data.indices(split)):
        raise RunError(
            f"{run_path}: its predictions are not those of the {split} split of {data.path}; run: "
            f"python -m training evaluate {shlex.join([str(run_path), '--split', split])} --data "
            f"{shlex.quote(str(data.path))}"
        )
    return stored


def _cards(
    data: Prepared, rows: NDArray[np.int64], answers: Mapping[str, NDArray[Any]]
) -> dict[str, Scorecard]:
    """Scorecards of answers (n, classes) for `rows` (n,), by what they are judged against and the
    suffix of each.
    """
    return {
        against + suffix: score(truth[known], given[known].argmax(axis=1), data.class_names)
        for suffix, given in answers.items()
        for against, truth, known in _truths(data, rows)
    }


def _truths(
    data: Prepared, rows: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.bool_]]]:
    """What answers for `rows` (n,) are judged against: a name, labels (n,), and where they
    count.
    """
    yield "labels", data.labels[rows], np.ones(len(rows), bool)
    if data.votes is not None:
        majority, known = ferplus_majority(group_votes(data)[rows], data.class_names)
        if known.any():
            yield "ferplus_majority", majority, known
