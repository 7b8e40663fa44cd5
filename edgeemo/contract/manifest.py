"""`manifest.json` of a bundle: strict and versioned. Nobody parses meaning out of a file name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.words import Word
from edgeemo.contract.crop import Crop
from edgeemo.contract.input_spec import InputSpec, parse_spec
from edgeemo.contract.labels import check_labels
from edgeemo.contract.operating_point import OperatingPoint
from edgeemo.errors import BundleError

SCHEMA_VERSION = 2
FACE_DETECTOR = "face-detector"
"""The `kind` in the manifest of a face detector's bundle (edgeemo.contract.detector_bundle)."""
OLDEST_READER = "0.7.0"
"""What a bundle that is written now needs at least: the first edgeemo that reads all of
SCHEMA_VERSION and can tell by its own number (until 0.7.0 the code said 0.2.0, whatever it could
read)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[a-z0-9]{1,32}\.[a-z]{1,16}")
_DETECTOR = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MAX_CROPS = 64
MAX_SECONDS = 3600
"""Most that smoothing may last."""
_MAX_ARENA = 1 << 32  # bytes; a bundle's files take 64 MB at most
_MAX_PICTURES = 10**9
MAX_VERSION_PART = 65_535
"""What a flash image has room for."""


class Format(Word):
    """Kind of a model file, which decides the runtime."""

    TFLITE = "tflite"
    ONNX = "onnx"


class Precision(Word):
    """Numbers that a model file computes with."""

    INT8 = "int8"
    MIXED = "mixed"
    """int8, but for some layers of 16-bit activations (TFLite) or in float (ONNX)."""
    FP16 = "fp16"
    FP32 = "fp32"

    @property
    def is_integer(self) -> bool:
        """Whether tensors are integers, so that reference kernels give the same bits everywhere."""
        return self in (Precision.INT8, Precision.MIXED)


class Role(Word):
    """What a file of the bundle is for."""

    MODEL = "model"
    REPORT = "report"
    SELFTEST = "selftest"


COMPANIONS = {Role.REPORT: "report.json", Role.SELFTEST: "selftest.npz"}
"""Files beside the models, by their role, and the names that we write them under."""


@dataclass(frozen=True)
class TensorInfo:
    """A model's input or output."""

    shape: tuple[int, ...]
    """With the batch in front."""
    dtype: str
    """"int8" or "float32"."""
    scale: float | None
    """Of int8: real = scale * (stored - zero_point)."""
    zero_point: int | None
    """Of int8, -128 to 127."""


@dataclass(frozen=True)
class Artifact:
    """A model file of the bundle."""

    file: str
    """Its name in the bundle; a key, of which nothing is read off."""
    format: Format
    """Kind of file."""
    precision: Precision
    """Numbers that it computes with."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of the file, 64 hex digits."""
    input: TensorInfo
    """Its one input."""
    output: TensorInfo
    """Its one output."""
    opset: int | None
    """Of ONNX alone."""
    role: Role = Role.MODEL
    """Always a model."""


@dataclass(frozen=True)
class Companion:
    """A file of the bundle that is no model."""

    file: str
    """Its name in the bundle."""
    role: Role
    """What it is: the report or the self-test."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of the file, 64 hex digits."""


@dataclass(frozen=True)
class DataInfo:
    """The data that the model was made and judged on."""

    sets: tuple[str, ...]
    """Names of the data sets."""
    split: str
    """How they were split."""
    split_hash: str
    """sha256 over pictures, labels and splits."""
    seed: int
    """Seed of the splits."""


@dataclass(frozen=True)
class Calibration:
    """The representative data set: number of pictures, method, the split they came from, sha256 of
    their pixels.
    """

    n: int
    """Number of pictures, with the two flat ones of 0 and of 255 that the export adds; 0 of a model
    that was quantized elsewhere.
    """
    method: str
    """How ranges were found."""
    split: str
    """The split that they came from."""
    sha256: str
    """Hash of their pixels."""


