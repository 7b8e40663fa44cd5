"""What a report says of each artifact, counted again from its answers; the gate's verdict included.

The gate itself is on the workstation (export/prove/gate.py) and judges by the same limits and
conditions, which `doctor` must not take from the report that it judges.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import decode_labels
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.manifest import Artifact
from edgeemo.errors import EdgeemoError
from edgeemo.proof.conditions import share_of_one_class, standing
from edgeemo.proof.evaluation import mcnemar_exact, paired_bounds, recall_intervals, score
from edgeemo.proof.limits import LIMITS, within

# An exact McNemar p takes quadratic time, and a report of others may list a million differences.
_MAX_MCNEMAR = 2_000
_DECIBELS = 1_000
_KL_ROUNDING = 1e-6  # float32 logits; a divergence is never below zero but for it
_COUNTED = ("card", "float_card", "drop", "class_drops", "agreement", "macro_f1_drop")
Answers = NDArray[np.int64]


def limit_faults(limits: Mapping[str, Any]) -> Iterator[str]:
    """Which of the gate's limits a report leaves out or loosens, in words."""
    for name, ours in LIMITS.items():
        theirs = limits.get(name)
        if not _is_number(theirs):
            yield f"its report's limits.{name}: expected a number, received {shown(theirs)}"
        elif theirs < ours if name.startswith("min_") else theirs > ours:
            yield (
                f"its report's limits.{name}: expected the gate's {ours:g} or a stricter one,"
                f" received {shown(theirs)}"
            )


def verdict_faults(bundle: Bundle, report: Mapping[str, Any]) -> Iterator[str]:
    """What of each artifact's part is missing, of another kind, or not that of the answers.

    The report's own fields must be there and of their types (`promise_faults`). Votes and logits
    are not in a bundle, so the comparison with FER+ must only fit together, and calibration errors,
    KL divergence and PSNR only lie in their bounds and the gate's.
    """
    names, n = bundle.labels, report["n"]
    try:
        labels = decode_labels(report["pictures"]["labels"], n, len(names), "pictures.labels")
        floats = decode_labels(report["float"]["answers"], n, len(names), "float.answers")
        for entry in bundle.manifest.artifacts:
            part = report["artifacts"][entry.file]
            answers = decode_labels(part["answers"], n, len(names), f"{entry.file}.answers")
            counted = _counted(labels, floats, answers, names)
            for fault in _part_faults(part, entry, counted, report["limits"], names):
                yield f"its report's {entry.file}: {fault}"
    except EdgeemoError as error:
        yield f"its report's {error}"
        return
    parts = [report["artifacts"][entry.file] for entry in bundle.manifest.artifacts]
    if any(part["ece_float"] != parts[0]["ece_float"] for part in parts if "ece_float" in part):
        yield "its report's artifacts have other ece_float of the one float model"


def _part_faults(
    part: Mapping[str, Any],
    entry: Artifact,
    counted: Mapping[str, Any],
    limits: Mapping[str, float],
    names: Sequence[str],
) -> Iterator[str]:
    yield from _differences(part, counted)
    faults = [*_loose_faults(part), *_about_faults(part, entry)]
    yield from faults
    if part.get("passed") is not True or part.get("reasons") != []:
        yield "expected the gate's verdict passed without reasons; do not use this bundle"
    if not faults:
        broken = _broken(part, counted, limits)
        if broken:
            yield f"its answers do not pass the gate ({', '.join(broken)}); do not use this bundle"
    if "ferplus_majority" not in part:
        yield "ferplus_majority: expected an object or null, received nothing"
    elif part["ferplus_majority"] is not None:
        for fault in _ferplus_faults(part["ferplus_majority"], counted, names):
            yield f"ferplus_majority: {fault}"


def _counted(
    labels: Answers, floats: Answers, answers: Answers, names: Sequence[str]
) -> dict[str, Any]:
    """What a report says of an artifact as far as labels and answers give it."""
    card, full = score(labels, answers, names), score(labels, floats, names)
    right, full_right = answers == labels, floats == labels
    lost, won = full_right & ~right, ~full_right & right
    cards = {"float": full, "artifact": card}
    return {
        "card": asdict(card),
        "float_card": asdict(full),
        "drop": _paired(len(labels), int(lost.sum()), int(won.sum())),
        "class_drops": {
            name: _paired(int(of.sum()), int((lost & of).sum()), int((won & of).sum()))
            for name, of in ((name, labels == i) for i, name in enumerate(names))
            if of.any()
        },
        "agreement": float((floats == answers).mean()),
        "macro_f1_drop": full.macro_f1 - card.macro_f1,
        "recall_intervals": {
            whose: recall_intervals(np.array(one.confusion), names) for whose, one in cards.items()
        },
    }


