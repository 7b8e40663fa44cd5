"""The self-test finds an interpreter or a model that answers otherwise than the bundle's builder got."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.bundle import read_bundle, sha256
from edgeemo.selftest import run_selftest
from tests.support import rezip


def test_good_bundle_passes_exactly_under_reference_kernels(tiny_bundle: Path) -> None:
    results = run_selftest(read_bundle(tiny_bundle))
    assert [(r.artifact, r.kernels) for r in results] == [
        ("fp32.onnx", "default"), ("int8.onnx", "default"), ("int8.tflite", "reference"), ("int8.tflite", "default"),
    ]  # fmt: skip
    assert all(r.passed for r in results)
    assert next(r for r in results if r.kernels == "reference").difference == 0


@pytest.mark.parametrize("artifact", ["fp32.onnx", "int8.onnx", "int8.tflite"])
def test_other_answers_than_promised_fail_by_artifact(tiny_bundle: Path, tmp_path: Path, artifact: str) -> None:
    step = read_bundle(tiny_bundle).manifest.artifact(artifact).output.scale or 1.0

    def alter(entries: dict[str, bytes]) -> None:
        with np.load(io.BytesIO(entries["selftest.npz"])) as stored:
            arrays = {name: stored[name] for name in stored.files}
        arrays[artifact][3, 2] += 40 * step
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        entries["selftest.npz"] = buffer.getvalue()
        manifest = json.loads(entries["manifest.json"])
        manifest["companions"][1] |= {"bytes": len(buffer.getvalue()), "sha256": sha256(buffer.getvalue())}
        entries["manifest.json"] = json.dumps(manifest).encode()

    results = run_selftest(read_bundle(rezip(tiny_bundle, tmp_path / "altered.edgeemo", alter)))
    assert {r.artifact for r in results if not r.passed} == {artifact}


@pytest.mark.parametrize(
    ("hidden", "artifacts"),
    [("ai_edge_litert", {"int8.tflite"}), ("onnxruntime", {"fp32.onnx", "int8.onnx"})],
)
def test_artifact_without_its_runtime_is_neither_passed_nor_failed(
    tiny_bundle: Path, hidden: str, artifacts: set[str]
) -> None:
    code = (
        "import json, sys\n"
        "sys.modules.update({sys.argv[2]: None, 'tflite_runtime': None})\n"
        "from edgeemo.contract.bundle import read_bundle\n"
        "from edgeemo.selftest import run_selftest\n"
        "print(json.dumps([[r.artifact, r.passed, r.note] for r in run_selftest(read_bundle(sys.argv[1]))]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle), hidden], capture_output=True, text=True, check=True
    )
    results = json.loads(done.stdout)
    assert {artifact for artifact, passed, _ in results if passed is None} == artifacts
    assert all(passed is True for artifact, passed, _ in results if artifact not in artifacts)
    assert all("run: pip install 'edgeemo[" in note for _, passed, note in results if passed is None)
