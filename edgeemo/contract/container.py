"""The file that bundles are: a zip of stored entries with a manifest, read as if it were hostile,
written beside and renamed.
"""

import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.signatures import FILE as SIGNATURES
from edgeemo.contract.signatures import MAX_BYTES as MAX_SIGNATURES_BYTES
from edgeemo.contract.signatures import (
    UNASKED,
    Signature,
    Vouched,
    parse_signatures,
    signatures_bytes,
)
from edgeemo.errors import BundleError, MissingFile
from edgeemo.version import __version__

MANIFEST = "manifest.json"
MAX_BUNDLE_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 16
MAX_MANIFEST_BYTES = 1024 * 1024
# Opening a zip builds an object for each entry, of which a hostile file may list a million: its
# signatures are counted first. They stand before the entries of the bundle and of its selftest.npz,
# and by chance inside a model.
ZIP = b"PK\x03\x04"
"""What a bundle begins with, as any archive that holds something."""
_ENTRY_SIGNATURE, _MAX_SIGNATURES = b"PK\x01\x02", 4 * MAX_ENTRIES


class Entry(Protocol):
    """A file as a manifest promises it."""

    @property
    def file(self) -> str:
        """Its name in the bundle."""

    @property
    def bytes(self) -> int:
        """Its size."""

    @property
    def sha256(self) -> str:
        """Its hash, 64 hex digits."""


@dataclass(frozen=True, repr=False)
class Contents:
    """What a bundle's file holds, before anything of it but signatures has been parsed."""

    data: bytes
    """The whole file."""
    manifest: bytes
    """manifest.json."""
    files: dict[str, bytes]
    """The entries that the manifest is to promise, by name."""
    signatures: tuple[Signature, ...]
    """Who says to have signed the manifest; nobody has checked it."""


Accept = Callable[[Contents, Path], Vouched]
"""Says who answers for a bundle, or raises BundleError where nobody who should does. It is asked
before the manifest or a model is parsed; `edgeemo.trust` has the one that asks trusted keys."""


def whoever(contents: Contents, file: Path) -> Vouched:
    """The `Accept` that asks nobody: for what this process has written itself."""
    return UNASKED


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a bundle's file, not larger than a bundle may be.

    Raises:
        MissingFile: nothing at `path`.
        BundleError: it cannot be read, or is larger.
    """
    return _read_bounded(Path(path))


def unpack(data: bytes, file: Path) -> Contents:
    """The entries of a bundle's bytes; `file` names the bundle in messages.

    Raises:
        BundleError: no zip of plain stored entries within bounds, with a manifest.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{file}: larger than {MAX_BUNDLE_BYTES:,} bytes; this is no bundle")
    if not data:
        raise BundleError(f"{file}: the file is empty; build or copy it again")
    if (count := data.count(_ENTRY_SIGNATURE)) > _MAX_SIGNATURES:
        raise BundleError(
            f"{file}: {count} entries, expected at most {MAX_ENTRIES}; this is no bundle"
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
    manifest, signed = files.pop(MANIFEST), files.pop(SIGNATURES, None)
    try:
        by = parse_signatures(signed) if signed is not None else ()
    except (ValueError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{file}: its {SIGNATURES} is not valid ({error}); sign the bundle again"
        ) from None
    return Contents(data, manifest, files, by)


def packed(manifest: bytes, files: Mapping[str, bytes], by: Sequence[Signature] = ()) -> bytes:
    """A bundle's bytes; entries are in a fixed order with a fixed date, so the same content gives
    the same bytes.
    """
    entries = [(MANIFEST, manifest), *sorted(files.items())]
    if by:
        entries.append((SIGNATURES, signatures_bytes(by)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a bundle's bytes in one step. Raises StorageError."""
    with written_beside(path) as part:
        part.write_bytes(data)


def parsed_report(data: bytes, path: Path) -> dict[str, Any]:
    """report.json of the bundle at `path`. Raises BundleError."""
    try:
        report = strict.loads(data)
    except ValueError as error:
        raise BundleError(
            f"{path}: its report.json is not valid ({error}); build or copy it again"
        ) from None
    if not isinstance(report, dict):
        raise BundleError(f"{path}: its report.json is not an object; build or copy it again")
    return report


def sha256(data: bytes) -> str:
    """sha256 of bytes in hex."""
    return hashlib.sha256(data).hexdigest()


def check_version(minimum: str, file: Path) -> None:
    """Raise BundleError where the bundle needs a newer edgeemo than this."""

    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", version)[:3])

    if numbers(minimum) > numbers(__version__):
        raise BundleError(
            f"{file}: needs edgeemo {minimum}, this is {__version__}; run:"
            " pip install --upgrade edgeemo"
        )


def check_files(entries: Sequence[Entry], files: Mapping[str, bytes], file: Path) -> None:
    """Raise BundleError unless `files` are those that the manifest promises, byte for byte."""
    promised = {entry.file: entry for entry in entries}
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
    for name, most in ((MANIFEST, MAX_MANIFEST_BYTES), (SIGNATURES, MAX_SIGNATURES_BYTES)):
        if name in entries and entries[name].file_size > most:
            raise BundleError(
                f"{file}: {name} has more than {most:,} bytes; do not use this bundle"
            )
    return entries
