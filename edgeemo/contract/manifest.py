"""`manifest.json` of a bundle: strict and versioned. Nobody parses meaning out of a file name."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from edgeemo.contract import strict
from edgeemo.contract.input_spec import PREPROCESS_VERSION, InputSpec
from edgeemo.contract.labels import LABELS, check_label_order
from edgeemo.errors import BundleError

SCHEMA_VERSION = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARTIFACT_FILE = re.compile(r"[a-z0-9]{1,16}\.(tflite|onnx)")
# mixed: int8, but for some layers that have 16-bit activations (TFLite) or stay float (ONNX).
PRECISIONS = ("int8", "mixed", "fp16", "fp32")
COMPANIONS = ("report.json", "selftest.npz")


@dataclass(frozen=True)
class TensorInfo:
    """A model's input or output: shape with batch, dtype ("int8" or "float32"), and its quantization if it is int8."""

    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class Artifact:
    """A model file of the bundle: format "tflite" or "onnx", one of PRECISIONS; opset for ONNX alone."""

    file: str
    format: str
    precision: str
    bytes: int
    sha256: str
    input: TensorInfo
    output: TensorInfo
    opset: int | None

    @property
    def is_integer(self) -> bool:
        """Whether its tensors are integers, so that reference kernels give the same bits everywhere."""
        return self.precision in ("int8", "mixed")


@dataclass(frozen=True)
class Companion:
    """A file of the bundle that is no model."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DataInfo:
    """The data that the model was made and judged on."""

    sets: tuple[str, ...]
    split: str
    split_hash: str
    seed: int


@dataclass(frozen=True)
class Calibration:
    """The representative data set: number of pictures, method, the split they came from, sha256 of their pixels."""

    n: int
    method: str
    split: str
    sha256: str


@dataclass(frozen=True)
class Evaluation:
    """What one artifact scored against the float model on the same `n` pictures of `split`; shares are 0..1."""

    artifact: str
    split: str
    n: int
    float_top1: float
    top1: float
    drop: float
    drop_interval: tuple[float, float]
    agreement: float
    float_macro_f1: float
    macro_f1: float
    per_class_recall: dict[str, float | None]
    float_confusion: tuple[tuple[int, ...], ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Smoothing:
    """Defaults for readings over time: averaging window and hold time in seconds, confidence floor 0..1."""

    window: float
    hold_time: float
    floor: float


@dataclass(frozen=True)
class Manifest:
    """A bundle's manifest; see docs/bundle.md for each field."""

    schema_version: int
    name: str
    version: str
    licence: str
    minimum_edgeemo: str
    labels: tuple[str, ...]
    input_spec: InputSpec
    input_fingerprint: str
    artifacts: tuple[Artifact, ...]
    companions: tuple[Companion, ...]
    data: DataInfo
    training: dict[str, Any]
    calibration: Calibration
    evaluation: tuple[Evaluation, ...]
    smoothing: Smoothing
    tensor_arena_bytes: int

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return strict.dumps(asdict(self))

    @property
    def entries(self) -> tuple[Artifact | Companion, ...]:
        """Every file of the bundle but the manifest."""
        return (*self.artifacts, *self.companions)

    def artifact(self, file: str) -> Artifact:
        """The artifact stored as `file`. Raises BundleError naming those there are."""
        for artifact in self.artifacts:
            if artifact.file == file:
                return artifact
        raise BundleError(
            f"{self.name}: expected one of its artifacts ({', '.join(a.file for a in self.artifacts)}), received {file!r}"
        )


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Read and check manifest.json's bytes; `where` names the bundle in messages.

    Raises:
        BundleError: not JSON, of a newer schema, an unknown, missing or ill-typed field, other labels, a
            fingerprint that is not its input spec's.
    """
    try:
        raw = strict.loads(text)
        version = raw.get("schema_version") if isinstance(raw, dict) else None
        if type(version) is int and version > SCHEMA_VERSION:
            raise BundleError(
                f"{where}: schema {version}, this edgeemo reads up to {SCHEMA_VERSION}; run: pip install --upgrade edgeemo"
            )
        manifest = strict.from_dict(Manifest, raw, "manifest")
    except BundleError:
        raise
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{where}: its manifest is not valid ({error}); build or copy the bundle again"
        ) from None
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    check_label_order(manifest.labels, where, BundleError)
    fault = _fault(manifest)
    if fault:
        raise BundleError(
            f"{where}: its manifest is not valid ({fault}); build or copy the bundle again"
        )


def _fault(manifest: Manifest) -> str | None:
    if manifest.schema_version != SCHEMA_VERSION:
        return f"expected schema {SCHEMA_VERSION}, received {manifest.schema_version}"
    if not _NAME.fullmatch(manifest.name):
        return f"expected a name of a-z, 0-9, . _ -, received {manifest.name[:80]!r}"
    for version in (manifest.version, manifest.minimum_edgeemo):
        if not _VERSION.fullmatch(version):
            return f"expected a version like 1.2.3, received {version[:40]!r}"
    if manifest.input_fingerprint != manifest.input_spec.fingerprint():
        return f"fingerprint {manifest.input_fingerprint[:40]!r} is not its input spec's ({manifest.input_spec.fingerprint()})"
    if manifest.input_spec.preprocess != PREPROCESS_VERSION:
        return f"made for the preprocessing {manifest.input_spec.preprocess[:40]!r}, this edgeemo has {PREPROCESS_VERSION!r}"
    for artifact in manifest.artifacts:
        if (
            not _ARTIFACT_FILE.fullmatch(artifact.file)
            or artifact.format != artifact.file.rpartition(".")[2]
        ):
            return f"artifact {artifact.file[:80]!r} of format {artifact.format[:20]!r} is none that this version knows"
        if artifact.precision not in PRECISIONS:
            return f"{artifact.file}: expected a precision of {', '.join(PRECISIONS)}, received {artifact.precision[:20]!r}"
    if tuple(companion.file for companion in manifest.companions) != COMPANIONS:
        return f"expected the companions {', '.join(COMPANIONS)}"
    files = [entry.file for entry in manifest.entries]
    if not manifest.artifacts or len(set(files)) != len(files):
        return "expected at least one artifact and each file once"
    for entry in manifest.entries:
        if not _SHA256.fullmatch(entry.sha256) or entry.bytes < 0:
            return f"{entry.file}: expected a sha256 of 64 hex digits and a size"
    smoothing = manifest.smoothing
    if min(smoothing.window, smoothing.hold_time, smoothing.floor) < 0 or smoothing.floor > 1:
        return "expected smoothing of 0 seconds or more and a floor of 0 to 1"
    if manifest.tensor_arena_bytes < 0:
        return "expected a tensor arena of 0 bytes or more"
    for evaluation in manifest.evaluation:
        if evaluation.artifact not in [artifact.file for artifact in manifest.artifacts]:
            return f"an evaluation names {evaluation.artifact[:80]!r}, which is no artifact"
        if set(evaluation.per_class_recall) != set(LABELS):
            return f"the evaluation of {evaluation.artifact} has other classes than the seven"
        for confusion in (evaluation.confusion, evaluation.float_confusion):
            if len(confusion) != len(LABELS) or any(len(row) != len(LABELS) for row in confusion):
                return f"the confusion matrix of {evaluation.artifact} is not {len(LABELS)}x{len(LABELS)}"
            if sum(map(sum, confusion)) != evaluation.n or min(map(min, confusion)) < 0:
                return f"the confusion matrix of {evaluation.artifact} does not add up to its n of {evaluation.n}"
    return None
