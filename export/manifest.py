"""The manifest of a bundle that was just measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeemo.backends.litert import LiteRtBackend
from edgeemo.contract.container import sha256
from edgeemo.contract.manifest import (
    COMPANIONS,
    OLDEST_READER,
    SCHEMA_VERSION,
    Artifact,
    Calibration,
    Companion,
    DataInfo,
    Evaluation,
    Format,
    Manifest,
    Smoothing,
    TensorInfo,
    naming_faults,
)
from edgeemo.errors import InvalidInput
from export.convert import onnx
from export.convert.artifacts import Candidate, open_candidate
from export.convert.calibration import pixels_sha256
from export.convert.graph import activation_bytes
from export.job import Job
from export.prove.measurement import Measurement

OF_FER2013 = "MIT; trained on FER-2013 (DbCL), pictures from the web"
"""The licence of what comes from FER-2013 alone, with nothing else said."""
_OF_TRAINING = ("recipe", "parameters", "multiply_accumulates", "keras", "backend", "history")


@dataclass(frozen=True)
class Named:
    """What its maker calls a bundle."""

    name: str
    """Its name, of a-z 0-9 . _ -."""
    version: str = "0.1.0"
    """Its version."""
    licence: str | None = None
    """What one may do with it, in words; None: what follows from what it was trained on."""

    def __post_init__(self) -> None:
        """Raise InvalidInput for what no bundle may be called, before minutes of measuring."""
        for fault in naming_faults(self.name, self.version):
            raise InvalidInput(f"--name, --version: {fault}; choose another")


def make_manifest(
    named: Named,
    job: Job,
    measurements: Sequence[Measurement],
    files: Mapping[str, bytes],
) -> Manifest:
    """What the bundle says of itself; `files` are its companions' bytes, by file."""
    run, data, training = job.run, job.data, job.run.config.to_dict()
    candidates = sorted((m.candidate for m in measurements), key=lambda c: c.file)
    on_device = [c.model for c in candidates if c.kind.format is Format.TFLITE]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=named.name,
        version=named.version,
        licence=named.licence or default_licence(run.config.learned_from),
        minimum_edgeemo=OLDEST_READER,
        labels=run.class_names,
        input_spec=run.spec,
        input_fingerprint=run.spec.fingerprint(),
        artifacts=tuple(_artifact(candidate, job) for candidate in candidates),
        companions=tuple(
            Companion(file, role, len(files[file]), sha256(files[file]))
            for role, file in COMPANIONS.items()
        ),
        data=DataInfo(
            run.config.data_sets,
            str(data.dataset["split"]),
            data.split_hash,
            int(data.dataset["seed"]),
        ),
        training={key: training[key] for key in _OF_TRAINING if key in training},
        calibration=_calibration(job, measurements),
        evaluation=tuple(map(_evaluation, measurements)),
        smoothing=Smoothing(),
        tensor_arena_bytes=max(map(activation_bytes, on_device), default=0),
        operating_point=run.operating_point,
    )


def default_licence(sets: Sequence[str]) -> str:
    """What a bundle says of its licence where nothing was said, by the data sets it comes from."""
    if list(sets) == ["fer2013"]:
        return OF_FER2013
    return f"licence not stated; trained on {', '.join(sets) or 'data that is not known'}"


def _calibration(job: Job, measurements: Sequence[Measurement]) -> Calibration:
    method = "; ".join(
        f"{m.file}: {m.candidate.detail}" for m in measurements if m.candidate.detail
    )
    return Calibration(
        len(job.calibration), method, job.calibrated_on, pixels_sha256(job.calibration)
    )


def _artifact(candidate: Candidate, job: Job) -> Artifact:
    spec, labels, model = job.run.spec, job.run.class_names, candidate.model
    backend = open_candidate(candidate, spec, labels)
    if isinstance(backend, LiteRtBackend):
        source, target, opset = backend.input_info, backend.output_info, None
    else:
        source = TensorInfo((1, *spec.shape), "float32", None, None)
        target = TensorInfo((1, len(labels)), "float32", None, None)
        opset = onnx.opset(model)
    return Artifact(
        file=candidate.file,
        format=candidate.kind.format,
        precision=candidate.kind.precision,
        bytes=len(model),
        sha256=sha256(model),
        input=source,
        output=target,
        opset=opset,
    )


def _evaluation(measurement: Measurement) -> Evaluation:
    verdict = measurement.verdict
    card, full = verdict.card, verdict.float_card
    return Evaluation(
        artifact=measurement.file,
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