@dataclass(frozen=True)
class Evaluation:
    """What one artifact scored against the float model on the same `n` pictures of `split`; shares
    are 0..1.
    """

    artifact: str
    """The model file."""
    split: str
    """The split it was measured on."""
    n: int
    """Number of pictures."""
    float_top1: float
    """Top-1 of the float model, 0..1."""
    top1: float
    """Top-1 of the artifact, 0..1."""
    drop: float
    """Float top-1 less the artifact's."""
    drop_interval: tuple[float, float]
    """90 % interval of the drop."""
    agreement: float
    """Share of the pictures with the same top label."""
    float_macro_f1: float
    """Macro-F1 of the float model, 0..1."""
    macro_f1: float
    """Macro-F1 of the artifact, 0..1."""
    per_class_recall: dict[str, float | None]
    """Recall by label; None where a label does not occur."""
    float_confusion: tuple[tuple[int, ...], ...]
    """Counts of the float model, rows true and columns predicted."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts of the artifact, likewise."""


@dataclass(frozen=True)
class Smoothing:
    """How readings become steady over time. The defaults are what new bundles bring."""

    window: float = 0.5
    """Seconds over which scores are averaged."""
    hold_time: float = 0.8
    """Seconds that another answer must last before it counts."""
    floor: float = 0.4
    """Probability 0..1 below which no label is reported."""


@dataclass(frozen=True)
class Manifest:
    """A bundle's manifest; see docs/bundle.md for each field.

    `crops` holds, by a detector's name, the crop that this bundle wants instead of the detector's
    own.
    """

    schema_version: int
    """SCHEMA_VERSION."""
    name: str
    """The bundle's name."""
    version: str
    """The bundle's version, as 1.2.3."""
    licence: str
    """What one may do with it, in words."""
    minimum_edgeemo: str
    """The oldest edgeemo that reads it."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of the outputs."""
    input_spec: InputSpec
    """What the models take."""
    input_fingerprint: str
    """The spec's fingerprint."""
    artifacts: tuple[Artifact, ...]
    """The models."""
    companions: tuple[Companion, ...]
    """The report and the self-test."""
    data: DataInfo
    """What the model was made and judged on."""
    training: dict[str, Any]
    """The run's own record."""
    calibration: Calibration
    """The representative data set."""
    evaluation: tuple[Evaluation, ...]
    """What each artifact scored."""
    smoothing: Smoothing
    """Defaults for readings over time."""
    tensor_arena_bytes: int
    """Activations alive at once in the int8 model, at their peak."""
    crops: dict[str, Crop] = field(default_factory=dict)
    """By a detector's name, the crop that this bundle wants instead of its own."""
    operating_point: OperatingPoint | None = None
    """What the models' logits were adjusted by; None where nothing is known of it."""

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return strict.dumps(asdict(self))

    @property
    def entries(self) -> tuple[Artifact | Companion, ...]:
        """Every file of the bundle but the manifest."""
        return (*self.artifacts, *self.companions)

    def companion(self, role: Role) -> Companion:
        """The file of that role. Raises BundleError where there is none."""
        for companion in self.companions:
            if companion.role is role:
                return companion
        raise BundleError(f"{self.name}: holds no {role}; build or copy the bundle again")

    def artifact(self, file: str) -> Artifact:
        """The artifact stored as `file`. Raises BundleError naming those there are."""
        for artifact in self.artifacts:
            if artifact.file == file:
                return artifact
        raise BundleError(
            f"{self.name}: expected one of its artifacts"
            f" ({', '.join(a.file for a in self.artifacts)}), received {file!r}"
        )


def parse_manifest(text: bytes, where: str) -> Manifest:
    """Read and check manifest.json's bytes; `where` names the bundle in messages.

    Raises:
        BundleError: not JSON, of a newer schema, an unknown, missing or ill-typed field, other
            labels, a fingerprint that is not its input spec's.
    """
    try:
        raw = strict.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("manifest: expected an object")
        if raw.get("kind") == FACE_DETECTOR:
            raise BundleError(
                f"{where}: expected a model of emotions, received a face detector's bundle; pass "
                "it as --detector-model"
            )
        version = raw.get("schema_version")
        if type(version) is int and version > SCHEMA_VERSION:
            raise BundleError(
                f"{where}: schema {version}, this edgeemo reads up to {SCHEMA_VERSION}; "
                "run: pip install --upgrade edgeemo"
            )
        old = type(version) is int and version == 1
        spec = raw.get("input_spec")
        if isinstance(spec, dict) and ("crops" in spec) is not old:
            raise ValueError(f"manifest.input_spec: not the one of schema {str(version)[:20]}")
        if old:
            raw = _from_schema_1(raw)
        manifest = _built(raw)
        check_labels(manifest.labels, "manifest.labels", ValueError)
    except BundleError:
        raise
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{where}: its manifest is not valid ({error}); build or copy the bundle again"
        ) from None
    if fault := next(_faults(manifest), None):
        raise BundleError(
            f"{where}: its manifest is not valid ({fault}); build or copy the bundle again"
        )
    return manifest


