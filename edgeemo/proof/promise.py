"""Whether a bundle's report holds every part of what it promises, each of the right type."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgeemo.contract.answers import decode_ids
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.manifest import Format
from edgeemo.errors import BundleError

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
    its inner tensors.
    """
    where = bundle.path.name
    return [*_evaluation_faults(bundle), *(f"{where}: {fault}" for fault in _report(bundle))]


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
    yield from _value_faults(report)
    yield from _gate_faults(report)
    yield from _trace_faults(report, bundle)


def _gate_faults(report: Mapping[str, Any]) -> Iterator[str]:
    """Of how many pictures the gate asked for; reports that older versions wrote do not tell."""
    if "gate" not in report:
        return
    gate = report["gate"]
    if type(gate) is not dict:
        yield f"its report's gate: expected an object, received {type(gate).__name__}; {_AGAIN}"
        return
    for key in ("pictures_needed", "pictures_minimum"):
        if type(gate.get(key)) is not int or gate[key] < 1:
            yield (
                f"its report's gate.{key}: expected a whole number from 1, received "
                f"{_kind(gate, key)}; {_AGAIN}"
            )


def _trace_faults(report: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    traces = report["selftest"]
    for entry in bundle.manifest.artifacts:
        exact = entry.format is Format.TFLITE and entry.precision.is_integer
        if exact and not (isinstance(traces.get(entry.file), list) and traces[entry.file]):
            yield f"its report tells no inner tensors of {entry.file}; {_AGAIN}"


def _text_faults(part: Mapping[str, Any], name: str, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        if not isinstance(part.get(key), str) or not part[key]:
            yield (
                f"its report's {name}.{key}: expected a text, received {_kind(part, key)}; {_AGAIN}"
            )


def _value_faults(report: Mapping[str, Any]) -> Iterator[str]:
    try:
        decode_ids(report["pictures"].get("ids"), report["n"], "its report's pictures.ids")
    except BundleError as error:
        yield str(error)
    if report["n"] < 1:
        yield f"its report is of no pictures; {_AGAIN}"
    if not all(type(value) in (int, float) for value in report["limits"].values()):
        yield f"its report's limits: expected numbers; {_AGAIN}"
    if not all(type(value) is str for value in report["made_with"].values()):
        yield f"its report's made_with: expected texts; {_AGAIN}"


def _kind(part: Mapping[str, Any], key: str) -> str:
    return type(part[key]).__name__ if key in part else "nothing"
