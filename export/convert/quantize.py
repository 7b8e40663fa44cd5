"""Every artifact of a profile: made, improved by the ladder, and measured on the test split."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgeemo.backends.litert import LiteRtBackend
from edgeemo.cli.shell import say
from edgeemo.contract.quantize import calibrated_with
from edgeemo.errors import BackendError
from edgeemo.proof.selftest import OPTIMIZED_BOUND_LSB
from export.convert import onnx
from export.convert.artifacts import (
    FP16_ONNX,
    FP32_ONNX,
    INT8_TFLITE,
    Candidate,
    infer,
    open_candidate,
)
from export.job import FLOAT_TOLERANCE, Job, Pictures
from export.prove.exact import measured_in_c
from export.prove.gate import judge
from export.prove.ladder import climb
from export.prove.makers import Maker, OnnxMaker, TfliteMaker, TrainedMaker
from export.prove.measurement import Attempt, Measurement
from export.prove.steps import TRAINED
from export.report.tables import attempt_heading, attempt_line


def quantize(job: Job) -> list[Measurement]:
    """Every artifact of the job's profile, measured on the test split; a line a step is printed.

    Raises:
        BackendError: a conversion fails, or the float ONNX file is another network than the run's.
    """
    say(
        f"profile {job.profile.name}: {', '.join(job.profile.files)}; calibration: "
        f"{calibrated_with(len(job.calibration), job.calibrated_on)}"
    )
    if job.run.note:
        say(job.run.note)
    if job.run.given is not None:
        given = Candidate(INT8_TFLITE, job.run.given, "quantized elsewhere, taken as it came")
        return [tested(job, given, tuple(_kernel_faults(job, given)))]
    exact: Measurement | None = None
    if job.profile.with_onnx:  # before the ladder, which could not help it
        exact = measured(job, Candidate(FP32_ONNX, job.run.float_onnx()), job.test)
        _check_float(job, exact)
    say(attempt_heading())
    measurements = [climbed(job, _tflite_maker(job))] if job.profile.with_tflite else []
    if exact is not None:
        fp32 = exact.candidate.model
        maker = OnnxMaker(
            fp32, job.calibration, job.run.spec, for_tensorrt=job.profile.for_tensorrt
        )
        measurements.append(climbed(job, maker))
        halved = Candidate(FP16_ONNX, onnx.convert_fp16(fp32))
        measurements += [measured(job, halved, job.test, progress=True), exact]
    return measurements


def measured(
    job: Job, candidate: Candidate, pictures: Pictures, *, progress: bool = False
) -> Measurement:
    """The candidate on pictures of one split, with the gate's verdict and what the kernels say."""
    backend = open_candidate(candidate, job.run.spec, job.run.class_names)
    start = time.perf_counter()
    logits = infer(backend, pictures.images, progress=progress)
    seconds = time.perf_counter() - start
    verdict = judge(pictures.logits, logits, pictures.labels, job.run.class_names)
    return Measurement(candidate, logits, verdict, seconds)


def tried(job: Job, candidate: Candidate) -> Measurement:
    """The candidate on the validation split, and what the self-test says against it.

    In C too, where nothing else speaks against it.
    """
    measurement = measured(job, candidate, job.validation)
    measurement = replace(measurement, faults=tuple(_kernel_faults(job, candidate)))
    if measurement.reasons:
        return measurement
    return replace(measurement, exact=measured_in_c(job, candidate, job.validation))


def tested(job: Job, candidate: Candidate, faults: tuple[str, ...]) -> Measurement:
    """The candidate on the test split, by LiteRT or ONNX Runtime and in C; `faults` speak against
    it anyway.
    """
    measurement = measured(job, candidate, job.test, progress=True)
    exact = measured_in_c(job, candidate, job.test, aloud=True)
    return replace(measurement, faults=faults, exact=exact)


def climbed(job: Job, maker: Maker) -> Measurement:
    """The first candidate that passes on validation and then on the test split.

    Where none does, the closest one, with the reasons.
    """
    steps = tuple(step for step in maker.steps if step in (*job.steps, TRAINED))
    attempts: list[Attempt] = []
    closest: tuple[Attempt, Candidate] | None = None
    looks = 0
    ladder = climb(maker, steps, lambda candidate: tried(job, candidate), time.perf_counter)
    for candidate, attempt in ladder:
        say(attempt_line(attempt))
        attempts.append(attempt)
        if closest is None or attempt.mean_kl < closest[0].mean_kl:
            closest = attempt, candidate
        if attempt.passed:
            looks += 1
            measurement = tested(job, candidate, ())
            if not measurement.reasons:
                return replace(measurement, attempts=tuple(attempts), looks=looks)
            say(f"  but not on the test split: {'; '.join(measurement.reasons)}")
    assert closest is not None  # there is no ladder without steps
    measurement = measured(job, closest[1], job.test, progress=True)
    why = f"no step up to {steps[-1]} passes on validation and test"
    more = () if measurement.reasons else closest[0].reasons
    return replace(measurement, faults=(why, *more), attempts=tuple(attempts), looks=looks + 1)


def _tflite_maker(job: Job) -> Maker:
    if job.run.simulated is not None:
        return TrainedMaker(job.run.simulated)
    return TfliteMaker(
        job.run.float_tflite(),
        job.calibration,
        job.seed,
        job.run.spec,
        may_be_mixed=job.profile.wide_tflite,
    )


def _check_float(job: Job, fp32: Measurement) -> None:
    difference = float(np.abs(fp32.logits - job.test.logits).max())
    if not difference <= FLOAT_TOLERANCE:
        raise BackendError(
            f"{fp32.file}: differs from the network that it was made from by up to "
            f"{difference:.3g}, allowed {FLOAT_TOLERANCE}; tf2onnx or ONNX Runtime computes "
            "something else, so no ONNX file of it is to be trusted: try another version"
        )


def _kernel_faults(job: Job, candidate: Candidate) -> Iterator[str]:
    """What the self-test would say against a file whose two sets of kernels differ too much."""
    spec, labels = job.run.spec, job.run.class_names
    reference = open_candidate(candidate, spec, labels, reference_kernels=True)
    if not isinstance(reference, LiteRtBackend):
        return  # ONNX Runtime has one set
    default = open_candidate(candidate, spec, labels)
    exact, fast = reference.infer(job.selftest), default.infer(job.selftest)
    steps = float(np.abs(exact - fast).max()) / (reference.output_info.scale or 1.0)
    if steps > OPTIMIZED_BOUND_LSB:
        yield (
            f"default and reference kernels differ by {steps:.0f} output steps on the self-test, "
            f"allowed {OPTIMIZED_BOUND_LSB:.0f}"
        )
