"""A manifest's numbers must be those of the labels and answers in the report; a report may hold
anything.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.contract.labels import LABELS
from edgeemo.contract.manifest import Evaluation
from edgeemo.models import find_model
from edgeemo.proof.provenance import report_faults

FILES = ("int8.tflite", "int8.onnx")


def reporting(bundle: Bundle, report: object) -> Bundle:
    return replace(bundle, files={**bundle.files, "report.json": json.dumps(report).encode()})


def evaluated(
    bundle: Bundle,
    labels: str,
    answers: dict[str, str],
    floats: str | None = None,
    **changed: object,
) -> Bundle:
    """The bundle with a report of the labels and answers, and scikit-learn's numbers of them in its
    manifest.

    `floats` are the float model's answers; `changed` is what the manifest says of the first
    artifact instead.
    """
    evaluations = [
        numbers(
            e,
            [int(c) for c in labels],
            [int(c) for c in answers[e.artifact]],
            [int(c) for c in floats or labels],
        )
        for e in bundle.manifest.evaluation
    ]
    evaluations[0] = replace(evaluations[0], **changed)
    report = bundle.report() | {
        "pictures": {"labels": labels},
        "artifacts": {file: {"answers": said} for file, said in answers.items()},
    }
    report |= {"float": {"answers": floats}} if floats else {}
    return reporting(
        replace(bundle, manifest=replace(bundle.manifest, evaluation=tuple(evaluations))), report
    )


def numbers(
    evaluation: Evaluation, true: list[int], said: list[int], full: list[int]
) -> Evaluation:
    paired = [(f == t) - (s == t) for t, s, f in zip(true, said, full, strict=True)]
    drop, half = (
        float(np.mean(paired)),
        1.6448536269514722 * float(np.std(paired)) / len(true) ** 0.5,
    )
    recall = recall_score(true, said, labels=range(7), average=None, zero_division=np.nan)
    return replace(
        evaluation,
        n=len(true),
        top1=float(accuracy_score(true, said)),
        macro_f1=float(f1_score(true, said, average="macro", zero_division=0)),
        per_class_recall={
            label: None if np.isnan(share) else float(share)
            for label, share in zip(LABELS, recall, strict=True)
        },
        confusion=tuple(map(tuple, confusion_matrix(true, said, labels=range(7)).tolist())),
        float_top1=float(accuracy_score(true, full)),
        float_macro_f1=float(f1_score(true, full, average="macro", zero_division=0)),
        float_confusion=tuple(map(tuple, confusion_matrix(true, full, labels=range(7)).tolist())),
        agreement=float(accuracy_score(full, said)),
        drop=drop,
        drop_interval=(drop - half, drop + half),
    )


@pytest.fixture(scope="module")
def nano() -> Bundle:
    """A shipped bundle as those from before answers were recorded: two evaluations, and a report
    without answers.
    """
    bundle = read_bundle(find_model("nano"))
    old = {
        key: value
        for key, value in bundle.report().items()
        if key not in ("pictures", "float", "artifacts")
    }
    evaluations = tuple(e for e in bundle.manifest.evaluation if e.artifact in FILES)
    return reporting(
        replace(bundle, manifest=replace(bundle.manifest, evaluation=evaluations)), old
    )


@pytest.fixture
def drawn(nano: Bundle) -> Bundle:
    """Labels and answers drawn at random, without any surprise."""
    rng = np.random.default_rng(4)
    labels = "".join(map(str, rng.integers(0, 6, 300)))
    return evaluated(
        nano, labels, {file: "".join(map(str, rng.integers(0, 6, 300))) for file in FILES}
    )


def changed(bundle: Bundle, change: Callable[[dict[str, Any]], object]) -> list[str]:
    """The faults of the bundle once `change` has changed its report in place."""
    report = bundle.report()
    change(report)
    return report_faults(reporting(bundle, report))


def swapped(text: str) -> str:
    """The same digits, with the first that differs from digit 0 in its place."""
    other = next(i for i, digit in enumerate(text) if digit != text[0])
    return text[other] + text[1:other] + text[0] + text[other + 1 :]


def test_scikit_learns_numbers_have_no_fault_and_old_bundles_are_not_asked(
    drawn: Bundle, nano: Bundle
) -> None:
    assert report_faults(drawn) == []
    assert report_faults(reporting(nano, {})) == []
    assert report_faults(reporting(nano, {"artifacts": {"int8.tflite": {"top1": 0.5}}})) == []


def test_other_answers_are_a_fault_of_their_artifact(drawn: Bundle) -> None:
    for file in FILES:
        faults = changed(
            drawn,
            lambda r, f=file: r["artifacts"][f].update(
                answers=swapped(r["artifacts"][f]["answers"])
            ),
        )
        assert faults == [
            f"{file}: its manifest's confusion matrix is not that of the answers in its report; do"
            " not use this bundle"
        ]
    assert (
        len(changed(drawn, lambda r: r["pictures"].update(labels=swapped(r["pictures"]["labels"]))))
        == 2
    )


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("top1", 0.99, "top-1"),
        ("macro_f1", 0.99, "macro-F1"),
        ("per_class_recall", dict.fromkeys(LABELS, 0.99), "recall of angry"),
        ("per_class_recall", dict.fromkeys(LABELS), "recall of angry"),
        ("float_confusion", ((4, *(0,) * 6),) * 7, "confusion matrix of the float model"),
        ("float_top1", 0.99, "top-1 of the float model"),
        ("float_macro_f1", 0.99, "macro-F1 of the float model"),
        ("agreement", 0.99, "agreement"),
        ("drop", -0.3, "drop"),
        ("drop_interval", (-0.5, 0.1), "drop's lower bound"),
    ],
)
def test_manifest_that_promises_more_is_a_fault(
    nano: Bundle, field: str, value: object, name: str
) -> None:
    answers = dict.fromkeys(FILES, "0123456" * 3 + "0000000")
    floats = "0123456" * 3 + "1111111"
    assert report_faults(evaluated(nano, "0123456" * 4, answers, floats)) == []
    (fault,) = report_faults(evaluated(nano, "0123456" * 4, answers, floats, **{field: value}))
    artifact = nano.manifest.evaluation[0].artifact
    assert (
        fault
        == f"{artifact}: its manifest's {name} is not that of the answers in its report; do not use"
        " this bundle"
    )


@pytest.mark.parametrize(
    "wrong", [None, "", "0127", "01a", 12, ["0"], {"0": 1}, "٣" * 300, "0" * 300 + "\n", -1]
)
def test_labels_or_answers_of_another_kind_are_a_fault(drawn: Bundle, wrong: object) -> None:
    says = "in its report: expected 300 characters of 0123456; build or copy the bundle again"
    files = [evaluation.artifact for evaluation in drawn.manifest.evaluation]
    labels = [f"{file}: the pictures' labels {says}" for file in files]
    assert changed(drawn, lambda r: r["pictures"].update(labels=wrong)) == labels
    assert changed(drawn, lambda r: r.update(pictures=wrong)) == labels
    assert changed(drawn, lambda r: r["artifacts"]["int8.onnx"].update(answers=wrong)) == [
        f"int8.onnx: its answers {says}"
    ]
    assert changed(drawn, lambda r: r.update(artifacts=wrong)) == [
        f"{file}: its answers {says}" for file in files
    ]
    assert changed(drawn, lambda r: r.update(float=wrong)) == [
        f"{file}: the float model's answers {says}" for file in files
    ]


def test_part_that_is_missing_is_a_fault(drawn: Bundle) -> None:
    assert len(changed(drawn, lambda r: r.pop("pictures"))) == 2
    assert len(changed(drawn, lambda r: r["artifacts"].pop("int8.tflite"))) == 1
    assert len(report_faults(reporting(drawn, []))) == 1


def test_evaluation_of_no_pictures_is_a_fault(drawn: Bundle) -> None:
    nothing = tuple(replace(e, n=0, confusion=((0,) * 7,) * 7) for e in drawn.manifest.evaluation)
    report = {"pictures": {"labels": ""}, "artifacts": {file: {"answers": ""} for file in FILES}}
    empty = reporting(replace(drawn, manifest=replace(drawn.manifest, evaluation=nothing)), report)
    assert all("at least one" in fault for fault in report_faults(empty))
    assert len(report_faults(empty)) == 2


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9) | st.text("0123456", min_size=1, max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["labels", "answers", *FILES]), inner, max_size=3),
)  # fmt: skip


@settings(
    deadline=None, max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.fixed_dictionaries(
        {}, optional={"pictures": HOSTILE, "artifacts": HOSTILE, "other": HOSTILE}
    )
    | HOSTILE
)
def test_any_report_gives_faults_in_words_and_no_exception(drawn: Bundle, report: object) -> None:
    faults = report_faults(reporting(drawn, report))
    assert all(isinstance(fault, str) for fault in faults)
    if isinstance(report, dict) and "pictures" in report:
        assert faults


@pytest.mark.parametrize("model", ["nano", "small", "nano-fer2013", "small-fer2013"])
def test_shipped_bundles_have_no_fault(model: str) -> None:
    assert report_faults(read_bundle(Path(find_model(model)))) == []