def _paired(n: int, b: int, c: int) -> dict[str, Any]:
    drop, standard_error, low, high = paired_bounds(n, b, c)
    return {
        "n": n,
        "b": b,
        "c": c,
        "drop": drop,
        "standard_error": standard_error,
        "lower95": low,
        "upper95": high,
        "mcnemar_p": mcnemar_exact(b, c) if b + c <= _MAX_MCNEMAR else None,
    }


def _differences(claimed: Any, counted: Any, where: str = "") -> Iterator[str]:
    """Where values of a report are not those counted, by path; more keys may be at the top."""
    if isinstance(counted, Mapping):
        if not isinstance(claimed, dict) or (where and set(claimed) != set(counted)):
            yield f"{where}: expected an object of {', '.join(counted)[:120]}"
            return
        for key, value in counted.items():
            path = f"{where}.{key}" if where else key
            if key == "mcnemar_p" and value is None and _is_share(claimed.get(key)):
                continue
            yield from _differences(claimed.get(key), value, path)
    elif not _same(claimed, counted):
        yield f"{where} is not that of the answers; do not use this bundle"


def _same(claimed: Any, counted: Any) -> bool:
    if isinstance(counted, (list, tuple)):
        return (
            isinstance(claimed, list)
            and len(claimed) == len(counted)
            and all(map(_same, claimed, counted))
        )
    if counted is None:
        return claimed is None
    return _is_number(claimed) and math.isclose(claimed, counted, rel_tol=1e-9, abs_tol=1e-9)


