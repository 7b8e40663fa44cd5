"""A run's float model on one split: predictions and pictures into the run, scorecards against both kinds of labels."""

from pathlib import Path

import keras
import numpy as np

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.proof.evaluation import Scorecard, score
from training.runs.plots import plot_confusion, plot_reliability
from training.runs.predict import mirrored, predict
from training.runs.run import check_fits, load_run, write_predictions


def evaluate_run(run_path: Path, data_path: Path, split: str) -> Scorecard:
    """Evaluate a run's float model on a split, writing its predictions and pictures into the run."""
    run = load_run(run_path)
    data = load_prepared(data_path, run.spec)
    check_fits(run, data)
    return write_split(run.build(), data, split, run.path)


def write_split(model: keras.Model, data: Prepared, split: str, out: Path) -> Scorecard:
    """Write predictions, confusion matrix and reliability diagrams of a split into `out`; returns the scorecard."""
    rows = data.indices(split)
    images, labels = data.images[rows], data.labels[rows]
    logits, of_mirrored = predict(model, images), predict(model, mirrored(images))
    card = score(labels, logits.argmax(axis=1))
    write_predictions(out, split, logits, of_mirrored, labels, rows)
    judged = {"": (labels, np.ones(len(rows), bool))}
    if data.votes is not None:
        majority, known = ferplus_majority(group_votes(data)[rows])
        if known.any():
            judged["_ferplus"] = majority, known
    for suffix, (truth, known) in judged.items():
        by = score(truth[known], logits[known].argmax(axis=1))
        against = "FER+ majority" if suffix else "data set's labels"
        title = f"{out.name}, {split}, {against}: top-1 {by.top1:.1%}, n = {by.n:,}"
        plot_confusion(out / f"confusion_{split}{suffix}.png", by.confusion, title)
        plot_reliability(
            out / f"reliability_{split}{suffix}.png", logits[known], truth[known], title
        )
    return card


def scorecards(run_path: Path, data_path: Path, split: str) -> dict[str, Scorecard]:
    """Scorecards of a run's stored predictions on a split: "labels", and "ferplus_majority" where votes are known.

    Against the FER+ majority only the pictures count where more than half of the taggers agree on one of the seven. Both again
    with the logits of each picture and its mirror image averaged, as "labels_flipped" and "ferplus_majority_flipped".
    """
    data = load_prepared(data_path, DEFAULT_SPEC)
    with np.load(run_path / f"predictions_{split}.npz", allow_pickle=False) as stored:
        logits, rows = stored["logits"], stored["rows"]
        averaged = (logits + stored["mirrored"]) / 2
    judged = {"labels": (data.labels[rows], np.ones(len(rows), bool))}
    if data.votes is not None:
        judged["ferplus_majority"] = ferplus_majority(group_votes(data)[rows])
    return {
        name + suffix: score(truth[known], said[known].argmax(axis=1))
        for suffix, said in (("", logits), ("_flipped", averaged))
        for name, (truth, known) in judged.items()
        if known.any()
    }
