"""run/ -> bundle: convert, measure every int8 artifact against the float model, write only what passes the gate."""

import io
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import edgeemo
from edgeemo.backends import Backend
from edgeemo.backends.litert import LiteRtBackend
from edgeemo.backends.onnx import OnnxBackend
from edgeemo.contract import strict
from edgeemo.contract.bundle import Bundle, sha256, write_bundle
from edgeemo.contract.ferplus import ferplus_majority, group_votes
from edgeemo.contract.files import written_beside
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.manifest import (
    COMPANIONS,
    SCHEMA_VERSION,
    Artifact,
    Calibration,
    Companion,
    DataInfo,
    Evaluation,
    Manifest,
    Smoothing,
    TensorInfo,
)
from edgeemo.contract.prepared import Prepared, load_prepared
from edgeemo.errors import GateFailed, RunError
from edgeemo.selftest import run_selftest
from export import onnx, tflite
from export.calibration import METHOD, SPLIT, TRAINED_RANGES, calibration_set, pixels_sha256
from export.gate import Verdict, judge, limits
from export.run import FloatRun, load_config, load_float_run
from export.selftest import selftest_inputs

INT8_ARTIFACTS = ("int8.tflite", "int8.onnx")
# The float ONNX must be the float model: it only sums in another order.
_FLOAT_TOLERANCE = 1e-3
DEFAULT_LICENCE = "MIT; trained on FER-2013 (DbCL), pictures from the web"
DEFAULT_SMOOTHING = Smoothing(window=0.5, hold_time=0.8, floor=0.4)


def build(
    run_path: Path, data_path: Path, out: Path, *, name: str | None = None, version: str = "0.1.0", seed: int = 1
) -> tuple[Bundle, dict[str, Verdict]]:
    """Convert a finished run and write the bundle `out` if every int8 artifact passes the gate.

    Raises:
        GateFailed: an artifact lost too much; the report is written beside `out` as NAME.report.json.
        EdgeemoError: the run, the data or the conversion does not fit.
    """
    load_config(run_path)
    data = load_prepared(data_path, DEFAULT_SPEC)
    run = load_float_run(run_path, data)
    calibration = calibration_set(data, seed)
    models = _convert(run, calibration)
    verdicts, report = _measure(run, data, models)
    failed = {file: verdict.reasons for file, verdict in verdicts.items() if not verdict.passed}
    if failed:
        report_path = out.with_suffix(".report.json")
        with written_beside(report_path) as part:
            part.write_text(strict.dumps(report))
        reasons = "; ".join(f"{file}: {', '.join(why)}" for file, why in failed.items())
        raise GateFailed(f"the gate refuses {run_path}: {reasons}. No bundle was written; look at {report_path}")
    files = {**models, "report.json": strict.dumps(report).encode(), "selftest.npz": _selftest(models, run.spec, seed)}
    manifest = _manifest(name or out.stem, version, run, data, calibration, models, files, verdicts)
    bundle = write_bundle(out, manifest, files)
    wrong = [result for result in run_selftest(bundle) if result.passed is False]
    if wrong:
        out.unlink()
        raise GateFailed(
            f"{out}: its own self-test fails ({wrong[0]}); the interpreter of this machine is not to be trusted"
        )
    return bundle, verdicts


def _convert(run: FloatRun, calibration: NDArray[np.uint8]) -> dict[str, bytes]:
    models: dict[str, bytes] = {}
    steps: list[tuple[str, Any]] = [
        ("int8.tflite", lambda: _convert_tflite(run, calibration)),
        ("fp32.onnx", lambda: onnx.convert_fp32(run.model)),
        ("int8.onnx", lambda: onnx.convert_int8(models["fp32.onnx"], calibration)),
    ]
    for file, convert in tqdm(steps, desc="converting", unit="file"):
        models[file] = convert()
    for file, model in models.items():
        click.echo(f"{file:<12} {len(model):>9,} bytes")
    return models


def _convert_tflite(run: FloatRun, calibration: NDArray[np.uint8]) -> bytes:
    if run.simulated is None:
        return tflite.convert_int8(run.model, calibration)
    return tflite.convert_int8(run.simulated, None)


def _calibration(run: FloatRun, pictures: NDArray[np.uint8]) -> Calibration:
    method = METHOD if run.simulated is None else f"int8.onnx: {METHOD}; int8.tflite: {TRAINED_RANGES}"
    return Calibration(len(pictures), method, SPLIT, pixels_sha256(pictures))


def _open(file: str, model: bytes, spec: InputSpec, *, reference_kernels: bool = False) -> LiteRtBackend | OnnxBackend:
    if file.endswith(".tflite"):
        return LiteRtBackend(model, file, spec, reference_kernels=reference_kernels)
    return OnnxBackend(model, file, spec)