def _built(raw: dict[str, Any]) -> Manifest:
    fingerprint = raw.get("input_fingerprint")
    if not isinstance(fingerprint, str):
        raise ValueError("manifest.input_fingerprint: expected str")
    spec, old_crops = parse_spec(raw.get("input_spec"), fingerprint, "manifest.input_spec")
    plain = {"input_spec": spec.to_dict(), "input_fingerprint": spec.fingerprint()}
    raw = {"operating_point": None} | raw  # bundles from before it have none
    if old_crops:
        plain["crops"] = {name: asdict(crop) for name, crop in old_crops.items()}
    return strict.from_dict(Manifest, raw | plain, "manifest")


def _from_schema_1(raw: dict[str, Any]) -> dict[str, Any]:
    """A manifest of schema 1 in today's words: roles were file names, crops part of the spec."""
    roles = {file: role.value for role, file in COMPANIONS.items()}

    def with_role(entry: Any, role: Any) -> Any:
        return entry | {"role": role} if isinstance(entry, dict) else entry

    def entries(key: str) -> list[Any]:
        listed = raw.get(key)
        return listed if isinstance(listed, list) else []

    return (
        raw
        | {
            "schema_version": SCHEMA_VERSION,
            "artifacts": [with_role(entry, Role.MODEL.value) for entry in entries("artifacts")],
            "companions": [
                with_role(
                    entry, roles.get(str(entry.get("file")) if isinstance(entry, dict) else "")
                )
                for entry in entries("companions")
            ],
        }
        | ({} if "crops" in raw else {"crops": {}})
    )


def _faults(manifest: Manifest) -> Iterator[str]:
    """What is wrong with a manifest whose fields have the right types, in words."""
    if manifest.schema_version != SCHEMA_VERSION:
        yield f"expected schema {SCHEMA_VERSION}, received {manifest.schema_version}"
    yield from naming_faults(manifest.name, manifest.version)
    yield from version_faults(manifest.minimum_edgeemo)
    yield from _entry_faults(manifest)
    smoothing = manifest.smoothing
    seconds = (smoothing.window, smoothing.hold_time)
    if min(seconds) < 0 or max(seconds) > MAX_SECONDS or not 0 <= smoothing.floor <= 1:
        yield f"expected smoothing of 0 to {MAX_SECONDS} seconds and a floor of 0 to 1"
    texts = (manifest.licence, *manifest.data.sets, manifest.data.split, manifest.data.split_hash)
    texts += (manifest.calibration.method, manifest.calibration.split, manifest.calibration.sha256)
    texts += tuple(evaluation.split for evaluation in manifest.evaluation)
    if not all(text.isprintable() for text in texts):
        yield "expected printable text"
    if not 0 <= manifest.tensor_arena_bytes <= _MAX_ARENA:
        yield f"expected a tensor arena of 0 to {_MAX_ARENA:,} bytes"
    if not 0 <= manifest.calibration.n <= _MAX_PICTURES:
        yield f"expected 0 to {_MAX_PICTURES:,} calibration pictures"
    if len(manifest.crops) > _MAX_CROPS or not all(map(_DETECTOR.fullmatch, manifest.crops)):
        yield f"expected crops of at most {_MAX_CROPS} detectors, by names of a-z, 0-9, _ -"
    for evaluation in manifest.evaluation:
        yield from _evaluation_faults(evaluation, manifest)
    point = manifest.operating_point
    if point is not None and len(point.prior) != len(manifest.labels):
        yield f"expected a prior of {len(manifest.labels)} shares, received {len(point.prior)}"


def version_faults(version: str) -> Iterator[str]:
    """What is wrong with a version, in words."""
    if not _VERSION.fullmatch(version):
        yield f"expected a version like 1.2.3, received {version[:40]!r}"


