"""`report.json`: all that was measured of a bundle's artifacts (docs/report.md)."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import encode_labels, picture_ids
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared
from edgeemo.proof.evaluation import recall_intervals
from edgeemo.proof.limits import LIMITS
from edgeemo.proof.standings import standings
from edgeemo.version import __version__
from export.prove.gate import judge
from export.prove.measurement import Measurement
from export.run import Subject

FORMAT = 2
_PACKAGES = (
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "onnx",
    "tf2onnx",
    "onnxruntime",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "numpy",
)


def report_dict(
    run: Subject, data: Prepared, measurements: Sequence[Measurement]
) -> dict[str, Any]:
    """The report as plain JSON values, without the self-test's trace."""
    rows = data.indices("test")
    return {
        "format": FORMAT,
        "split": "test",
        "n": len(rows),
        "labels": list(run.class_names),
        "limits": dict(LIMITS),
        "pictures": {
            "ids": "".join(picture_ids(data.images[rows])),
            "labels": encode_labels(run.labels),
        },
        "float": {
            "answers": encode_labels(run.logits.argmax(axis=1)),
            "by_prior": by_prior(run, data, run.logits),
        },
        "artifacts": {m.file: _artifact(run, data, m) for m in measurements},
        "made_with": _versions(),
    }


def _artifact(run: Subject, data: Prepared, measurement: Measurement) -> dict[str, Any]:
    verdict, candidate = measurement.verdict, measurement.candidate
    cards = (("float", verdict.float_card), ("artifact", verdict.card))
    return verdict.to_dict() | {
        "passed": not measurement.reasons,
        "reasons": list(measurement.reasons),
        "format": candidate.kind.format.value,
        "precision": candidate.kind.precision.value,
        "bytes": len(candidate.model),
        "quantization": candidate.detail,
        "seconds": round(measurement.seconds, 2),
        "answers": encode_labels(measurement.logits.argmax(axis=1)),
        "recall_intervals": {
            whose: recall_intervals(np.array(card.confusion), run.class_names)
            for whose, card in cards
        },
        "ferplus_majority": _against_ferplus(run, data, measurement.logits),
        "in_c": measurement.exact.to_dict() if measurement.exact else None,
        "by_prior": by_prior(run, data, measurement.logits),
        "test_looks": measurement.looks,
        "ladder": [attempt.to_dict() for attempt in measurement.attempts],
    }


def by_prior(
    run: Subject, data: Prepared, logits: NDArray[np.float32]
) -> dict[str, dict[str, dict[str, float]]]:
    """What test logits (N, classes) score under each prior, by what they are held against: "labels"
    and, where votes are known, "ferplus_majority".
    """
    truths = {"labels": (run.labels, np.ones(len(run.labels), bool))}
    if data.votes is not None:
        votes = group_votes(data)[data.indices("test")]
        majority, known = ferplus_majority(votes, run.class_names)
        if known.any():
            truths["ferplus_majority"] = majority, known
    return {
        what: {
            prior: asdict(at)
            for prior, at in standings(
                logits[known], labels[known], run.operating_point, run.class_names
            ).items()
        }
        for what, (labels, known) in truths.items()
    }


def _against_ferplus(
    run: Subject, data: Prepared, logits: NDArray[np.float32]
) -> dict[str, Any] | None:
    """The same comparison on the faces where more than half of FER+'s taggers agree.

    It is reported and decides nothing: few of those faces show disgust or fear, so that one of them
    moves macro-F1 by more than the gate allows.
    """
    if data.votes is None:
        return None
    votes = group_votes(data)[data.indices("test")]
    majority, known = ferplus_majority(votes, run.class_names)
    if not known.any():
        return None
    verdict = judge(run.logits[known], logits[known], majority[known], run.class_names)
    values = verdict.to_dict()
    return {key: value for key, value in values.items() if key not in ("passed", "reasons")}


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {
        "edgeemo": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # one of the two TensorFlow packages is always absent
            continue
    return versions
