"""run/ -> bundle: convert, climb the ladder, measure every artifact against the float model, write only what passes the gate."""

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import BackendError, GateFailed, RunError
from edgeemo.proof.selftest import OPTIMIZED_BOUND_LSB, run_selftest
from export.convert import onnx
from export.convert.calibration import SPLIT, calibration_set, pixels_sha256
from export.convert.graph import activation_bytes
from export.profiles import PROFILES, Profile
from export.prove.gate import judge
from export.prove.ladder import (
    STEPS,
    TRAINED,
    Attempt,
    Candidate,
    Judged,
    Maker,
    OnnxMaker,
    TfliteMaker,
    TrainedMaker,
    climb,
)
from export.prove.selftest import selftest_inputs, selftest_trace
from export.report.page import write_html
from export.report.report import Measured, report_dict
from export.report.tables import attempt_heading, attempt_line
from export.run import FloatRun, load_config, load_float_run

# The float network that is converted must be the one whose predictions are stored: it only sums in another order.
_FLOAT_TOLERANCE = 1e-3
DEFAULT_LICENCE = "MIT; trained on FER-2013 (DbCL), pictures from the web"
DEFAULT_SMOOTHING = Smoothing(window=0.5, hold_time=0.8, floor=0.4)


@dataclass(frozen=True)
class Job:
    """A build under way: a run and data that fit, and what was chosen.

    `validation` are its pictures uint8 (N, 48, 48, 1), their float logits float32 (N, 7) and their labels (N,).
    """

    run: FloatRun
    data: Prepared
    calibration: NDArray[np.uint8]
    selftest: NDArray[np.uint8]
    profile: Profile
    steps: tuple[str, ...]
    seed: int
    validation: tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]
    test: NDArray[np.uint8]


def build(
    run_path: Path,
    data_path: Path,
    out: Path,
    *,
    name: str | None = None,
    version: str = "0.1.0",
    seed: int = 1,
    profile: str = "all",
    max_step: str = STEPS[-1],
) -> tuple[Bundle, dict[str, Measured]]:
    """Convert a finished run and write the bundle `out` if every artifact of the profile passes the gate.

    `max_step` is the last step of the ladder that may be tried. NAME.report.html is written beside the bundle; when the gate
    refuses, NAME.report.json is too and no bundle is.

    Raises:
        GateFailed: an artifact lost too much.
        MissingDependency: a runtime that the profile needs is not installed.
        EdgeemoError: the run, the data or the conversion does not fit.
    """
    job = prepare_job(
        run_path, data_path, PROFILES[profile], STEPS[: STEPS.index(max_step) + 1], seed
    )
    made = _make(job)
    models = {file: measured.model for file, measured in made.items()}
    report = report_dict(job.run, job.data, made) | {
        "selftest": selftest_trace(models, job.selftest, job.run.spec)
    }
    write_html(out.with_suffix(".report.html"), name or out.stem, report, job.run, job.test, made)
    if failed := {file: measured.reasons for file, measured in made.items() if measured.reasons}:
        raise GateFailed(_refusal(job, out, report, failed))
    report_file, selftest = strict.dumps(report).encode(), _selftest(models, job)
    files = {**models, "report.json": report_file, "selftest.npz": selftest}
    bundle = write_bundle(out, _manifest(name or out.stem, version, job, made, files), files)
    wrong = [result for result in run_selftest(bundle) if result.passed is False]
    if wrong:
        out.unlink()
        raise GateFailed(
            f"{out}: its own self-test fails ({wrong[0]}); the interpreter of this machine is not to be trusted"
        )
    return bundle, made


def prepare_job(
    run_path: Path, data_path: Path, profile: Profile, steps: tuple[str, ...], seed: int
) -> Job:
    """Everything that can be refused before anything takes time."""
    if any(file.endswith(".onnx") for file in profile.artifacts):
        onnx.check_installed(
            f"for the profile {profile.name}, whose ONNX files are measured with it (or choose --profile pi)"
        )
    load_config(run_path)
    data = load_prepared(data_path, DEFAULT_SPEC)
    calibration = calibration_set(data, seed)
    rows, test_rows = data.indices("validation"), data.indices("test")
    run = load_float_run(run_path, data)
    validation, test = np.asarray(data.images[rows]), np.asarray(data.images[test_rows])
    difference = float(np.abs(run.predict(test) - run.logits).max())
    if not difference <= _FLOAT_TOLERANCE:
        raise RunError(
            f"{run.path}: its stored float predictions differ from its model's by up to {difference:.3g}, allowed {_FLOAT_TOLERANCE}; "
            f"run: python -m training evaluate {run.path} --data {data.path}"
        )
    patterns = selftest_inputs(seed, run.spec.height)
    floats = (validation, run.predict(validation), data.labels[rows])
    return Job(run, data, calibration, patterns, profile, steps, seed, floats, test)


