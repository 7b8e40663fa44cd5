"""`report.json`: everything that was measured of a bundle's artifacts against the float model (docs/report.md)."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgeemo
from edgeemo.contract.answers import encode_labels, picture_ids
from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared
from edgeemo.proof.evaluation import recall_intervals
from export.prove.gate import Verdict, judge, limits
from export.prove.ladder import Attempt
from export.run import FloatRun

FORMAT = 2


@dataclass(frozen=True)
class Measured:
    """One artifact on the test split.

    Attributes:
        file, model: its name in the bundle and its bytes. detail: how it was quantized, "" where it was not.
        logits: float32 (N, 7). verdict: the gate's.
        attempts: the steps of the ladder that led to it. looks: how many candidates met the test split.
        seconds: that the N inferences took.
        reasons: why it may not ship; empty if it may.
    """

    file: str
    model: bytes
    detail: str
    logits: NDArray[np.float32]
    verdict: Verdict
    attempts: tuple[Attempt, ...]
    looks: int
    seconds: float
    reasons: tuple[str, ...]


def report_dict(run: FloatRun, data: Prepared, made: Mapping[str, Measured]) -> dict[str, Any]:
    """The report as plain JSON values, without the self-test's trace."""
    rows = data.indices("test")
    return {
        "format": FORMAT,
        "split": "test",
        "n": len(rows),
        "labels": list(LABELS),
        "limits": limits(),
        "pictures": {
            "ids": "".join(picture_ids(data.images[rows])),
            "labels": encode_labels(run.labels),
        },
        "float": {"answers": encode_labels(run.logits.argmax(axis=1))},
        "artifacts": {file: _artifact(run, data, measured) for file, measured in made.items()},
        "made_with": _versions(),
    }


def _artifact(run: FloatRun, data: Prepared, measured: Measured) -> dict[str, Any]:
    cards = (("float", measured.verdict.float_card), ("artifact", measured.verdict.card))
    return measured.verdict.to_dict() | {
        "passed": not measured.reasons,
        "reasons": list(measured.reasons),
        "bytes": len(measured.model),
        "quantization": measured.detail,
        "seconds": measured.seconds,
        "answers": encode_labels(measured.logits.argmax(axis=1)),
        "recall_intervals": {
            whose: recall_intervals(np.array(card.confusion)) for whose, card in cards
        },
        "ferplus_majority": _against_ferplus(run, data, measured.logits),
        "test_looks": measured.looks,
        "ladder": [attempt.to_dict() for attempt in measured.attempts],
    }


def _against_ferplus(
    run: FloatRun, data: Prepared, logits: NDArray[np.float32]
) -> dict[str, Any] | None:
    """The same comparison on the faces where more than half of FER+'s taggers agree; it is reported and decides nothing.

    Few of those faces show disgust or fear, so that one of them moves macro-F1 by more than the gate allows.
    """
    if data.votes is None:
        return None
    majority, known = ferplus_majority(group_votes(data)[data.indices("test")])
    if not known.any():
        return None
    verdict = judge(run.logits[known], logits[known], majority[known]).to_dict()
    return {key: value for key, value in verdict.items() if key not in ("passed", "reasons")}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = (
        "tensorflow-cpu", "tensorflow", "keras", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert", "ai-edge-quantizer", "numpy",
    )  # fmt: skip
    found = {
        "edgeemo": edgeemo.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for package in packages:
        try:
            found[package] = version(package)
        except (
            ImportError
        ):  # PackageNotFoundError: one of the two TensorFlow packages is always absent
            continue
    return found