def naming_faults(name: str, version: str) -> Iterator[str]:
    """What is wrong with a bundle's name and version, in words."""
    if not _NAME.fullmatch(name):
        yield f"expected a name of a-z, 0-9, . _ -, received {name[:80]!r}"
    yield from version_faults(version)
    if any(int(part) > MAX_VERSION_PART for part in re.findall(r"\d+", version)):
        yield f"expected a version of parts up to {MAX_VERSION_PART}, received {version[:40]!a}"


def _entry_faults(manifest: Manifest) -> Iterator[str]:
    if any(artifact.role is not Role.MODEL for artifact in manifest.artifacts):
        yield "expected the role model of every artifact"
    if sorted(c.role for c in manifest.companions) != sorted(COMPANIONS):
        yield f"expected the companions {', '.join(map(str, COMPANIONS))}, each once"
    files = [entry.file for entry in manifest.entries]
    if not manifest.artifacts or len(set(files)) != len(files):
        yield "expected at least one artifact and each file once"
    for artifact in manifest.artifacts:
        for tensor in (artifact.input, artifact.output):
            if fault := _tensor_fault(tensor):
                yield f"{artifact.file}: {fault}"
    yield from file_faults(manifest.entries)


def file_faults(entries: Sequence[Artifact | Companion]) -> Iterator[str]:
    """What is wrong with the names, hashes and sizes of a bundle's files, in words."""
    for entry in entries:
        if not _FILE.fullmatch(entry.file):
            yield f"expected a plain file name, received {entry.file[:80]!r}"
        if not _SHA256.fullmatch(entry.sha256) or entry.bytes < 0:
            yield f"{entry.file}: expected a sha256 of 64 hex digits and a size"


def _tensor_fault(tensor: TensorInfo) -> str:
    """What is wrong with a model's input or output; "" where nothing is."""
    if not 1 <= len(tensor.shape) <= 8 or not all(0 < n <= 1 << 24 for n in tensor.shape):
        return "expected a tensor of 1 to 8 dimensions"
    if tensor.dtype not in ("int8", "float32"):
        return f"expected a tensor of int8 or float32, received {tensor.dtype[:20]!r}"
    if tensor.dtype == "int8" and not (tensor.scale and tensor.scale > 0):
        return "expected a positive scale of an int8 tensor"
    if tensor.zero_point is not None and not -128 <= tensor.zero_point <= 127:
        return "expected a zero point of -128 to 127"
    return ""


def _evaluation_faults(evaluation: Evaluation, manifest: Manifest) -> Iterator[str]:
    if evaluation.artifact not in [artifact.file for artifact in manifest.artifacts]:
        yield f"an evaluation names {evaluation.artifact[:80]!r}, which is no artifact"
    if set(evaluation.per_class_recall) != set(manifest.labels):
        yield f"the evaluation of {evaluation.artifact} has other classes than the labels"
    if not all(-1.5 <= share <= 1.5 for share in (evaluation.drop, *evaluation.drop_interval)):
        yield f"the evaluation of {evaluation.artifact}: expected a drop of shares"
    shares = [evaluation.top1, evaluation.float_top1, evaluation.agreement]
    shares += [evaluation.macro_f1, evaluation.float_macro_f1]
    recall = [share for share in evaluation.per_class_recall.values() if share is not None]
    if not all(0 <= share <= 1 for share in (*shares, *recall)):
        yield f"the evaluation of {evaluation.artifact}: expected shares of 0 to 1"
    if not 1 <= evaluation.n <= _MAX_PICTURES:
        yield f"the evaluation of {evaluation.artifact}: expected 1 to {_MAX_PICTURES:,} pictures"
    size = len(manifest.labels)
    for confusion in (evaluation.confusion, evaluation.float_confusion):
        if len(confusion) != size or any(len(row) != size for row in confusion):
            yield f"the confusion matrix of {evaluation.artifact} is not {size}x{size}"
        elif sum(map(sum, confusion)) != evaluation.n or min(map(min, confusion)) < 0:
            yield (
                f"the confusion matrix of {evaluation.artifact} does not add up to its n of "
                f"{evaluation.n}"
            )