def _refusal(
    job: Job, out: Path, report: dict[str, Any], failed: Mapping[str, Sequence[str]]
) -> str:
    path = out.with_suffix(".report.json")
    with written_beside(path) as part:
        part.write_text(strict.dumps(report))
    reasons = "; ".join(f"{file}: {', '.join(why)}" for file, why in failed.items())
    run = job.run
    if run.simulated is not None:
        way_out = "train it longer or with another learning rate in simulated int8 (python -m training finetune --qat)"
    else:
        way_out = f"train it in simulated int8: python -m training finetune --qat {run.path} --data {job.data.path} --out {run.path}-qat"
        if len(job.steps) < len(STEPS):
            way_out = f"let it climb further (--max-step {STEPS[-1]}), or {way_out}"
    return f"the gate refuses {run.path}: {reasons}. No bundle was written; {way_out}; what was measured: {path} and .html"


def _make(job: Job) -> dict[str, Measured]:
    """Every artifact of the profile, measured on the test split."""
    click.echo(
        f"profile {job.profile.name}: {', '.join(job.profile.artifacts)}; calibration: {len(job.calibration)} pictures of {SPLIT}"
    )
    if job.run.seen:
        click.echo(job.run.seen)
    click.echo(attempt_heading())
    found = [_climbed(job, _tflite_maker(job))]
    if any(file.endswith(".onnx") for file in job.profile.artifacts):
        fp32 = onnx.convert_fp32(job.run.model)
        found.append(_climbed(job, OnnxMaker(fp32, job.calibration)))
        found += [
            _measured(job, "fp16.onnx", onnx.convert_fp16(fp32)),
            _measured(job, "fp32.onnx", fp32),
        ]
        _check_float(job, found[-1])
    return {measured.file: measured for measured in found}


def _check_float(job: Job, fp32: Measured) -> None:
    difference = float(np.abs(fp32.logits - job.run.logits).max())
    if not difference <= _FLOAT_TOLERANCE:
        raise BackendError(
            f"{fp32.file}: differs from the network that it was made from by up to {difference:.3g}, allowed {_FLOAT_TOLERANCE}; "
            "tf2onnx or ONNX Runtime computes something else, so no ONNX file of it is to be trusted: try another version"
        )


def _tflite_maker(job: Job) -> Maker:
    if job.run.simulated is not None:
        return TrainedMaker(job.run.simulated)
    return TfliteMaker(
        job.run.model, job.calibration, job.seed, may_be_mixed=job.profile.wide_tflite
    )


def _climbed(job: Job, maker: Maker) -> Measured:
    """The first candidate that passes on validation and then on the test split; where none does, the closest one with the reasons."""
    steps = tuple(step for step in maker.steps if step in (*job.steps, TRAINED))
    attempts: list[Attempt] = []
    closest: tuple[float, Candidate] | None = None
    looks = 0
    for candidate, attempt in climb(
        maker, steps, lambda made: judged(job, made), time.perf_counter
    ):
        click.echo(attempt_line(attempt))
        attempts.append(attempt)
        if closest is None or attempt.mean_kl < closest[0]:
            closest = attempt.mean_kl, candidate
        if attempt.passed:
            looks += 1
            measured = _measured(
                job, candidate.file, candidate.model, candidate.detail, attempts, looks
            )
            if not measured.reasons:
                return measured
            click.echo(f"  but not on the test split: {'; '.join(measured.reasons)}")
    assert closest is not None  # there is no ladder without steps
    measured = _measured(
        job, closest[1].file, closest[1].model, closest[1].detail, attempts, looks + 1
    )
    reasons = measured.reasons or attempts[-1].reasons
    return replace(
        measured, reasons=(f"no step up to {steps[-1]} passes on validation and test", *reasons)
    )


def judged(job: Job, candidate: Candidate) -> Judged:
    """What the validation split and the self-test say of a candidate."""
    pictures, logits, labels = job.validation
    start = time.perf_counter()
    answered = _infer(_open(candidate.file, candidate.model, job.run.spec), pictures)
    ms = 1000 * (time.perf_counter() - start) / len(pictures)
    return Judged(judge(logits, answered, labels), tuple(_restless(job, candidate)), ms)


