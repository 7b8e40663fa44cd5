"""The bundle: NAME.edgeemo, a zip of stored entries. Read as if it were hostile, written beside and
renamed.
"""

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import npy, strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.onnx_guard import check_self_contained
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import check_same_labels
from edgeemo.contract.manifest import Artifact, Format, Manifest, Role, parse_manifest
from edgeemo.errors import BundleError, MissingFile
from edgeemo.version import __version__

MANIFEST = "manifest.json"
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 16
MAX_MANIFEST_BYTES = 1024 * 1024
_MAX_SELFTEST_INPUTS = 1024
# Opening a zip builds an object for each entry, of which a hostile file may list a million: its
# signatures are counted first. They stand before the entries of the bundle and of its selftest.npz,
# and by chance inside a model.
_ENTRY_SIGNATURE, _MAX_SIGNATURES = b"PK\x01\x02", 4 * MAX_ENTRIES


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
        try:
            report = strict.loads(self.files[self.manifest.companion(Role.REPORT).file])
        except ValueError as error:
            raise BundleError(
                f"{self.path}: its report.json is not valid ({error}); build or copy it again"
            ) from None
        if not isinstance(report, dict):
            raise BundleError(
                f"{self.path}: its report.json is not an object; build or copy it again"
            )
        return report

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


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and check a bundle file; nothing is unpacked to disk.

    Raises:
        MissingFile: nothing at `path`.
        BundleError: no bundle, damaged, tampered with, out of bounds, or from a newer edgeemo.
    """
    file = Path(path)
    return _parse(_read_bounded(file), file)


def _parse(data: bytes, file: Path) -> Bundle:
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{file}: larger than {MAX_BUNDLE_BYTES:,} bytes; this is no bundle")
    if not data:
        raise BundleError(f"{file}: the file is empty; build or copy it again")
    if (signatures := data.count(_ENTRY_SIGNATURE)) > _MAX_SIGNATURES:
        raise BundleError(
            f"{file}: {signatures} entries, expected at most {MAX_ENTRIES}; this is no bundle"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = _checked_entries(archive.infolist(), len(data), file)
            files = {name: archive.read(entry) for name, entry in entries.items()}
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        ValueError,
        EOFError,
        OSError,
    ) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(
            f"{file}: not a bundle or a damaged one ({str(error)[:200]}); build or copy it again"
        ) from None
    manifest = parse_manifest(files.pop(MANIFEST), str(file))
    _check_version(manifest, file)
    _check_files(manifest, files, file)
    bundle = Bundle(file, manifest, files)
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
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(MANIFEST, manifest.to_json().encode()), *sorted(files.items())]:
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    _parse(buffer.getvalue(), Path(path))
    with written_beside(path) as part:
        part.write_bytes(buffer.getvalue())
    return read_bundle(path)


def sha256(data: bytes) -> str:
    """sha256 of bytes in hex."""
    return hashlib.sha256(data).hexdigest()


def _read_bounded(file: Path) -> bytes:
    try:
        return read_regular(file, MAX_BUNDLE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(f"{file}: no such bundle; check the path") from None
    except OSError as error:
        raise BundleError(
            f"{file}: cannot be read ({error.strerror}), expected a .edgeemo file; "
            "this is no bundle"
        ) from None
    except ValueError as error:
        raise BundleError(f"{file}: {error}; this is no bundle") from None


def _checked_entries(
    infos: list[zipfile.ZipInfo], total: int, file: Path
) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > MAX_ENTRIES:
        raise BundleError(
            f"{file}: {len(infos)} entries, expected at most {MAX_ENTRIES}; this is no bundle"
        )
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # orig_filename: ZipInfo cuts a name at a NUL byte, which would hide what stands behind it.
        name = info.orig_filename
        if not re.fullmatch(r"[a-z0-9]{1,32}\.[a-z]{1,16}", name):
            raise BundleError(
                f"{file}: entry {name[:80]!r} is no plain file name; do not use this bundle"
            )
        if name in entries:
            raise BundleError(f"{file}: entry {name} appears twice; do not use this bundle")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise BundleError(
                f"{file}: entry {name} is a link or special file; do not use this bundle"
            )
        if (
            info.compress_type != zipfile.ZIP_STORED
            or info.file_size != info.compress_size
            or info.flag_bits & 1
        ):
            raise BundleError(
                f"{file}: entry {name} is compressed or encrypted, expected stored entries; do not"
                " use this bundle"
            )
        entries[name] = info
    if sum(info.file_size for info in infos) > total:
        raise BundleError(
            f"{file}: its entries claim more bytes than the file has (a zip bomb); do not use this"
            " bundle"
        )
    if MANIFEST not in entries:
        raise BundleError(f"{file}: no {MANIFEST} inside; this is no bundle")
    if entries[MANIFEST].file_size > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{file}: {MANIFEST} has more than {MAX_MANIFEST_BYTES:,} bytes; do not use this bundle"
        )
    return entries


def _check_version(manifest: Manifest, file: Path) -> None:
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", version)[:3])

    if numbers(manifest.minimum_edgeemo) > numbers(__version__):
        raise BundleError(
            f"{file}: needs edgeemo {manifest.minimum_edgeemo}, this is {__version__}; run:"
            " pip install --upgrade edgeemo"
        )


def _check_files(manifest: Manifest, files: Mapping[str, bytes], file: Path) -> None:
    promised = {entry.file: entry for entry in manifest.entries}
    missing, unknown = sorted(set(promised) - set(files)), sorted(set(files) - set(promised))
    if missing or unknown:
        raise BundleError(
            f"{file}: missing entries {missing}, unknown entries {unknown}; build or copy it again"
        )
    for name, content in files.items():
        if len(content) != promised[name].bytes or sha256(content) != promised[name].sha256:
            raise BundleError(
                f"{file}: {name} is not the file that its manifest names (size or sha256 differs);"
                " copy it again"
            )
        entry = promised[name]
        if isinstance(entry, Artifact) and entry.format is Format.ONNX:
            check_self_contained(content, f"{file}: {name}")
