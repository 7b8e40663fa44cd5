"""Every part of a bundle's promise is required, and each must have its type."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeemo.cli.main import main
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.models import find_model, shipped_models
from edgeemo.proof.promise import promise_faults
from tests.support import done_here, matching_hashes, rezip


def with_report(bundle: Bundle, report: object) -> Bundle:
    return replace(bundle, files={**bundle.files, "report.json": json.dumps(report).encode()})


def emptied_digests(report: dict[str, Any], share: float) -> None:
    trace = report["selftest"]["int8.tflite"]
    for entry in trace[: round(share * len(trace))]:
        entry[1] = ""


@pytest.fixture(scope="module")
def base() -> Bundle:
    return read_bundle(find_model("base"))


@pytest.mark.parametrize("name", sorted(shipped_models()))
def test_shipped_bundles_hold_every_part(name: str) -> None:
    assert promise_faults(read_bundle(find_model(name))) == []


def test_a_fresh_bundle_holds_every_part(tiny_bundle: Path) -> None:
    assert promise_faults(read_bundle(tiny_bundle)) == []


FIELDS = [
    "artifacts",
    "float",
    "format",
    "labels",
    "limits",
    "made_with",
    "n",
    "pictures",
    "selftest",
    "split",
]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_or_ill_typed_part_of_the_report_is_named(base: Bundle, field: str) -> None:
    report = base.report()
    assert sorted(report) == sorted([*FIELDS, "gate"])  # which older reports lack
    without = {name: value for name, value in report.items() if name != field}
    (fault,) = promise_faults(with_report(base, without))
    assert fault.startswith(f"base.edgeemo: its report's {field}: expected ")
    assert "received nothing; build the bundle again" in fault
    (fault,) = promise_faults(with_report(base, report | {field: None}))
    assert "received NoneType" in fault


def test_an_empty_report_or_evaluation_is_a_fault(base: Bundle) -> None:
    assert len(promise_faults(with_report(base, {}))) == len(FIELDS)
    emptied = replace(base, manifest=replace(base.manifest, evaluation=()))
    assert promise_faults(emptied) == [
        "int8.tflite: expected one evaluation in the manifest, received 0; build the bundle again"
        " with: python -m export build"
    ]
    twice = replace(base.manifest, evaluation=base.manifest.evaluation * 2)
    assert "received 2" in promise_faults(replace(base, manifest=twice))[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["pictures"].pop("ids"), "pictures.ids: expected"),
        (lambda r: r["pictures"].update(ids="0" * 12), "pictures.ids: expected 3,579 ids"),
        (lambda r: r["float"].update(answers=7), "float.answers: expected a text, received int"),
        (lambda r: r["artifacts"].clear(), "no part for int8.tflite"),
        (lambda r: r["labels"].reverse(), "other labels than the manifest"),
        (lambda r: r["limits"].update(min_agreement="no"), "limits: expected numbers"),
        (lambda r: r["made_with"].update(numpy=2), "made_with: expected texts"),
        (lambda r: r["selftest"].update({"int8.tflite": []}), "no inner tensors of int8.tflite"),
        (lambda r: emptied_digests(r, 1.0), "has digests of 0 of the "),
        (lambda r: emptied_digests(r, 0.6), "inner tensors of int8.tflite, expected at least 50%"),
        (lambda r: r.update(format=99), "its report: expected format 2, received 99"),
        (lambda r: r.update(split=""), "split: expected test, received ''"),
        (lambda r: r.update(gate=[]), "gate: expected an object, received list"),
        (
            lambda r: r.update(gate={"pictures_needed": 299}),
            "gate.pictures_minimum: expected a whole number of 1 to its 3,579 pictures, received n",
        ),
        (
            lambda r: r.update(gate={"pictures_needed": True, "pictures_minimum": 9}),
            "gate.pictures_needed: expected 299 or more, received True",
        ),
    ],
)
def test_a_wrong_inner_part_is_named(
    base: Bundle, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    report = base.report()
    change(report)
    assert words in promise_faults(with_report(base, report))[0]


@pytest.mark.parametrize("what", ["report", "evaluation"])
def test_doctor_fails_where_the_promise_is_gone(what: str, tmp_path: Path) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        if what == "report":
            entries["report.json"] = b"{}"
        else:
            manifest["evaluation"] = []
        matching_hashes(entries, manifest)

    path = rezip(find_model("nano"), tmp_path / "emptied.edgeemo", change)
    done = done_here(main, "edgeemo", "doctor", "--model", path, "--json")
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert {check["name"] for check in checks if check["state"] == "problem"} == {"report"}