def _loose_faults(part: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the numbers that only logits would give."""
    for key in ("ece", "ece_float"):
        if not _is_share(part.get(key)):
            yield f"{key}: expected a share of 0 to 1, received {shown(part.get(key))}"
    kl = part.get("mean_kl")
    if not (_is_number(kl) and kl >= -_KL_ROUNDING):
        yield f"mean_kl: expected a number from 0, received {shown(kl)}"
    psnr = part.get("psnr_db", "nothing")
    if psnr is not None and not (_is_number(psnr) and 0 <= psnr <= _DECIBELS):
        yield f"psnr_db: expected 0 to {_DECIBELS} dB or null, received {shown(psnr)}"


def _about_faults(part: Mapping[str, Any], entry: Artifact) -> Iterator[str]:
    """Faults of what a report says besides accuracy; bundles of edgeemo 0.1 name no format,
    precision or looks.
    """
    is_one_of = {"format": entry.format.value, "precision": entry.precision.value}
    for key, value in ({"bytes": entry.bytes} | is_one_of).items():
        if part.get(key, None if key == "bytes" else value) != value:
            yield f"{key}: expected the manifest's {value}, received {shown(part.get(key))}"
    if not (_is_number(part.get("seconds")) and part["seconds"] >= 0):
        yield f"seconds: expected a number from 0, received {shown(part.get('seconds'))}"
    if not isinstance(part.get("quantization"), str):
        yield f"quantization: expected a text, received {shown(part.get('quantization'))}"
    ladder = part.get("ladder")
    if not isinstance(ladder, list) or not all(isinstance(step, dict) for step in ladder):
        yield f"ladder: expected a list of objects, received {shown(ladder)}"
    looks = part.get("test_looks", 1)
    if type(looks) is not int or looks < 1:
        yield f"test_looks: expected a whole number from 1, received {shown(looks)}"


def _broken(
    part: Mapping[str, Any], counted: Mapping[str, Any], limits: Mapping[str, float]
) -> list[str]:
    """Names of the limits that an artifact breaks, by its answers and the report's numbers."""
    confusion, full = (np.array(counted[card]["confusion"]) for card in ("card", "float_card"))
    recalls = [drop["lower95"] for drop in counted["class_drops"].values()]
    measured = {
        "max_drop_upper_bound": counted["drop"]["upper95"],
        "min_agreement": counted["agreement"],
        "max_macro_f1_drop": counted["macro_f1_drop"],
        "max_recall_drop_lower_bound": max(recalls),
        "max_ece_rise": part["ece"] - part["ece_float"],
        "max_mean_kl": part["mean_kl"],
        "min_float_over_majority": standing(full).over,
        "max_share_of_one_class": share_of_one_class(confusion, full),
    }
    return [name for name, value in measured.items() if not within(name, value, limits)]


def _ferplus_faults(part: Any, counted: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """Whether the comparison with FER+ fits itself, and the answers that it is a part of."""
    if not isinstance(part, dict):
        yield f"expected an object or null, received {shown(part)}"
        return
    matrices = [_matrix(part.get(card), len(names)) for card in ("card", "float_card")]
    if any(matrix is None for matrix in matrices):
        yield "expected confusion matrices of its card and float_card"
        return
    whole = [np.array(counted[card]["confusion"]) for card in ("card", "float_card")]
    confusion, full = (np.array(matrix) for matrix in matrices)
    if (confusion.sum(axis=1) != full.sum(axis=1)).any() or not 0 < confusion.sum() <= whole[
        0
    ].sum():
        yield "expected both confusion matrices to be of the same pictures"
        return
    # Its labels are FER+'s, but its answers are some of those that the report lists.
    if any(
        (one.sum(axis=0) > all_.sum(axis=0)).any()
        for one, all_ in zip((confusion, full), whole, strict=True)
    ):
        yield "counts more answers of a label than there are; do not use this bundle"
    yield from _differences(part, _of_matrices(part, confusion, full, names))
    yield from _loose_faults(part)
    n, total = int(confusion.sum()), counted["card"]["n"]
    agreement, other = part.get("agreement"), (1 - counted["agreement"]) * total
    if not _is_share(agreement) or (1 - agreement) * n > other + 1e-6:
        yield "agreement is not that of the answers; do not use this bundle"


def _matrix(card: Any, size: int) -> list[list[int]] | None:
    """A card's confusion matrix of counts; None where it has none."""
    rows = card.get("confusion") if isinstance(card, dict) else None
    if not isinstance(rows, list) or len(rows) != size:
        return None
    for row in rows:
        if not isinstance(row, list) or len(row) != size:
            return None
        if not all(type(count) is int and 0 <= count < 1 << 24 for count in row):
            return None
    return rows


def _of_matrices(
    part: Mapping[str, Any], confusion: Answers, full: Answers, names: Sequence[str]
) -> dict[str, Any]:
    """What both confusion matrices say, with the report's own counts where only those tell."""
    cards = [score(*_spread(matrix), names) for matrix in (full, confusion)]
    n, gained = confusion.sum(axis=1), np.diag(confusion) - np.diag(full)
    classes = {name: (int(n[i]), int(gained[i])) for i, name in enumerate(names) if n[i]}
    drops = part.get("class_drops")
    said = drops if isinstance(drops, dict) else {}
    class_drops = {name: _with_gain(said.get(name), *of) for name, of in classes.items()}
    return {
        "float_card": asdict(cards[0]),
        "card": asdict(cards[1]),
        "macro_f1_drop": cards[0].macro_f1 - cards[1].macro_f1,
        "class_drops": class_drops,
        "drop": _paired(
            int(n.sum()), *(sum(drop[key] for drop in class_drops.values()) for key in ("b", "c"))
        ),
    }


def _with_gain(said: Any, n: int, gained: int) -> dict[str, Any]:
    """The paired drop of n pictures of which the artifact gets `gained` more right, with b as said
    where it can be.
    """
    told = said.get("b") if isinstance(said, dict) else None
    b = least = max(0, -gained)
    if type(told) is int and least <= told and told + told + gained <= n:
        b = told
    return _paired(n, b, b + gained)


def _spread(matrix: Answers) -> tuple[Answers, Answers]:
    """Labels and answers that have this confusion matrix."""
    true, answered = np.indices(matrix.shape)
    counts = matrix.ravel()
    return np.repeat(true.ravel(), counts), np.repeat(answered.ravel(), counts)


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and -1e15 < value < 1e15


def _is_share(value: Any) -> TypeGuard[float]:
    return _is_number(value) and 0 <= value <= 1


def shown(value: Any) -> str:
    """The beginning of a value of a report, for a message."""
    return "nothing" if value is None else ascii(value)[:60]
