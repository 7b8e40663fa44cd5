"""What a report says of each artifact must be what its answers give, and pass the gate's limits."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeemo.contract.answers import decode_labels, encode_labels
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.models import find_model
from edgeemo.proof import verdict
from edgeemo.proof.limits import LIMITS
from edgeemo.proof.promise import promise_faults
from edgeemo.proof.provenance import report_faults
from export.prove import gate

Part = dict[str, Any]


@pytest.fixture(scope="module")
def base() -> Bundle:
    return read_bundle(find_model("base"))


def faults(bundle: Bundle, change: Callable[[dict[str, Any]], object]) -> list[str]:
    """The promise's faults once `change` has changed the report in place."""
    report = bundle.report()
    change(report)
    files = {**bundle.files, "report.json": json.dumps(report).encode()}
    return promise_faults(replace(bundle, files=files))


def of_part(bundle: Bundle, change: Callable[[Part], object]) -> list[str]:
    return faults(bundle, lambda report: change(report["artifacts"]["int8.tflite"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda part: part.update(passed=False), "the gate's verdict passed without reasons"),
        (lambda part: part.update(reasons=["x"]), "the gate's verdict passed without reasons"),
        (lambda part: part.update(card={}), "card: expected an object of n, top1"),
        (lambda part: part["card"].update(top1=0.99), "card.top1 is not that of the answers"),
        (lambda part: part["card"].update(top1=True), "card.top1 is not that of the answers"),
        (lambda part: part["float_card"]["interval"].reverse(), "float_card.interval is not"),
        (lambda part: part["drop"].update(lower95=-9.0), "drop.lower95 is not that of the answers"),
        (lambda part: part["drop"].update(mcnemar_p=0.5), "drop.mcnemar_p is not that"),
        (lambda part: part.update(class_drops={}), "class_drops: expected an object of angry"),
        (lambda part: part["recall_intervals"].pop("float"), "recall_intervals: expected"),
        (lambda part: part.update(agreement=1.0), "agreement is not that of the answers"),
        (lambda part: part.update(macro_f1_drop=0.0), "macro_f1_drop is not that of the answers"),
        (lambda part: part.update(ece=99), "ece: expected a share of 0 to 1, received 99"),
        (
            lambda part: part.pop("ece_float"),
            "ece_float: expected a share of 0 to 1, received noth",
        ),
        (lambda part: part.update(ece=0.5), "do not pass the gate (max_ece_rise)"),
        (lambda part: part.update(mean_kl=0.5), "do not pass the gate (max_mean_kl)"),
        (
            lambda part: part.update(mean_kl=-1.0),
            "mean_kl: expected a number from 0, received -1.0",
        ),
        (lambda part: part.update(psnr_db=-5), "psnr_db: expected 0 to 1000 dB or null"),
        (lambda part: part.update(bytes=7), "bytes: expected the manifest's 1979088, received 7"),
        (lambda part: part.update(precision="fp32"), "precision: expected the manifest's int8"),
        (lambda part: part.update(ladder="x"), "ladder: expected a list of objects"),
        (lambda part: part.update(test_looks=0), "test_looks: expected a whole number from 1"),
        (lambda part: part.pop("seconds"), "seconds: expected a number from 0, received nothing"),
        (lambda part: part.pop("quantization"), "quantization: expected a text, received nothing"),
    ],
)
def test_a_part_that_is_not_that_of_the_answers_is_named(
    base: Bundle, change: Callable[[Part], object], words: str
) -> None:
    fault = of_part(base, change)[0]
    assert fault.startswith("base.edgeemo: its report's int8.tflite: ")
    assert words in fault


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda part: part["card"].update(top1=0.999), "card.top1 is not that of the answers"),
        (lambda part: part["drop"].update(drop=0.3), "drop.drop is not that of the answers"),
        (lambda part: part["class_drops"]["happy"].update(b=9999), "class_drops.happy.b is not"),
        (lambda part: part.update(agreement=0.5), "agreement is not that of the answers"),
        (lambda part: part.pop("card"), "expected confusion matrices"),
        (lambda part: part["card"].update(confusion=[[1] * 7] * 7), "of the same pictures"),
        (lambda part: part.update(ece=99), "ece: expected a share"),
    ],
)
def test_the_comparison_with_ferplus_must_fit_together(
    base: Bundle, change: Callable[[Part], object], words: str
) -> None:
    fault = of_part(base, lambda part: change(part["ferplus_majority"]))[0]
    assert fault.startswith("base.edgeemo: its report's int8.tflite: ferplus_majority: ")
    assert words in fault


def test_answers_that_ferplus_cannot_have_seen_are_a_fault(base: Bundle) -> None:
    def all_happy(part: Part) -> None:
        for card in ("card", "float_card"):
            matrix = part["ferplus_majority"][card]["confusion"]
            matrix[:] = [[0] * 3 + [sum(row)] + [0] * 3 for row in matrix]

    assert "counts more answers of a label than there are" in of_part(base, all_happy)[0]
    assert "received nothing" in of_part(base, lambda part: part.pop("ferplus_majority"))[0]
    assert of_part(base, lambda part: part.update(ferplus_majority=None)) == []


