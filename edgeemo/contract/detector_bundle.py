"""The bundle of a face detector: the same file as a model's, with a manifest of its own.

`kind` is the first thing read of it, so that a detector given as a model is told as such, and a
model given as a detector.
"""

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import npy, strict
from edgeemo.contract.container import (
    Accept,
    check_files,
    check_version,
    packed,
    parsed_report,
    read_whole,
    unpack,
    whoever,
    write_whole,
)
from edgeemo.contract.crop import Crop
from edgeemo.contract.face_rows import ROW, FaceRows, completed
from edgeemo.contract.input_spec import InputSpec, parse_spec
from edgeemo.contract.manifest import (
    COMPANIONS,
    FACE_DETECTOR,
    Artifact,
    Calibration,
    Companion,
    Format,
    Role,
    file_faults,
    naming_faults,
    version_faults,
)
from edgeemo.contract.signatures import UNASKED, Vouched
from edgeemo.errors import BundleError

SCHEMA_VERSION = 1
OLDEST_READER = "0.7.0"
"""The first edgeemo that reads SCHEMA_VERSION."""

_MAX_COUNT = 10**9
_MAX_LOOKS = 64
_MAX_SELFTEST_INPUTS = 64


@dataclass(frozen=True)
class Looks:
    """What was found in one kind of frames, by the float model and by the shipped one."""

    kind: str
    """The kind of frames, in words."""
    frames: int
    """Frames looked at."""
    faces: int
    """Faces in them."""
    float_found: int
    """Faces that the float model found."""
    found: int
    """Faces that the shipped model found."""
    float_false: int
    """Boxes of the float model that are no face."""
    false: int
    """Boxes of the shipped model that are no face."""


@dataclass(frozen=True)
class DetectorManifest:
    """What a detector's bundle says of itself; see docs/bundle.md for each field."""

    kind: str
    """FACE_DETECTOR."""
    schema_version: int
    """SCHEMA_VERSION."""
    name: str
    """The detector's name."""
    version: str
    """The bundle's version, as 1.2.3."""
    licence: str
    """What one may do with it, in words."""
    minimum_edgeemo: str
    """The oldest edgeemo that reads it."""
    input_spec: InputSpec
    """What the model takes."""
    input_fingerprint: str
    """The spec's fingerprint."""
    rows: FaceRows
    """How its output is read."""
    smallest: float
    """The smallest face that it answers for, as a share of the frame's shorter side, 0 to 1."""
    crop: Crop
    """How its boxes become what training of emotion networks saw."""
    artifact: Artifact
    """The model, int8."""
    companions: tuple[Companion, ...]
    """The report and the self-test."""
    training: dict[str, Any]
    """The run's own record."""
    calibration: Calibration
    """The representative data set."""
    looks: tuple[Looks, ...]
    """What was found by kind of frames, on pictures kept apart."""
    box_overlap: float
    """Median IoU, 0..1, of the shipped model's boxes with the float model's."""
    tensor_arena_bytes: int
    """Activations alive at once, at their peak."""

    def to_json(self) -> str:
        """The manifest as JSON text."""
        return strict.dumps(asdict(self))

    def companion(self, role: Role) -> Companion:
        """The file of that role."""
        return next(companion for companion in self.companions if companion.role is role)


@dataclass(frozen=True)
class RowsTest:
    """Inputs and what the model answers to them under reference kernels."""

    inputs: NDArray[np.uint8]
    """uint8 (N, H, W, C): drawn patterns, never faces."""
    rows: NDArray[np.int8]
    """int8 (N, cells, 5)."""


