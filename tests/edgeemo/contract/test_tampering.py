"""A bundle that was tampered with is refused, each kind with its reason, even where every hash was
made to match again.
"""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import BundleError
from export.convert import activations, tflite
from export.convert.artifacts import INT8_TFLITE, Candidate, open_candidate
from export.prove.gate import judge
from export.prove.selftest import selftest_trace
from tests.support import matching_hashes, rezip, tiny_bias, tiny_weights

FILE = "int8.tflite"


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeemo", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def with_model(bundle: Path, out: Path, model: bytes, *, selftest: bool) -> Path:
    """The bundle with another int8.tflite, hashes matching; with `selftest`, its self-test and
    trace are the model's own.
    """

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        candidate = Candidate(INT8_TFLITE, model)
        entries[FILE] = model
        if selftest:
            with np.load(io.BytesIO(entries["selftest.npz"])) as stored:
                arrays = {name: stored[name] for name in stored.files}
            reference = open_candidate(candidate, DEFAULT_SPEC, LABELS, reference_kernels=True)
            arrays[FILE] = reference.infer(arrays["inputs"])
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            entries["selftest.npz"] = buffer.getvalue()
            report = json.loads(entries["report.json"])
            report["selftest"] = selftest_trace([candidate], arrays["inputs"], DEFAULT_SPEC)
            entries["report.json"] = json.dumps(report).encode()
        backend = open_candidate(candidate, DEFAULT_SPEC, LABELS)
        info = backend.output_info  # type: ignore[union-attr]
        described = next(a for a in manifest["artifacts"] if a["file"] == FILE)
        described["output"] |= {"scale": info.scale, "zero_point": info.zero_point}
        matching_hashes(entries, manifest)

    return rezip(bundle, out, change)


def network(weights: np.ndarray, bias: np.ndarray) -> keras.Model:
    """The tiny network of tests/conftest.py with other weights."""
    pixels = keras.Input(DEFAULT_SPEC.shape, name="pixels")
    x = keras.layers.Rescaling(DEFAULT_SPEC.scale, DEFAULT_SPEC.offset)(pixels)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(24)(x))
    dense = keras.layers.Dense(len(LABELS), name="logits")
    model = keras.Model(pixels, dense(x), name="tiny")
    dense.set_weights([weights.astype(np.float32), bias.astype(np.float32)])
    return model


def quantized(model: keras.Model, pictures: np.ndarray) -> bytes:
    fp32 = tflite.convert_fp32(model)
    ranges = activations.min_max(activations.record(fp32, pictures, seed=1))
    # The ends of the pixel range are what the contract asks for; everything behind them is
    # calibrated.
    return tflite.quantize(fp32, ranges | {next(iter(ranges)): (0.0, 255.0)})


@pytest.fixture(scope="module")
def pictures(prepared: Path) -> np.ndarray:
    data = load_prepared(prepared, DEFAULT_SPEC)
    return np.asarray(data.images[data.indices("train")])


@pytest.fixture(scope="module")
def permuted(pictures: np.ndarray) -> bytes:
    """The tiny network with its outputs in another order: happy and sad exchanged."""
    order = [0, 1, 2, 3, 5, 4, 6]
    return quantized(network(tiny_weights()[:, order], tiny_bias()[order]), pictures)


def test_int8_file_of_another_network_is_refused_by_the_self_test(
    tiny_bundle: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    other = quantized(network(np.roll(tiny_weights(), 1, axis=1), tiny_bias()), pictures)
    done = command(
        "doctor", "--model", with_model(tiny_bundle, tmp_path / "x.edgeemo", other, selftest=False)
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "reference kernels" in line]
    assert line.startswith("problem")
    assert "logits/output" in line


def test_calibration_from_noise_is_refused_by_the_gate_and_where_the_model_runs(
    tiny_bundle: Path, prepared: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 48, 48, 1), dtype=np.uint8)
    model = quantized(network(tiny_weights(), tiny_bias()), noise)
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = data.indices("test")
    floats = np.asarray(
        network(tiny_weights(), tiny_bias()).predict_on_batch(data.images[rows].astype(np.float32))
    )
    verdict = judge(
        floats,
        open_candidate(Candidate(INT8_TFLITE, model), DEFAULT_SPEC, LABELS).infer(
            np.asarray(data.images[rows])
        ),
        data.labels[rows],
        LABELS,
    )
    assert any(reason.startswith("agreement") for reason in verdict.reasons)
    # Somebody who makes the self-test fit as well is found by the answers.
    path = with_model(tiny_bundle, tmp_path / "noise.edgeemo", model, selftest=True)
    done = command("evaluate", path, prepared, "--against", "report")
    assert done.returncode == 1
    assert "pictures get another label here than in the report of noise.edgeemo" in done.stderr


def test_permuted_outputs_are_refused_and_recognized(
    tiny_bundle: Path, prepared: Path, permuted: bytes, tmp_path: Path
) -> None:
    path = with_model(tiny_bundle, tmp_path / "permuted.edgeemo", permuted, selftest=True)
    done = command("evaluate", path, prepared, "--against", "report")
    assert done.returncode == 1
    assert "as if labels were permuted: sad for happy, happy for sad" in done.stderr


def test_permuted_labels_in_the_manifest_are_refused_on_reading(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["labels"] = sorted(LABELS)
        matching_hashes(entries, manifest)

    path = rezip(tiny_bundle, tmp_path / "labels.edgeemo", change)
    with pytest.raises(BundleError, match="in this order"):
        read_bundle(path)
    assert command("doctor", "--model", path).returncode == 1


def edited(where: str) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        evaluation = next(e for e in manifest["evaluation"] if e["artifact"] == FILE)
        matrix = evaluation[where]
        row = matrix[0]
        source = row.index(max(row))
        row[source] -= 1
        row[(source + 1) % 7] += 1
        matching_hashes(entries, manifest)

    return change


@pytest.mark.parametrize("where", ["confusion", "float_confusion"])
def test_edited_matrix_is_refused_by_both(
    tiny_bundle: Path, prepared: Path, tmp_path: Path, where: str
) -> None:
    path = rezip(tiny_bundle, tmp_path / "edited.edgeemo", edited(where))
    whose = (
        "confusion matrix of the float model" if where == "float_confusion" else "confusion matrix"
    )
    for done in (
        command("doctor", "--model", path),
        command("evaluate", path, prepared, "--against", "report"),
    ):
        assert done.returncode == 1
        assert (
            f"its manifest's {whose} is not that of the answers in its report"
            in done.stdout + done.stderr
        )


def test_untouched_bundle_passes_all_of_it(tiny_bundle: Path, prepared: Path) -> None:
    assert command("doctor", "--model", tiny_bundle).returncode == 0
    assert command("evaluate", tiny_bundle, prepared, "--against", "report").returncode == 0