def _restless(job: Job, candidate: Candidate) -> Iterator[str]:
    """What the self-test would say against a .tflite: a device's kernels answer too differently from the reference ones."""
    if not candidate.file.endswith(".tflite"):
        return
    backends = [
        LiteRtBackend(candidate.model, candidate.file, job.run.spec, reference_kernels=reference)
        for reference in (True, False)
    ]
    exact, fast = (backend.infer(job.selftest) for backend in backends)
    steps = float(np.abs(exact - fast).max()) / (backends[0].output_info.scale or 1.0)
    if steps > OPTIMIZED_BOUND_LSB:
        yield f"default and reference kernels differ by {steps:.0f} output steps on the self-test, allowed {OPTIMIZED_BOUND_LSB:.0f}"


def _measured(
    job: Job,
    file: str,
    model: bytes,
    detail: str = "",
    attempts: Sequence[Attempt] = (),
    looks: int = 1,
) -> Measured:
    start = time.perf_counter()
    logits = _infer(_open(file, model, job.run.spec), job.test, progress=True)
    seconds = round(time.perf_counter() - start, 2)
    verdict = judge(job.run.logits, logits, job.run.labels)
    return Measured(
        file, model, detail, logits, verdict, tuple(attempts), looks, seconds, verdict.reasons
    )


def _open(
    file: str, model: bytes, spec: InputSpec, *, reference_kernels: bool = False
) -> LiteRtBackend | OnnxBackend:
    if file.endswith(".tflite"):
        return LiteRtBackend(model, file, spec, reference_kernels=reference_kernels)
    return OnnxBackend(model, file, spec)


def _infer(
    backend: Backend, pictures: NDArray[np.uint8], *, progress: bool = False
) -> NDArray[np.float32]:
    starts = tqdm(
        range(0, len(pictures), 64),
        desc=backend.artifact,
        unit="batch",
        disable=not progress,
        leave=False,
    )
    return np.concatenate([backend.infer(pictures[start : start + 64]) for start in starts])


def _selftest(models: Mapping[str, bytes], job: Job) -> bytes:
    opened = {
        file: _open(file, model, job.run.spec, reference_kernels=True)
        for file, model in models.items()
    }
    logits = {file: backend.infer(job.selftest) for file, backend in opened.items()}
    buffer = io.BytesIO()
    np.savez(buffer, inputs=job.selftest, **cast(dict[str, Any], logits))
    return buffer.getvalue()


def _manifest(
    name: str, version: str, job: Job, made: Mapping[str, Measured], files: Mapping[str, bytes]
) -> Manifest:
    run, data = job.run, job.data
    tflite_file = next(file for file in made if file.endswith(".tflite"))
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=version,
        licence=DEFAULT_LICENCE,
        minimum_edgeemo=edgeemo.__version__,
        labels=LABELS,
        input_spec=run.spec,
        input_fingerprint=run.spec.fingerprint(),
        artifacts=tuple(_artifact(file, made[file].model, run.spec) for file in sorted(made)),
        companions=tuple(
            Companion(file, len(files[file]), sha256(files[file])) for file in COMPANIONS
        ),
        data=DataInfo(
            tuple(run.config["data_sets"]),
            str(data.dataset["split"]),
            data.split_hash,
            int(data.dataset["seed"]),
        ),
        training={
            key: run.config[key]
            for key in (
                "recipe",
                "parameters",
                "multiply_accumulates",
                "keras",
                "backend",
                "history",
            )
        },
        calibration=_calibration(job, made),
        evaluation=tuple(_evaluation(measured) for measured in made.values()),
        smoothing=DEFAULT_SMOOTHING,
        tensor_arena_bytes=activation_bytes(made[tflite_file].model),
    )


def _calibration(job: Job, made: Mapping[str, Measured]) -> Calibration:
    method = "; ".join(
        f"{file}: {measured.detail}" for file, measured in made.items() if measured.detail
    )
    return Calibration(len(job.calibration), method, SPLIT, pixels_sha256(job.calibration))


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


def _evaluation(measured: Measured) -> Evaluation:
    verdict = measured.verdict
    card, full = verdict.card, verdict.float_card
    return Evaluation(
        artifact=measured.file,
        split="test",
        n=card.n,
        float_top1=full.top1,
        top1=card.top1,
        drop=verdict.drop.drop,
        drop_interval=(verdict.drop.lower95, verdict.drop.upper95),
        agreement=verdict.agreement,
        float_macro_f1=full.macro_f1,
        macro_f1=card.macro_f1,
        per_class_recall=card.per_class_recall,
        float_confusion=tuple(map(tuple, full.confusion)),
        confusion=tuple(map(tuple, card.confusion)),
    )
