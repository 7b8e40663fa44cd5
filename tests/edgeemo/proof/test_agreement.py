"""The check after quantization, repeated on the device: what agrees, what does not, and what is
said of it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.contract.answers import encode_labels, picture_ids
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.labels import LABELS
from edgeemo.errors import BundleError
from edgeemo.proof.agreement import Agreement, Answered, agree
from edgeemo.proof.evaluation import wilson_interval

N = 1000
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (N, 48, 48, 1), dtype=np.uint8)
TRUTH = np.arange(N) % 7
ANSWERS = np.where(np.arange(N) % 5 == 0, (TRUTH + 1) % 7, TRUTH)  # 80 % right


def report(
    images: np.ndarray = IMAGES, truth: np.ndarray = TRUTH, answers: np.ndarray = ANSWERS
) -> dict[str, Any]:
    return {
        "n": len(images),
        "labels": list(LABELS),
        "pictures": {"ids": "".join(picture_ids(images)), "labels": encode_labels(truth)},
        "artifacts": {"int8.tflite": {"answers": encode_labels(answers)}},
    }


def compared(
    report: dict[str, Any], images: np.ndarray, truth: np.ndarray, answers: np.ndarray
) -> Agreement:
    """What `agree` says of a machine that gave those answers."""
    return agree(report, "int8.tflite", Answered(images, truth, answers, LABELS), "r")


def changed(answers: np.ndarray, count: int) -> np.ndarray:
    """The first `count` wrong answers exchanged for other wrong ones, so that top-1 stays."""
    out = answers.copy()
    rows = np.flatnonzero(answers != TRUTH)[:count]
    out[rows] = (TRUTH[rows] + 2) % 7
    return out


def test_same_answers_agree_in_any_order() -> None:
    order = RNG.permutation(N)
    found = compared(report(), IMAGES[order], TRUTH[order], ANSWERS[order])
    assert (found.n, found.unknown, found.same, found.same_labels, found.faults) == (
        N,
        0,
        1.0,
        1.0,
        (),
    )
    assert found.top1 == found.promised_top1 == 0.8
    assert found.interval == wilson_interval(800, N)


@pytest.mark.parametrize(("other", "agrees"), [(5, True), (6, False)])
def test_half_a_percent_of_other_answers_is_the_limit(other: int, agrees: bool) -> None:
    found = compared(report(), IMAGES, TRUTH, changed(ANSWERS, other))
    assert found.same == 1 - other / N
    assert (found.faults == ()) == agrees
    if not agrees:
        assert found.faults[0].startswith(
            "6 of 1,000 pictures get another label here than in r (99.40% the same"
        )


def test_top1_outside_of_the_reports_interval_is_said() -> None:
    low, _ = wilson_interval(800, N)
    wrong = ANSWERS.copy()
    rows = np.flatnonzero(ANSWERS == TRUTH)[:60]
    wrong[rows] = (TRUTH[rows] + 3) % 7
    found = compared(report(), IMAGES, TRUTH, wrong)
    assert f"top-1 is 74.00% here, expected {low:.2%}" in found.faults[-1]


def test_permuted_labels_are_recognized_as_such() -> None:
    order = np.array([0, 1, 3, 2, 4, 5, 6])
    found = compared(report(), IMAGES, TRUTH, order[ANSWERS])
    assert found.faults[0].endswith(
        "as if labels were permuted: fear for disgust, disgust for fear"
    )
    noise = RNG.integers(0, 7, N)
    assert "permuted" not in compared(report(), IMAGES, TRUTH, noise).faults[0]


def test_other_true_labels_are_a_fault_of_the_data() -> None:
    found = compared(report(), IMAGES, (TRUTH + 1) % 7, ANSWERS)
    assert any("of the pictures have another true label here" in fault for fault in found.faults)


def test_part_of_the_pictures_is_compared_with_that_part_of_the_report() -> None:
    few = compared(report(), IMAGES[:300], TRUTH[:300], ANSWERS[:300])
    assert (few.n, few.promised_n, few.faults) == (300, N, ())
    assert few.interval == wilson_interval(240, 300)
    strangers = RNG.integers(0, 256, (40, 48, 48, 1), dtype=np.uint8)
    more = compared(
        report(),
        np.concatenate([IMAGES, strangers]),
        np.append(TRUTH, [0] * 40),
        np.append(ANSWERS, [0] * 40),
    )
    assert (more.n, more.unknown, more.faults) == (N, 40, ())
    too_few = compared(report(), IMAGES[:199], TRUTH[:199], ANSWERS[:199])
    assert "only 199 of 199 pictures here can be found among the 1,000" in too_few.faults[0]


def test_one_picture_under_two_labels_is_counted_under_each() -> None:
    images, truth = np.concatenate([IMAGES, IMAGES[:1]]), np.append(TRUTH, 3)
    answers = np.append(ANSWERS, ANSWERS[0])
    found = compared(report(images, truth, answers), images, truth, answers)
    assert found.promised_top1 == found.top1
    assert found.same_labels == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("pictures"), "lists no answers of int8.tflite"),
        (lambda r: r["artifacts"].pop("int8.tflite"), "lists no answers of int8.tflite"),
        (
            lambda r: r["pictures"].update(ids="0" * 12 * N + "0"),
            "expected 1,000 ids of 12 hex digits",
        ),
        (lambda r: r["pictures"].update(labels="7" * N), "expected 1,000 characters of 0123456"),
        (
            lambda r: r["artifacts"]["int8.tflite"].update(answers=5),
            "expected 1,000 characters of 0123456",
        ),
        (lambda r: r.update(n=True), "expected a number of pictures"),
        (lambda r: r.update(labels=list(reversed(LABELS))), "in this order"),
    ],
)
def test_damaged_report_is_named(change: Any, said: str) -> None:
    damaged = report()
    change(damaged)
    with pytest.raises(BundleError, match=said):
        compared(damaged, IMAGES, TRUTH, ANSWERS)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["n", "labels", "pictures", "artifacts"]), _JSON)
def test_whatever_a_report_holds_only_bundle_errors_come_of_it(key: str, value: Any) -> None:
    few = slice(0, 30)
    hostile = report(IMAGES[few], TRUTH[few], ANSWERS[few]) | {key: value}
    try:
        compared(hostile, IMAGES[few], TRUTH[few], ANSWERS[few])
    except BundleError:
        return
    assert value == report(IMAGES[few], TRUTH[few], ANSWERS[few])[key]


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeemo", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_command_repeats_the_check_and_says_so(
    tiny_bundle: Path, prepared: Path, tmp_path: Path
) -> None:
    done = evaluate(tiny_bundle, prepared, "--against", "report", "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    assert "against its report: 56 of its 56 pictures  same label 100.00%" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())["against"]
    assert (found["n"], found["same"], found["faults"]) == (56, 1.0, [])
    (tmp_path / "report.json").write_bytes(read_bundle(tiny_bundle).files["report.json"])
    assert evaluate(tiny_bundle, prepared, "--against", tmp_path / "report.json").returncode == 0
    other = evaluate(tiny_bundle, prepared, "--split", "train", "--against", "report")
    assert other.returncode == 1
    assert "evaluate on the data set's test split" in other.stderr
    assert evaluate(tiny_bundle, prepared, "--against", tmp_path / "none.json").returncode == 1
    (tmp_path / "report.json").write_text("[1")
    assert (
        "not a report"
        in evaluate(tiny_bundle, prepared, "--against", tmp_path / "report.json").stderr
    )
