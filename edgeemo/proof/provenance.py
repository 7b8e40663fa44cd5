"""Whether what a bundle claims about itself fits together, as far as that can be told without any
data.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import decode_labels
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.manifest import Evaluation
from edgeemo.errors import BundleError, EdgeemoError
from edgeemo.proof.evaluation import Scorecard, paired_bounds, score


def holds_answers(bundle: Bundle) -> bool:
    """Whether the report tells the pictures' labels or an artifact's answers to them.

    Raises BundleError: no report.
    """
    report = bundle.report()
    artifacts = report.get("artifacts")
    parts = artifacts.values() if isinstance(artifacts, dict) else ()
    return "pictures" in report or any(
        isinstance(part, dict) and "answers" in part for part in parts
    )


def report_faults(bundle: Bundle) -> list[str]:
    """What is wrong with the manifest's numbers, given the labels and answers that the report
    lists; empty if nothing.

    The report is the bundle's own word and its inside has not been checked before: whatever is
    wrong with it is a fault in words, never an exception. A bundle from before labels and answers
    were recorded has no faults.
    """
    try:
        if not holds_answers(bundle):
            return []
        report = bundle.report()
    except BundleError as error:
        return [str(error)]
    faults = []
    for evaluation in bundle.manifest.evaluation:
        try:
            wrong = _wrong_number(evaluation, report, bundle.labels)
        except EdgeemoError as error:  # labels or answers of another kind or number, or none at all
            faults.append(str(error))
            continue
        if wrong:
            faults.append(
                f"{evaluation.artifact}: its manifest's {wrong} is not that of the answers in its"
                " report; do not use this bundle"
            )
    return faults


def _wrong_number(
    evaluation: Evaluation, report: dict[str, Any], class_names: tuple[str, ...]
) -> str:
    """The first of the manifest's numbers that the answers do not give; "" where there is none.

    Raises EdgeemoError.
    """

    def listed(what: str, *keys: str) -> NDArray[np.int64]:
        return decode_labels(
            _within(report, *keys),
            evaluation.n,
            len(class_names),
            f"{evaluation.artifact}: {what} in its report",
        )

    labels = listed("the pictures' labels", "pictures", "labels")
    answers = listed("its answers", "artifacts", evaluation.artifact, "answers")
    card = score(labels, answers, class_names)
    claims = _claims(card, evaluation.confusion, evaluation.top1, evaluation.macro_f1)
    claims |= {
        f"recall of {name}": (evaluation.per_class_recall[name], card.per_class_recall[name])
        for name in class_names
    }
    if "float" in report:
        floats = listed("the float model's answers", "float", "answers")
        full = _claims(
            score(labels, floats, class_names),
            evaluation.float_confusion,
            evaluation.float_top1,
            evaluation.float_macro_f1,
        )
        claims |= {f"{name} of the float model": values for name, values in full.items()}
        claims["agreement"] = (evaluation.agreement, float((floats == answers).mean()))
        right, full_right = answers == labels, floats == labels
        drop, _, low, high = paired_bounds(
            evaluation.n, int(np.sum(full_right & ~right)), int(np.sum(~full_right & right))
        )
        claims["drop"] = (evaluation.drop, drop)
        claims["drop's lower bound"] = (evaluation.drop_interval[0], low)
        claims["drop's upper bound"] = (evaluation.drop_interval[1], high)
    return next(
        (name for name, (claimed, counted) in claims.items() if not _same(claimed, counted)), ""
    )


def _claims(
    card: Scorecard, confusion: tuple[tuple[int, ...], ...], top1: float, macro_f1: float
) -> dict[str, tuple[Any, Any]]:
    return {
        "confusion matrix": ([list(row) for row in confusion], card.confusion),
        "top-1": (top1, card.top1),
        "macro-F1": (macro_f1, card.macro_f1),
    }


def _within(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _same(claimed: Any, counted: Any) -> bool:
    if isinstance(claimed, float) and isinstance(counted, float):
        return math.isclose(claimed, counted, rel_tol=1e-9, abs_tol=1e-9)
    return bool(claimed == counted)