@dataclass(frozen=True, repr=False)
class DetectorBundle:
    """A checked detector's bundle, in memory."""

    path: Path
    """Where it was read from."""
    manifest: DetectorManifest
    """What it says of itself."""
    files: Mapping[str, bytes]
    """Its other files, by name."""
    vouched: Vouched = UNASKED
    """Who answers for it."""

    def __repr__(self) -> str:
        """One line."""
        manifest = self.manifest
        return (
            f"<DetectorBundle {manifest.name} {manifest.version}, {manifest.input_spec.size}: "
            f"{self.path}>"
        )

    @property
    def model(self) -> bytes:
        """The int8 .tflite."""
        return self.files[self.manifest.artifact.file]

    def report(self) -> dict[str, Any]:
        """The parsed report.json. Raises BundleError."""
        return parsed_report(self.files[self.manifest.companion(Role.REPORT).file], self.path)

    def selftest(self) -> RowsTest:
        """The self-test's arrays, checked. Raises BundleError."""
        shape = self.manifest.input_spec.shape
        cells = (self.manifest.rows.cells, ROW)
        try:
            arrays = npy.parse_npz(self.files[self.manifest.companion(Role.SELFTEST).file])
            inputs, rows = arrays["inputs"], arrays["rows"]
        except (
            ValueError,
            OSError,
            EOFError,
            RuntimeError,
            KeyError,
            zipfile.BadZipFile,
        ) as error:
            raise BundleError(
                f"{self.path}: its selftest.npz is not readable ({str(error)[:200]}); do not use it"
            ) from None
        right = inputs.dtype == np.uint8 and inputs.shape[1:] == shape
        right = right and rows.dtype == np.int8 and rows.shape == (len(inputs), *cells)
        if not right or not 1 <= len(inputs) <= _MAX_SELFTEST_INPUTS or len(arrays) != 2:
            raise BundleError(
                f"{self.path}: its selftest.npz does not hold uint8 inputs of {shape} and int8 "
                f"rows of {cells}; do not use this bundle"
            )
        return RowsTest(inputs, rows)


def read_detector(path: str | os.PathLike[str], accept: Accept = whoever) -> DetectorBundle:
    """Read and check a detector's bundle; `edgeemo.trust.read_detector` asks whose it is too.

    Args:
        path: the file.
        accept: asked before the manifest or the model is parsed.

    Raises:
        MissingFile: nothing at `path`.
        BundleError: no such bundle, damaged, tampered with, out of bounds, or of a newer edgeemo.
    """
    return parse_detector(read_whole(path), Path(path), accept)


def write_detector(
    path: str | os.PathLike[str], manifest: DetectorManifest, files: Mapping[str, bytes]
) -> DetectorBundle:
    """Write a detector's bundle in one step and return it as read back.

    Raises:
        BundleError: the content would not be accepted.
        StorageError: `path` cannot be written.
    """
    data = packed(manifest.to_json().encode(), files)
    parse_detector(data, Path(path))
    write_whole(path, data)
    return read_detector(path)


def selftest_bytes(test: RowsTest) -> bytes:
    """selftest.npz of a self-test."""
    buffer = io.BytesIO()
    np.savez(buffer, inputs=test.inputs, rows=test.rows)
    return buffer.getvalue()


def parse_detector(data: bytes, file: Path, accept: Accept = whoever) -> DetectorBundle:
    """As `read_detector`, of the bytes of `file`. Raises BundleError."""
    contents = unpack(data, file)
    vouched, files = accept(contents, file), contents.files
    manifest = parse_detector_manifest(contents.manifest, str(file))
    check_version(manifest.minimum_edgeemo, file)
    check_files((manifest.artifact, *manifest.companions), files, file)
    bundle = DetectorBundle(file, manifest, files, vouched)
    bundle.report()
    bundle.selftest()
    return bundle


