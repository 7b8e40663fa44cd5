"""The self-test finds an interpreter or a model that answers otherwise than the bundle's builder
got.
"""

import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.backends.litert import open_interpreter, trace
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.errors import BundleError
from edgeemo.models import find_model
from edgeemo.proof.selftest import (
    SelfTestResult,
    Trace,
    first_difference,
    run_selftest,
    stored_trace,
)
from edgeemo.proof.selftest_apart import run_selftest_apart
from tests.edgeemo.proof.test_mutants import MODEL, tflite_alone, with_files, with_trace
from tests.support import matching_hashes, rezip

pytestmark = pytest.mark.rounding


def test_good_bundle_passes_exactly_under_reference_kernels(tiny_bundle: Path) -> None:
    results = run_selftest(read_bundle(tiny_bundle))
    assert [(r.artifact, r.kernels) for r in results] == [
        ("fp16.onnx", "default"),
        ("fp32.onnx", "default"),
        ("int8.onnx", "default"),
        ("int8.tflite", "reference"),
        ("int8.tflite", "default"),
    ]
    assert all(r.passed for r in results)
    assert next(r for r in results if r.kernels == "reference").difference == 0


@pytest.mark.parametrize("artifact", ["fp16.onnx", "fp32.onnx", "int8.onnx", "int8.tflite"])
def test_other_answers_than_promised_fail_by_artifact(
    tiny_bundle: Path, tmp_path: Path, artifact: str
) -> None:
    step = read_bundle(tiny_bundle).manifest.artifact(artifact).output.scale or 1.0

    def alter(entries: dict[str, bytes]) -> None:
        with np.load(io.BytesIO(entries["selftest.npz"])) as stored:
            arrays = {name: stored[name] for name in stored.files}
        arrays[artifact][3, 2] += 40 * step
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        entries["selftest.npz"] = buffer.getvalue()
        matching_hashes(entries, json.loads(entries["manifest.json"]))

    results = run_selftest(read_bundle(rezip(tiny_bundle, tmp_path / "altered.edgeemo", alter)))
    assert {r.artifact for r in results if not r.passed} == {artifact}


