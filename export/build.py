"""run/ -> bundle: load, quantize, report, judge, write; only what passes the gate is written."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeemo.cli.shell import say
from edgeemo.contract.bundle import Bundle, write_bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.manifest import COMPANIONS, Role
from edgeemo.errors import GateFailed
from edgeemo.proof.conditions import PICTURES_NEEDED
from edgeemo.proof.selftest import run_selftest
from export.convert.quantize import quantize
from export.job import Job, load_job
from export.manifest import Named, make_manifest
from export.profiles import PROFILES
from export.prove.before import check_float_model, check_pictures
from export.prove.measurement import Measurement
from export.prove.selftest import selftest_file, selftest_trace
from export.prove.steps import STEPS
from export.report.page import write_html
from export.report.report import report_dict


@dataclass(frozen=True)
class Settings:
    """How a build or an adoption is made and judged; no setting loosens the gate."""

    profile: str = "all"
    """One of PROFILES."""
    max_step: str = STEPS[-1]
    """The last step of the ladder that may be tried."""
    gate_min: int = PICTURES_NEEDED
    """Fewest test pictures that are judged by; the report has it."""
    seed: int = 1
    """Of the calibration draw and the self-test's patterns, and of the parts of adopted data."""
    adjustment: float | None = None
    """Share of the training prior's log (0..1) that is taken off the logits of a run; None: as
    validation chooses."""

    @property
    def steps(self) -> tuple[str, ...]:
        """Steps of the ladder that may be tried."""
        return STEPS[: STEPS.index(self.max_step) + 1]


def build(
    run: Path, data: Path, out: Path, named: Named | None = None, settings: Settings | None = None
) -> tuple[Bundle, dict[str, Measurement]]:
    """Convert a finished run and write `out` if every artifact of the profile passes the gate.

    NAME.report.html is written beside the bundle; when the gate refuses, NAME.report.json is too
    and no bundle is.

    Args:
        run: the run's folder.
        data: the prepared folder that it was trained on.
        out: the bundle's file.
        named: what the bundle is called; by default as its file.
        settings: how it is made and judged; by default as `Settings` has it.

    Returns:
        The bundle as read back, and the measurement of each artifact by file.

    Raises:
        GateFailed: an artifact lost too much, the test pictures are too few, or the float model
            fails by itself.
        MissingDependency: a runtime that the profile needs is not installed.
        EdgeemoError: the run, the data or the conversion does not fit.
    """
    named, settings = named or Named(out.stem), settings or Settings()
    profile = PROFILES.get(settings.profile)
    job = load_job(run, data, profile, settings.steps, settings.seed, settings.adjustment)
    return prove(job, out, named, settings.gate_min)


def prove(
    job: Job, out: Path, named: Named, gate_min: int = PICTURES_NEEDED
) -> tuple[Bundle, dict[str, Measurement]]:
    """Quantize, measure, and write `out` if every artifact passes the gate.

    Returns and raises what `build` does.
    """
    check_pictures(len(job.test.labels), gate_min, job.data.path)
    run = job.run
    if note := check_float_model(
        job.test.logits, job.test.labels, run.class_names, run.path, run.float_advice
    ):
        say(note)
    measurements = quantize(job)
    report = _reported(named.name, out, job, measurements, gate_min)
    _check_gate(job, out, report, measurements)
    bundle = _write(out, named, job, measurements, report)
    return bundle, {measurement.file: measurement for measurement in measurements}


def _reported(
    name: str, out: Path, job: Job, measurements: Sequence[Measurement], gate_min: int
) -> dict[str, Any]:
    """report.json's values; the page for people is written beside `out`."""
    candidates = [measurement.candidate for measurement in measurements]
    report = report_dict(job.run, job.data, measurements) | {
        **job.run.about,
        "gate": {"pictures_needed": PICTURES_NEEDED, "pictures_minimum": gate_min},
        "selftest": selftest_trace(candidates, job.selftest, job.run.spec),
    }
    page = out.with_suffix(".report.html")
    write_html(page, name, report, job.run, job.test.images, measurements)
    return report


def _check_gate(
    job: Job, out: Path, report: dict[str, Any], measurements: Sequence[Measurement]
) -> None:
    """Raise GateFailed, and keep the report, where an artifact may not ship."""
    refused = [m for m in measurements if m.reasons]
    if not refused:
        return
    path = out.with_suffix(".report.json")
    with written_beside(path) as part:
        part.write_text(strict.dumps(report))
    reasons = "; ".join(f"{m.file}: {', '.join(m.reasons)}" for m in refused)
    raise GateFailed(
        f"the gate refuses {job.run.path}: {reasons}. No bundle was written; "
        f"{_way_out(job, refused)}; what was measured: {path} and .html"
    )


def _way_out(job: Job, refused: Sequence[Measurement]) -> str:
    """What to do after a refusal, in words."""
    lacking = [m.pictures_lacking for m in refused]
    if all(lacking):
        most = {split: max(one.get(split, 0) for one in lacking) for split in lacking[0]}
        asked = " and ".join(f"{count:,} of {split}" for split, count in most.items())
        return f"the pictures are too few, not int8 too coarse: prepare {asked} or more like these"
    if len(job.steps) < len(STEPS) and job.run.simulated is None and job.run.given is None:
        return f"let it climb further (--max-step {STEPS[-1]}), or {job.run.advice}"
    return job.run.advice


def _write(
    out: Path,
    named: Named,
    job: Job,
    measurements: Sequence[Measurement],
    report: Mapping[str, Any],
) -> Bundle:
    """The bundle as read back, whose self-test passes on this machine."""
    candidates = [measurement.candidate for measurement in measurements]
    companions = {
        COMPANIONS[Role.REPORT]: strict.dumps(report).encode(),
        COMPANIONS[Role.SELFTEST]: selftest_file(
            candidates, job.selftest, job.run.spec, job.run.class_names
        ),
    }
    manifest = make_manifest(named, job, measurements, companions)
    files = {candidate.file: candidate.model for candidate in candidates} | companions
    with tempfile.TemporaryDirectory() as folder:  # an older bundle at `out` stays until it passes
        bundle = write_bundle(Path(folder, out.name), manifest, files)
        failed = [result for result in run_selftest(bundle) if result.passed is False]
    if failed:
        raise GateFailed(
            f"{out}: its own self-test fails ({failed[0]}); "
            "the interpreter of this machine is not to be trusted"
        )
    return write_bundle(out, manifest, files)
