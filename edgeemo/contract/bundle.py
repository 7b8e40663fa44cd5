"""The bundle: NAME.edgeemo, a zip of stored entries. Read as if it were hostile, written beside and
renamed.
"""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import npy
from edgeemo.contract.checked.onnx_guard import check_self_contained
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
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import check_same_labels
from edgeemo.contract.manifest import Artifact, Format, Manifest, Role, parse_manifest
from edgeemo.contract.signatures import UNASKED, Vouched
from edgeemo.errors import BundleError

_MAX_SELFTEST_INPUTS = 1024


@dataclass(frozen=True)
class SelfTest:
    """Inputs and what the bundle's artifacts answer to them."""

    inputs: NDArray[np.uint8]
    """uint8 (N, H, W, C). Drawn patterns, never faces, because bundles are published."""
    logits: dict[str, NDArray[np.float32]]
    """float32 (N, labels) by artifact file; of TFLite files under reference kernels."""


@dataclass(frozen=True, repr=False)
class Bundle:
    """A checked bundle, in memory: every size, hash and name has been verified."""

    path: Path
    """Where it was read from."""
    manifest: Manifest
    """What it says of itself."""
    files: Mapping[str, bytes]
    """Its other files, by name."""
    vouched: Vouched = UNASKED
    """Who answers for it."""

    def __repr__(self) -> str:
        """One line: a bundle's files are megabytes."""
        files = ", ".join(artifact.file for artifact in self.manifest.artifacts)
        return (
            f"<Bundle {self.manifest.name} {self.manifest.version}, {len(self.labels)} labels, "
            f"{self.spec.size}, {files}: {self.path}>"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the models' outputs."""
        return self.manifest.labels

    @property
    def spec(self) -> InputSpec:
        """What the models take."""
        return self.manifest.input_spec

    def artifact(self, file: str) -> tuple[Artifact, bytes]:
        """A model file's description and bytes. Raises BundleError naming those there are."""
        return self.manifest.artifact(file), self.files[file]

    def report(self) -> dict[str, Any]:
        """The parsed report.json: what was measured when the bundle was built.

        Raises BundleError.
        """
        return parsed_report(self.files[self.manifest.companion(Role.REPORT).file], self.path)

    def selftest(self) -> SelfTest:
        """The self-test's arrays, checked.

        Raises BundleError for pickled, misshapen or missing ones.
        """
        size = self.manifest.input_spec.shape
        try:
            arrays = npy.parse_npz(self.files[self.manifest.companion(Role.SELFTEST).file])
        except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{self.path}: its selftest.npz is not readable without pickle"
                f" ({str(error)[:200]}); do not use it"
            ) from None
        inputs = arrays.pop("inputs", None)
        count = 0 if inputs is None or not inputs.ndim else len(inputs)
        if (
            inputs is None
            or inputs.dtype != np.uint8
            or inputs.shape[1:] != size
            or not 1 <= count <= _MAX_SELFTEST_INPUTS
        ):
            raise BundleError(
                f"{self.path}: its selftest.npz holds no uint8 inputs of {size}; do not use this"
                " bundle"
            )
        expected = {artifact.file for artifact in self.manifest.artifacts}
        right = (
            a.dtype == np.float32 and a.shape == (count, len(self.labels)) and np.isfinite(a).all()
            for a in arrays.values()
        )
        if set(arrays) != expected or not all(right):
            raise BundleError(
                f"{self.path}: its selftest.npz does not hold float32 logits for each of"
                f" {', '.join(sorted(expected))}; do not use this bundle"
            )
        return SelfTest(inputs, arrays)


def read_bundle(path: str | os.PathLike[str], accept: Accept = whoever) -> Bundle:
    """Read and check a bundle file; nothing is unpacked to disk.

    Whether it is whole is all that is checked here; `edgeemo.trust.read_bundle` asks whose it is.

    Args:
        path: the file.
        accept: asked before the manifest or a model is parsed.

    Raises:
        MissingFile: nothing at `path`.
        BundleError: no bundle, damaged, tampered with, out of bounds, or from a newer edgeemo.
    """
    return parse_bundle(read_whole(path), Path(path), accept)


def parse_bundle(data: bytes, file: Path, accept: Accept = whoever) -> Bundle:
    """As `read_bundle`, of the bytes of `file`. Raises BundleError."""
    contents = unpack(data, file)
    vouched, files = accept(contents, file), contents.files
    manifest = parse_manifest(contents.manifest, str(file))
    check_version(manifest.minimum_edgeemo, file)
    check_files(manifest.entries, files, file)
    for artifact in manifest.artifacts:
        if artifact.format is Format.ONNX:
            check_self_contained(files[artifact.file], f"{file}: {artifact.file}")
    bundle = Bundle(file, manifest, files, vouched)
    report = bundle.report()
    if isinstance(named := report.get("labels"), list):  # not in reports of the first bundles
        check_same_labels(named, manifest.labels, f"{file}: its report", BundleError)
    bundle.selftest()
    return bundle


def write_bundle(
    path: str | os.PathLike[str], manifest: Manifest, files: Mapping[str, bytes]
) -> Bundle:
    """Write a bundle in one step and return it as read back, so that what is written is what can be
    read.

    Entries are in a fixed order with a fixed date, so the same content gives the same bytes.

    Raises:
        BundleError: the content would not be accepted.
        StorageError: `path` cannot be written.
    """
    data = packed(manifest.to_json().encode(), files)
    parse_bundle(data, Path(path))
    write_whole(path, data)
    return read_bundle(path)
