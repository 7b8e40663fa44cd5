"""TensorRT: the commands, and the check of an engine, with a stand-in for trtexec that keeps its
protocol (ONNX Runtime inside).

TensorRT itself needs an NVIDIA GPU, which CI has not.
"""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeemo.backends.tensorrt_rules import broken_rules
from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import BackendError, BundleError
from export.build import Settings, build
from export.cli.main import main
from export.convert.tensorrt import build_engines, write_commands
from tests.support import done_here, matching_hashes, rezip

# Its "engine" is the ONNX file; --spoil adds to the first logit.
STAND_IN = """#!{python}
import json, shutil, sys
import numpy as np, onnxruntime
words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
spoil = float(open({spoil!r}).read())
if "onnx" in words:
    assert "skipInference" in words
    if spoil < 0:
        sys.exit("out of workspace")
    shutil.copy(words["onnx"], words["saveEngine"])
else:
    name, _, file = words["loadInputs"].partition(":")
    session = onnxruntime.InferenceSession(words["loadEngine"], providers=["CPUExecutionProvider"])
    pixels = np.fromfile(file, np.float32).reshape(1, 48, 48, 1)
    (logits,) = session.run(None, {{name: pixels}})
    logits[0, 0] += spoil
    output = {{"name": "logits", "dimensions": "1x7", "values": logits[0].tolist()}}
    open(words["exportOutput"], "w").write(json.dumps([output]))
"""


@pytest.fixture
def bundle(jetson_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle for Jetsons with two self-test pictures, each of which starts trtexec for each engine."""

    def change(entries: dict[str, bytes]) -> None:
        with np.load(io.BytesIO(entries["selftest.npz"])) as stored:
            arrays = {name: stored[name][:2] for name in stored.files}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        entries["selftest.npz"] = buffer.getvalue()
        matching_hashes(entries, json.loads(entries["manifest.json"]))

    return rezip(jetson_bundle, tmp_path / "two.edgeemo", change)


@pytest.fixture
def trtexec(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "trtexec"
    path.parent.mkdir()
    (tmp_path / "spoil").write_text("0")
    path.write_text(STAND_IN.format(python=sys.executable, spoil=str(tmp_path / "spoil")))
    path.chmod(0o755)
    return path


def test_commands_name_each_file_and_its_precision(jetson_bundle: Path, tmp_path: Path) -> None:
    plans = write_commands(read_bundle(jetson_bundle), tmp_path / "engines")
    flags = {plan.command[1]: plan.command[3:-1] for plan in plans}
    assert flags == {
        "--onnx=int8.onnx": ["--int8", "--fp16"],
        "--onnx=fp16.onnx": ["--fp16"],
        "--onnx=fp32.onnx": ["--noTF32"],
    }
    script = (tmp_path / "engines" / "build-engines.sh").read_text()
    assert (
        subprocess.run(["sh", "-n", str(tmp_path / "engines" / "build-engines.sh")]).returncode == 0
    )
    assert (
        "trtexec --onnx=int8.onnx --saveEngine=int8.engine --int8 --fp16 --skipInference" in script
    )
    assert (tmp_path / "engines" / "fp16.onnx").read_bytes() == read_bundle(jetson_bundle).files[
        "fp16.onnx"
    ]


def test_profile_makes_int8_as_tensorrt_wants_it_and_gates_it(jetson_bundle: Path) -> None:
    bundle = read_bundle(jetson_bundle)
    assert broken_rules(bundle.files["int8.onnx"], "int8.onnx") == []
    assert "int8.onnx" in [evaluation.artifact for evaluation in bundle.manifest.evaluation]
    assert "int8.onnx: ranges by min-max, symmetric for TensorRT" in (
        bundle.manifest.calibration.method
    )


def test_int8_with_zero_points_is_left_out_with_the_reason(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    done = done_here(main, "export", "tensorrt", tiny_bundle, "--out", tmp_path / "engines")
    assert done.returncode == 0
    said = done.stdout.splitlines()
    assert said[0].startswith("int8.onnx is left out, because TensorRT does not take it: ")
    assert "zero points: " in said[0]
    assert "--profile jetson" in said[0]
    assert [line.split()[1] for line in said[1:-1]] == ["--onnx=fp16.onnx", "--onnx=fp32.onnx"]
    assert sorted(path.name for path in (tmp_path / "engines").glob("[!.]*")) == [
        "build-engines.sh", "fp16.onnx", "fp32.onnx",
    ]  # fmt: skip


def test_engines_are_held_against_the_self_test(
    bundle: Path, trtexec: Path, tmp_path: Path
) -> None:
    engines = build_engines(read_bundle(bundle), tmp_path / "engines", str(trtexec))
    assert [(engine.path.name, engine.passed) for engine in engines] == [
        ("fp16.engine", True), ("fp32.engine", True), ("int8.engine", True),
    ]  # fmt: skip
    (tmp_path / "spoil").write_text("0.7")
    engines = build_engines(read_bundle(bundle), tmp_path / "engines", str(trtexec))
    assert not any(engine.passed for engine in engines)
    assert engines[1].difference == pytest.approx(0.7, abs=1e-3)
    (tmp_path / "spoil").write_text("-1")
    with pytest.raises(BackendError, match="failed with 1: out of workspace"):
        build_engines(read_bundle(bundle), tmp_path / "engines", str(trtexec))


def test_command_builds_where_trtexec_is_and_writes_the_script_where_not(
    bundle: Path, trtexec: Path, tmp_path: Path
) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return done_here(main, "export", "tensorrt", bundle, "--out", tmp_path / "e", *options)

    done = run()
    assert done.returncode == 0
    assert "TensorRT is not installed here" in done.stdout
    done = run("--trtexec", str(trtexec))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": passed") == 3
    (tmp_path / "spoil").write_text("5")
    done = run("--trtexec", str(trtexec))
    assert done.returncode == 1
    assert "does not answer as the bundle promises" in done.stderr
    assert "cannot be run" in run("--trtexec", str(tmp_path / "none")).stderr


def test_bundle_without_onnx_says_how_to_get_some(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    bundle, _ = build(
        tiny_run, prepared, tmp_path / "pi.edgeemo", settings=Settings(profile="pi", gate_min=1)
    )
    with pytest.raises(BundleError, match="--profile jetson"):
        write_commands(bundle, tmp_path / "engines")
