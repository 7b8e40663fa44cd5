"""Whether a bundle's report holds every part of what it promises, each of the right type."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgeemo.contract.answers import decode_ids
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.manifest import Format
from edgeemo.errors import BundleError
from edgeemo.proof.conditions import PICTURES_NEEDED, too_few_pictures
from edgeemo.proof.verdict import limit_faults, shown, verdict_faults

_FORMAT = 2
_SPLIT = "test"
# An interpreter keeps most inner tensors; tflite-runtime 2.14 loses the inputs of additions.
_LEAST_DIGESTS = 0.5
_AGAIN = "build the bundle again with: python -m export build"
# Fields of the report that something is decided by, and what kind of value each holds.
_FIELDS: Mapping[str, type] = {
    "format": int,
    "split": str,
    "n": int,
    "labels": list,
    "limits": dict,
    "pictures": dict,
    "float": dict,
    "artifacts": dict,
    "made_with": dict,
    "selftest": dict,
}
_JSON_WORDS = {int: "a whole number", str: "a text", list: "a list", dict: "an object"}


def promise_faults(bundle: Bundle) -> list[str]:
    """What is missing of the promise, or of another kind, in words; empty if nothing.

    Each model has one evaluation in the manifest, and answers in the report; the report tells
    pictures, their labels and the float model's answers; each integer TFLite model has a trace of
    its inner tensors. The limits are the gate's or stricter, its verdict is "passed", and what it
    decided by is that of the answers.
    """
    where = bundle.path.name
    faults = list(_report(bundle))
    if not faults:
        report = bundle.report()
        faults = [*limit_faults(report["limits"])]
        faults = faults or [*verdict_faults(bundle, report)]
    return [*_evaluation_faults(bundle), *(f"{where}: {fault}" for fault in faults)]


def _evaluation_faults(bundle: Bundle) -> Iterator[str]:
    judged = [evaluation.artifact for evaluation in bundle.manifest.evaluation]
    for artifact in bundle.manifest.artifacts:
        if (count := judged.count(artifact.file)) != 1:
            yield (
                f"{artifact.file}: expected one evaluation in the manifest, received {count};"
                f" {_AGAIN}"
            )


def _report(bundle: Bundle) -> Iterator[str]:
    try:
        report = bundle.report()
    except BundleError as error:
        yield str(error)
        return
    broken = [name for name, kind in _FIELDS.items() if type(report.get(name)) is not kind]
    for name in broken:
        yield (
            f"its report's {name}: expected {_JSON_WORDS[_FIELDS[name]]}, received"
            f" {_kind(report, name)}; {_AGAIN}"
        )
    if broken:
        return
    yield from _text_faults(report["pictures"], "pictures", ("ids", "labels"))
    yield from _text_faults(report["float"], "float", ("answers",))
    for entry in bundle.manifest.artifacts:
        part = report["artifacts"].get(entry.file)
        if not isinstance(part, dict):
            yield f"its report has no part for {entry.file}; {_AGAIN}"
        else:
            yield from _text_faults(part, entry.file, ("answers",))
    if report["labels"] != list(bundle.labels):
        yield f"its report has other labels than the manifest; {_AGAIN}"
    yield from _value_faults(report, bundle)
    yield from _gate_faults(report)
    yield from _trace_faults(report, bundle)


def _gate_faults(report: Mapping[str, Any]) -> Iterator[str]:
    """Whether the report is of as many pictures as it had to be of; older ones, which were built
    without a way to take fewer, have no part that tells.
    """
    gate, few = report.get("gate"), too_few_pictures(report["n"])
    if "gate" not in report:
        if few:
            yield f"its report is {few}, and it has no gate.pictures_minimum; {_AGAIN}"
        return
    if type(gate) is not dict:
        yield f"its report's gate: expected an object, received {type(gate).__name__}; {_AGAIN}"
        return
    needed, minimum = (gate.get(key) for key in ("pictures_needed", "pictures_minimum"))
    if type(needed) is not int or needed < PICTURES_NEEDED:
        yield (
            f"its report's gate.pictures_needed: expected {PICTURES_NEEDED} or more, received"
            f" {shown(needed)}; {_AGAIN}"
        )
    if type(minimum) is not int or not 1 <= minimum <= report["n"]:
        yield (
            f"its report's gate.pictures_minimum: expected a whole number of 1 to its"
            f" {count_of(report['n'], 'picture')}, received {shown(minimum)}; {_AGAIN}"
        )


def _trace_faults(report: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    traces = report["selftest"]
    for entry in bundle.manifest.artifacts:
        if entry.format is not Format.TFLITE or not entry.precision.is_integer:
            continue
        trace = traces.get(entry.file)
        if not isinstance(trace, list) or not trace:
            yield f"its report tells no inner tensors of {entry.file}; {_AGAIN}"
        elif (kept := sum(map(_has_digest, trace))) < _LEAST_DIGESTS * len(trace):
            yield (
                f"its report has digests of {kept:,} of the {len(trace):,} inner tensors of"
                f" {entry.file}, expected at least {_LEAST_DIGESTS:.0%}; {_AGAIN}"
            )


def _has_digest(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and bool(entry[1])


def _text_faults(part: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        if not isinstance(part.get(key), str) or not part[key]:
            yield (
                f"its report's {name}.{key}: expected a text, received {_kind(part, key)}; {_AGAIN}"
            )


def _value_faults(report: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    try:
        decode_ids(report["pictures"].get("ids"), report["n"], "its report's pictures.ids")
    except BundleError as error:
        yield str(error)
    if report["format"] != _FORMAT:
        received = str(report["format"])[:20]
        yield f"its report: expected format {_FORMAT}, received {received}; {_AGAIN}"
    if report["split"] != _SPLIT:
        yield f"its report's split: expected {_SPLIT}, received {report['split'][:60]!a}; {_AGAIN}"
    if any(measured.split != report["split"] for measured in bundle.manifest.evaluation):
        yield f"its manifest's evaluation is of another split than its report; {_AGAIN}"
    if report["n"] < 1:
        yield f"its report is of no pictures; {_AGAIN}"
    if not all(type(value) in (int, float) for value in report["limits"].values()):
        yield f"its report's limits: expected numbers; {_AGAIN}"
    if not all(type(value) is str for value in report["made_with"].values()):
        yield f"its report's made_with: expected texts; {_AGAIN}"


def _kind(part: Mapping[str, Any], key: str) -> str:
    return type(part[key]).__name__ if key in part else "nothing"
