"""A sweep on paper: the importance of its choices, its trials as a table, and its picture."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import written_beside
from workstation.figures import plt, save_figure

WHY, SECONDS = "why", "seconds"  # what a sweep notes of a trial beside its choices and its top-1
_FEWEST_TO_WEIGH = 5  # trials; with fewer, importances are noise


def reached(trial: FrozenTrial) -> float:
    """The best validation top-1 that a trial reached, NaN without one."""
    return max(trial.intermediate_values.values(), default=math.nan)


def importances(study: optuna.Study, seed: int) -> dict[str, float]:
    """Each choice's share of what varies in top-1 over complete trials, largest first.

    By fANOVA (Hutter et al. 2014). Empty where too few trials are complete, or all are equally
    good.
    """
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(complete) < _FEWEST_TO_WEIGH or len({trial.value for trial in complete}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    try:
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))
    except RuntimeError:  # every tree drew trials that are equally good
        return {}


def write_table(path: Path, finished: Sequence[FrozenTrial]) -> None:
    """trials.csv: a row a finished trial in order, its choices behind."""
    with written_beside(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        choices = list(finished[0].params)
        writer.writerow(["trial", "state", "validation_top1", "epochs", "seconds", "why", *choices])
        for i, trial in enumerate(finished):
            score = reached(trial)
            writer.writerow(
                [
                    i + 1,
                    trial.state.name.lower(),
                    "" if math.isnan(score) else repr(score),
                    len(trial.intermediate_values),
                    trial.user_attrs[SECONDS],
                    trial.user_attrs.get(WHY, ""),
                    *(repr(trial.params[name]) for name in choices),
                ]
            )


def plot_sweep(path: Path, finished: Sequence[FrozenTrial], weights: Mapping[str, float]) -> None:
    """Left: each trial's validation top-1 in order, and the best so far. Right: what made the
    difference.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    scores = np.array([100 * reached(trial) for trial in finished])
    complete = np.array([trial.state == TrialState.COMPLETE for trial in finished], bool)
    number = np.arange(1, len(finished) + 1)
    left.scatter(number[complete], scores[complete], color="tab:blue", label="complete")
    left.scatter(
        number[~complete], scores[~complete], color="0.6", marker="x", label="given up early"
    )
    best = np.fmax.accumulate(np.where(complete, scores, np.nan))
    left.step(number, best, where="post", color="tab:orange", label="best so far")
    left.set(
        xlabel="trial", ylabel="best validation top-1 (%)", title=count_of(len(finished), "trial")
    )
    left.xaxis.get_major_locator().set_params(integer=True)
    # Clear of the points.
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
    if weights:
        names = list(weights)[::-1]
        right.barh(names, [weights[name] for name in names], color="tab:blue")
        right.set(
            xlabel="share of the variance in top-1", title="Importance of the choices (fANOVA)"
        )
    else:
        right.text(
            0.5,
            0.5,
            f"fewer than {_FEWEST_TO_WEIGH} complete trials, or all equal:\nno importances",
            ha="center",
        )
        right.set_axis_off()
    save_figure(figure, path)