def _infer(backend: Backend, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    starts = tqdm(range(0, len(pictures), 64), desc=backend.artifact, unit="batch")
    return np.concatenate([backend.infer(pictures[start : start + 64]) for start in starts])


def _measure(run: FloatRun, data: Prepared, models: Mapping[str, bytes]) -> tuple[dict[str, Verdict], dict[str, Any]]:
    pictures = np.asarray(data.images[data.indices("test")])
    float_again = _infer(_open("fp32.onnx", models["fp32.onnx"], run.spec), pictures)
    difference = float(np.abs(float_again - run.logits).max())
    if not difference <= _FLOAT_TOLERANCE:
        raise RunError(
            f"{run.path}: its stored float predictions differ from its model's by up to {difference:.3g}, allowed {_FLOAT_TOLERANCE}; "
            f"run: python -m training evaluate {run.path} --data {data.path}"
        )
    verdicts: dict[str, Verdict] = {}
    seconds: dict[str, float] = {}
    ferplus: dict[str, dict[str, Any] | None] = {}
    for file in INT8_ARTIFACTS:
        start = time.perf_counter()
        logits = _infer(_open(file, models[file], run.spec), pictures)
        seconds[file] = time.perf_counter() - start
        verdicts[file] = judge(run.logits, logits, run.labels)
        ferplus[file] = _against_ferplus(run, data, logits)
    report = {
        "format": 1,
        "split": "test",
        "n": len(pictures),
        "labels": list(LABELS),
        "limits": limits(),
        "fp32_onnx_max_difference": difference,
        "artifacts": {
            file: verdict.to_dict() | {"seconds": round(seconds[file], 2), "ferplus_majority": ferplus[file]}
            for file, verdict in verdicts.items()
        },
        "made_with": _versions(),
    }
    return verdicts, report


def _against_ferplus(run: FloatRun, data: Prepared, logits: NDArray[np.float32]) -> dict[str, Any] | None:
    """The same comparison on the faces where more than half of FER+'s taggers agree; it is reported and decides nothing.

    Few of those faces show disgust or fear, so that one of them moves macro-F1 by more than the gate allows.
    """
    if data.votes is None:
        return None
    majority, known = ferplus_majority(group_votes(data)[data.indices("test")])
    if not known.any():
        return None
    verdict = judge(run.logits[known], logits[known], majority[known]).to_dict()
    return {key: value for key, value in verdict.items() if key not in ("passed", "reasons")}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = ("tensorflow-cpu", "tensorflow", "keras", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert", "numpy")
    found = {"edgeemo": edgeemo.__version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in packages:
        try:
            found[package] = version(package)
        except ImportError:  # PackageNotFoundError: one of the two TensorFlow packages is always absent
            continue
    return found


def _selftest(models: Mapping[str, bytes], spec: InputSpec, seed: int) -> bytes:
    inputs = selftest_inputs(seed, spec.height)
    logits = {file: _open(file, model, spec, reference_kernels=True).infer(inputs) for file, model in models.items()}
    buffer = io.BytesIO()
    np.savez(buffer, inputs=inputs, **cast(dict[str, Any], logits))
    return buffer.getvalue()


def _manifest(
    name: str,
    version: str,
    run: FloatRun,
    data: Prepared,
    calibration: NDArray[np.uint8],
    models: Mapping[str, bytes],
    files: Mapping[str, bytes],
    verdicts: Mapping[str, Verdict],
) -> Manifest:
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=version,
        licence=DEFAULT_LICENCE,
        minimum_edgeemo=edgeemo.__version__,
        labels=LABELS,
        input_spec=run.spec,
        input_fingerprint=run.spec.fingerprint(),
        artifacts=tuple(_artifact(file, model, run.spec) for file, model in sorted(models.items())),
        companions=tuple(Companion(file, len(files[file]), sha256(files[file])) for file in COMPANIONS),
        data=DataInfo(
            tuple(run.config["data_sets"]), str(data.dataset["split"]), data.split_hash, int(data.dataset["seed"])
        ),
        training={
            key: run.config[key]
            for key in ("recipe", "parameters", "multiply_accumulates", "keras", "backend", "history")
        },
        calibration=_calibration(run, calibration),
        evaluation=tuple(_evaluation(file, verdict) for file, verdict in verdicts.items()),
        smoothing=DEFAULT_SMOOTHING,
        tensor_arena_bytes=tflite.activation_bytes(models["int8.tflite"]),
    )


def _artifact(file: str, model: bytes, spec: InputSpec) -> Artifact:
    precision, _, kind = file.partition(".")
    if kind == "tflite":
        backend = LiteRtBackend(model, file, spec)
        source, target, opset = backend.input_info, backend.output_info, None
    else:
        source = TensorInfo((1, *spec.shape), "float32", None, None)
        target = TensorInfo((1, len(LABELS)), "float32", None, None)
        opset = onnx.opset(model)
    return Artifact(file, kind, precision, len(model), sha256(model), source, target, opset)


def _evaluation(file: str, verdict: Verdict) -> Evaluation:
    int8, full = verdict.int8_card, verdict.float_card
    return Evaluation(
        artifact=file,
        split="test",
        n=int8.n,
        float_top1=full.top1,
        top1=int8.top1,
        drop=verdict.drop.drop,
        drop_interval=(verdict.drop.lower95, verdict.drop.upper95),
        agreement=verdict.agreement,
        float_macro_f1=full.macro_f1,
        macro_f1=int8.macro_f1,
        per_class_recall=int8.per_class_recall,
        float_confusion=tuple(map(tuple, full.confusion)),
        confusion=tuple(map(tuple, int8.confusion)),
    )