def test_limits_may_be_stricter_and_no_looser(base: Bundle) -> None:
    assert len(faults(base, lambda report: report.update(limits={}))) == len(LIMITS)
    loose = faults(base, lambda report: report["limits"].update(max_mean_kl=1e9))
    assert loose == [
        "base.edgeemo: its report's limits.max_mean_kl: expected the gate's 0.02 or a stricter one,"
        " received 1000000000.0"
    ]
    (low,) = faults(base, lambda report: report["limits"].update(min_agreement=0.5))
    assert "limits.min_agreement: expected the gate's 0.97 or a stricter one" in low
    assert faults(base, lambda report: report["limits"].update(min_agreement=0.98)) == []
    (strict,) = faults(base, lambda report: report["limits"].update(min_agreement=0.999))
    assert "do not pass the gate (min_agreement)" in strict


def test_a_bundle_whose_answers_fail_the_gate_is_a_fault_though_all_fits(base: Bundle) -> None:
    report = base.report()
    names, n, part = base.labels, report["n"], report["artifacts"]["int8.tflite"]
    labels, floats, answers = (
        decode_labels(text, n, len(names), "")
        for text in (report["pictures"]["labels"], report["float"]["answers"], part["answers"])
    )
    answers[: n // 10] = (labels[: n // 10] + 1) % len(names)
    part.update(verdict._counted(labels, floats, answers, names), answers=encode_labels(answers))
    part["ferplus_majority"] = None
    (fault,) = faults(base, lambda changed: changed.update(report))
    assert "do not pass the gate (max_drop_upper_bound, min_agreement, max_macro_f1_drop" in fault
    one_hot = 9 * np.eye(len(names), dtype=np.float32)
    judged = gate.judge(one_hot[floats], one_hot[answers], labels, names)
    assert part["drop"]["upper95"] == judged.drop.upper95
    assert not judged.passed


def test_the_manifests_drop_is_that_of_the_answers(base: Bundle) -> None:
    (measured,) = base.manifest.evaluation
    for changed, name in (
        (replace(measured, drop=-0.3), "drop"),
        (replace(measured, drop_interval=(-0.5, measured.drop_interval[1])), "drop's lower bound"),
        (replace(measured, drop_interval=(measured.drop_interval[0], 0.0)), "drop's upper bound"),
    ):
        told = replace(base, manifest=replace(base.manifest, evaluation=(changed,)))
        (fault,) = report_faults(told)
        assert f"its manifest's {name} is not that of the answers" in fault


def with_answers(
    base: Bundle, labels: verdict.Answers, floats: verdict.Answers, answers: verdict.Answers
) -> dict[str, Any]:
    """The report of as many of the bundle's pictures, with these labels and answers."""
    report, names, n = base.report(), base.labels, len(labels)
    pictures = {"ids": report["pictures"]["ids"][: 12 * n], "labels": encode_labels(labels)}
    part = report["artifacts"]["int8.tflite"]
    part.update(verdict._counted(labels, floats, answers, names), answers=encode_labels(answers))
    part["ferplus_majority"] = None
    del report["gate"]
    return report | {
        "n": n,
        "pictures": pictures,
        "float": {"answers": encode_labels(floats)},
        "limits": {name: LIMITS[name] for name in report["limits"]},
    }


def lopsided(n: int) -> tuple[verdict.Answers, verdict.Answers]:
    """Labels of which 85 % are neutral, and a float model's answers, 2 % of them wrong."""
    labels = np.where(np.arange(n) % 20 < 17, 1, np.arange(n) % 7)
    return labels, np.where(np.arange(n) % 50 == 0, (labels + 1) % 7, labels)


def test_a_report_of_lopsided_pictures_that_the_gate_passes_has_no_fault(base: Bundle) -> None:
    labels, floats = lopsided(3_500)
    answers = floats.copy()
    answers[7] = (answers[7] + 1) % 7
    one_hot = 9 * np.eye(7, dtype=np.float32)
    judged = gate.judge(one_hot[floats], one_hot[answers], labels, base.labels)
    assert judged.passed
    assert np.mean(answers == 1) > LIMITS["max_share_of_one_class"]
    report = with_answers(base, labels, floats, answers)
    assert faults(base, lambda changed: changed.update(report)) == []


def test_stuck_answers_to_lopsided_pictures_are_a_fault(base: Bundle) -> None:
    labels, floats = lopsided(3_500)
    report = with_answers(base, labels, floats, np.full_like(floats, 1))
    (fault,) = faults(base, lambda changed: changed.update(report))
    assert "max_share_of_one_class" in fault
    lazy = with_answers(base, labels, *[np.full_like(floats, 1)] * 2)
    (fault,) = faults(base, lambda changed: changed.update(lazy))
    assert "do not pass the gate (min_float_over_majority, max_share_of_one_class)" in fault


def test_fewer_pictures_than_the_gate_asks_for_must_be_told(base: Bundle) -> None:
    def of(n: int, **gates: object) -> list[str]:
        labels, floats = lopsided(n)
        report = with_answers(base, labels, floats, floats)

        def change(changed: dict[str, Any]) -> None:
            del changed["gate"]  # as reports from before it
            changed.update(report | gates)

        return faults(base, change)

    def told(minimum: int, needed: int = 299) -> dict[str, int]:
        return {"pictures_needed": needed, "pictures_minimum": minimum}

    assert of(299) == of(299, gate=told(299)) == of(120, gate=told(100)) == []
    (fault,) = of(298)
    assert "its report is judged on 298 pictures; 299 are asked for, and it has no gate" in fault
    (fault,) = of(120, gate=told(121))
    assert "gate.pictures_minimum: expected a whole number of 1 to its 120 pictures" in fault
    (fault,) = of(120, gate=told(100, needed=100))
    assert "gate.pictures_needed: expected 299 or more, received 100" in fault