@pytest.mark.parametrize(
    ("hidden", "artifacts"),
    [("ai_edge_litert", {"int8.tflite"}), ("onnxruntime", {"fp16.onnx", "fp32.onnx", "int8.onnx"})],
)
def test_artifact_without_its_runtime_is_neither_passed_nor_failed(
    tiny_bundle: Path, hidden: str, artifacts: set[str]
) -> None:
    code = (
        "import json, sys\nsys.modules.update({sys.argv[2]: None, 'tflite_runtime': None})\nfrom"
        " edgeemo.contract.bundle import read_bundle\nfrom edgeemo.proof.selftest import"
        " run_selftest\nprint(json.dumps([[r.artifact, r.passed, r.note] for r in"
        " run_selftest(read_bundle(sys.argv[1]))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle), hidden],
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(done.stdout)
    assert {artifact for artifact, passed, _ in results if passed is None} == artifacts
    assert all(passed is True for artifact, passed, _ in results if artifact not in artifacts)
    assert all(
        "run: pip install 'edgeemo[" in note for _, passed, note in results if passed is None
    )


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TFLite model of the shipped nano alone, with its inner tensors in the report.

    Read only.
    """
    folder = tmp_path_factory.mktemp("nano")
    return with_trace(
        tflite_alone(find_model("nano"), folder / "alone.edgeemo"), folder / "nano.edgeemo"
    )


def result_of(results: list[SelfTestResult], kernels: str) -> SelfTestResult:
    (result,) = (r for r in results if (r.artifact, r.kernels) == (MODEL, kernels))
    return result


def weights_of(model: bytes, tensor: str) -> bytes:
    """The stored weights of the operator whose output is called `tensor`."""
    interpreter = open_interpreter(model, MODEL, kernels="reference")
    outputs = {t["index"] for t in interpreter.get_tensor_details() if t["name"] == tensor}
    (step,) = (step for step in interpreter._get_ops_details() if outputs & set(step["outputs"]))
    return bytes(interpreter.get_tensor(step["inputs"][1]).tobytes())


def reporting(bundle: Bundle, report: object) -> Bundle:
    return replace(bundle, files={**bundle.files, "report.json": json.dumps(report).encode()})


def test_trace_ends_with_the_stored_logits_and_names_every_layer(nano: Path) -> None:
    bundle = read_bundle(nano)
    listed = bundle.report()["selftest"][MODEL]
    output = bundle.manifest.artifact(MODEL).output
    assert output.scale is not None
    assert output.zero_point is not None
    stored = np.rint(bundle.selftest().logits[MODEL] / output.scale + output.zero_point).astype(
        np.int8
    )
    assert listed[-1][1] == hashlib.sha256(stored.tobytes()).hexdigest()[:16]
    assert [name.partition("_")[0].partition("/")[0] for name, _ in listed[2:]] == [
        *["stage1"] * 4, *["stage2"] * 4, "stage3", "stage4", "stage4", "pool", "logits",
    ]  # fmt: skip


def test_built_bundle_lists_its_inner_tensors_and_an_old_one_has_none(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    stored = stored_trace(bundle, MODEL)
    assert stored == trace(bundle.files[MODEL], MODEL, bundle.selftest().inputs, bundle.spec)
    assert len(stored) > 2
    assert stored_trace(reporting(bundle, {}), MODEL) is None


@pytest.mark.parametrize(
    "layer", ["stage1_down_relu", "stage2_a_relu", "stage4_depth_relu", "logits/MatMul"]
)
def test_first_tensor_that_differs_is_that_of_the_layer_whose_weights_are_altered(
    nano: Path, tmp_path: Path, layer: str
) -> None:
    bundle = read_bundle(nano)
    (tensor,) = (name for name, _ in bundle.report()["selftest"][MODEL] if name.startswith(layer))
    weights = weights_of(bundle.files[MODEL], tensor)
    assert bundle.files[MODEL].count(weights) == 1
    altered = bundle.files[MODEL].replace(weights, bytes(b ^ 0x10 for b in weights))
    path = with_files(nano, tmp_path / "altered.edgeemo", int8_tflite=altered)
    for results in (run_selftest(read_bundle(path)), run_selftest_apart(read_bundle(path))):
        result = result_of(results, "reference")
        assert (result.passed, result.tensor) == (False, tensor)
        assert result.difference > 0
    without = with_files(path, tmp_path / "without.edgeemo", report_json=b"{}")
    result = result_of(run_selftest(read_bundle(without)), "reference")
    assert (result.passed, result.tensor) == (False, "the output")


def test_inner_tensor_that_differs_fails_where_the_logits_agree(nano: Path, tmp_path: Path) -> None:
    report = read_bundle(nano).report()
    report["selftest"][MODEL][7][1] = "0123456789abcdef"
    path = with_files(nano, tmp_path / "altered.edgeemo", report_json=json.dumps(report).encode())
    result = result_of(run_selftest(read_bundle(path)), "reference")
    assert (result.passed, result.difference, result.tensor) == (
        False,
        0,
        report["selftest"][MODEL][7][0],
    )
    assert result.note == "the logits agree and an inner tensor does not"
    assert result_of(run_selftest(read_bundle(path)), "default").passed


def test_smallest_change_of_the_output_scale_is_a_failure(nano: Path, tmp_path: Path) -> None:
    """Its logits differ by less than a millionth."""
    bundle = read_bundle(nano)
    scale = np.float32(bundle.manifest.artifact(MODEL).output.scale)
    next_one = np.nextafter(scale, np.float32(1))
    assert bundle.files[MODEL].count(scale.tobytes()) == 1
    altered = bundle.files[MODEL].replace(scale.tobytes(), next_one.tobytes())
    result = result_of(
        run_selftest(read_bundle(with_files(nano, tmp_path / "a.edgeemo", int8_tflite=altered))),
        "reference",
    )
    assert not result.passed
    assert 0 < result.difference < 1e-3


@pytest.mark.parametrize(
    ("stored", "found", "first"),
    [
        ([("a", "1"), ("b", "2")], [("a", "1"), ("b", "2")], ""),
        ([("a", "1"), ("b", "2")], [("x", "1"), ("y", "2")], ""),
        ([("a", "1"), ("b", "2"), ("c", "3")], [("a", "1"), ("b", "9"), ("c", "9")], "b"),
        ([("a", "1"), ("b", "2"), ("c", "3")], [("a", ""), ("b", ""), ("c", "9")], "c"),
        ([("a", ""), ("b", "2")], [("a", "1"), ("b", "2")], ""),
        ([("a", "1"), ("b", "2")], [("a", "1")], "b"),
        ([("a", "1")], [("a", "1"), ("\x1b[2J", "2")], r"\x1b[2J"),
        ([], [("", "1")], "a tensor without a name"),
    ],
)
def test_first_difference(stored: Trace, found: Trace, first: str) -> None:
    assert first_difference(stored, found) == first


HOSTILE_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.from_regex("[0-9a-f]{15,17}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just(MODEL), inner),
)


@pytest.mark.parametrize(
    "entries",
    [
        None,
        "text",
        {},
        [["a"]],
        [["a", "0123"]],
        [[1, "0123456789abcdef"]],
        [["a", "0123456789ABCDEF"]],
        ["ab"],
        [["a", "0123456789abcdef\n"]],
        [["a", "0123456789abcdef"]] * 10_001,
    ],
)
def test_list_of_inner_tensors_of_another_kind_is_refused(nano: Path, entries: object) -> None:
    bundle = read_bundle(nano)
    with pytest.raises(BundleError, match="expected its report to list"):
        stored_trace(reporting(bundle, {"selftest": {MODEL: entries}}), MODEL)
    with pytest.raises(BundleError, match="expected its report to list"):
        stored_trace(reporting(bundle, {"selftest": entries}), MODEL)


@given(HOSTILE_JSON)
@settings(max_examples=300, deadline=None)
def test_any_report_has_inner_tensors_or_none_or_is_refused(nano: Path, value: object) -> None:
    bundle = read_bundle(nano)
    try:
        stored = stored_trace(reporting(bundle, {"selftest": value}), MODEL)
    except BundleError:
        return
    assert all(isinstance(name, str) and len(digest) in (0, 16) for name, digest in stored or [])


@pytest.mark.parametrize("scale", [-0.1, 1e308, 0.0])
def test_scale_that_a_manifest_makes_up_hides_no_difference(
    nano: Path, tmp_path: Path, scale: float
) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["artifacts"][0]["output"]["scale"] = scale
        entries["manifest.json"] = json.dumps(manifest).encode()

    bundle = read_bundle(nano)
    weights = weights_of(bundle.files[MODEL], bundle.report()["selftest"][MODEL][-1][0])
    altered = bundle.files[MODEL].replace(weights, weights[::-1])
    path = with_files(nano, tmp_path / "altered.edgeemo", int8_tflite=altered)
    path = with_files(path, tmp_path / "untraced.edgeemo", report_json=b"{}")
    scaled = rezip(path, tmp_path / "scaled.edgeemo", change)
    if scale <= 0:  # no scale is: such a bundle is not even read
        with pytest.raises(BundleError, match="expected a positive scale of an int8 tensor"):
            read_bundle(scaled)
        return
    result = result_of(run_selftest(read_bundle(scaled)), "reference")
    assert (result.passed, result.tensor) == (False, "the output")