def parse_detector_manifest(text: bytes, where: str) -> DetectorManifest:
    """Read and check manifest.json's bytes; `where` names the bundle in messages.

    Raises:
        BundleError: not a detector's, of a newer schema, or an unknown, missing or wrong field.
    """
    again = "build or copy the bundle again"
    try:
        raw = strict.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("manifest: expected an object")
        if raw.get("kind") != FACE_DETECTOR:
            raise BundleError(
                f"{where}: expected a face detector's bundle, received one of emotions; pass it "
                "as --model"
            )
        version = raw.get("schema_version")
        if type(version) is int and version > SCHEMA_VERSION:
            raise BundleError(
                f"{where}: schema {version}, this edgeemo reads up to {SCHEMA_VERSION} of "
                "detectors; run: pip install --upgrade edgeemo"
            )
        fingerprint = raw.get("input_fingerprint")
        if not isinstance(fingerprint, str):
            raise ValueError("manifest.input_fingerprint: expected str")
        spec, old = parse_spec(raw.get("input_spec"), fingerprint, "manifest.input_spec")
        if old:
            raise ValueError("manifest.input_spec: of an old schema")
        known = {"input_spec": spec.to_dict(), "rows": completed(raw.get("rows"))}
        manifest = strict.from_dict(DetectorManifest, raw | known, "manifest")
    except BundleError:
        raise
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: its manifest is not valid ({error}); {again}") from None
    if fault := next(_faults(manifest), None):
        raise BundleError(f"{where}: its manifest is not valid ({fault}); {again}")
    return manifest


def _faults(manifest: DetectorManifest) -> Iterator[str]:
    if manifest.schema_version != SCHEMA_VERSION:
        yield f"expected schema {SCHEMA_VERSION}, received {manifest.schema_version}"
    yield from naming_faults(manifest.name, manifest.version)
    yield from version_faults(manifest.minimum_edgeemo)
    yield from _artifact_faults(manifest)
    entries: tuple[Artifact | Companion, ...] = (manifest.artifact, *manifest.companions)
    if sorted(c.role for c in manifest.companions) != sorted(COMPANIONS):
        yield f"expected the companions {', '.join(map(str, COMPANIONS))}, each once"
    if len({entry.file for entry in entries}) != len(entries):
        yield "expected each file once"
    yield from file_faults(entries)
    texts = [manifest.licence, manifest.calibration.method, manifest.calibration.split]
    texts += [manifest.calibration.sha256, *(looks.kind for looks in manifest.looks)]
    if not all(text.isprintable() for text in texts):
        yield "expected printable text"
    counts = [manifest.tensor_arena_bytes, manifest.calibration.n]
    for looks in manifest.looks:
        counts += [looks.frames, looks.faces, looks.float_false, looks.false]
        if not (0 <= looks.found <= looks.faces and 0 <= looks.float_found <= looks.faces):
            yield f"{looks.kind}: found more faces than there are"
    if not all(0 <= count <= _MAX_COUNT for count in counts) or len(manifest.looks) > _MAX_LOOKS:
        yield f"expected counts of 0 to {_MAX_COUNT:,} of at most {_MAX_LOOKS} kinds of frames"
    if not 0 <= manifest.box_overlap <= 1 or not 0 < manifest.smallest <= 1:
        yield "expected an overlap and a smallest face of 0 to 1"


def _artifact_faults(manifest: DetectorManifest) -> Iterator[str]:
    artifact, spec = manifest.artifact, manifest.input_spec
    if artifact.role is not Role.MODEL or artifact.format is not Format.TFLITE:
        yield "expected a TFLite model as artifact"
    if artifact.input.shape != (1, *spec.shape) or artifact.input.dtype != "int8":
        yield f"expected an int8 input of {(1, *spec.shape)}"
    output = artifact.output
    if output.shape != (1, manifest.rows.cells, ROW) or output.dtype != "int8":
        yield f"expected an int8 output of {(1, manifest.rows.cells, ROW)}"
    if output.scale is None or not 1e-6 < output.scale < 1e3:
        yield "expected a scale of the output, above 0"
    if output.zero_point is None or not -128 <= output.zero_point <= 127:
        yield "expected a zero point of -128 to 127"
    if any(
        grid.rows * grid.stride > 2 * spec.height or grid.columns * grid.stride > 2 * spec.width
        for grid in manifest.rows.grids
    ):
        yield "expected grids that lie on the input"
