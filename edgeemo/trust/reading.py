"""Bundles read under the keys that are trusted, before anything in them is parsed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeemo.contract import bundle as bundles
from edgeemo.contract import detector_bundle as detectors
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.container import Accept, Contents, read_whole, sha256, unpack
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.manifest import FACE_DETECTOR
from edgeemo.contract.signatures import MESSAGE, UNASKED, Vouched
from edgeemo.errors import UntrustedModel
from edgeemo.models.known import SHA256
from edgeemo.trust.ed25519 import is_signed
from edgeemo.trust.keys import TrustedKey, TrustedKeys, configured_keys, trusted_keys

Places = Sequence[str | os.PathLike[str]] | None


def read_bundle(path: str | os.PathLike[str], keys: Places = None) -> Bundle:
    """Read and check a bundle that may run here.

    Args:
        path: the file.
        keys: public keys' files, or folders of them, in place of those that are configured
            (/etc/edgeemo/keys and $EDGEEMO_TRUSTED_KEYS). Where neither are there, any whole bundle
            is read.

    Raises:
        MissingFile: nothing at `path`.
        UntrustedModel: too few of the trusted keys have signed it.
        BundleError: no bundle, damaged, out of bounds, or from a newer edgeemo.
        InvalidInput: the trusted keys cannot be read.
        MissingDependency: signatures are to be checked and cryptography is not installed.
    """
    return bundles.read_bundle(path, accepting(keys))


def read_detector(path: str | os.PathLike[str], keys: Places = None) -> DetectorBundle:
    """As `read_bundle`, of a face detector's bundle."""
    return detectors.read_detector(path, accepting(keys))


def read_any(path: str | os.PathLike[str], keys: Places = None) -> Bundle | DetectorBundle:
    """As `read_bundle`, of either kind."""
    return parse_any(read_whole(path), Path(path), accepting(keys))


def parse_emotions(data: bytes, file: Path, keys: Places = None) -> Bundle:
    """As `read_bundle`, of bytes that are in memory already; `file` names them."""
    return bundles.parse_bundle(data, file, accepting(keys))


def parse_checked_before(data: bytes, file: Path) -> Bundle:
    """A bundle from bytes that its parent process has read under the trusted keys."""
    return bundles.parse_bundle(data, file)


def parse_any(data: bytes, file: Path, accept: Accept) -> Bundle | DetectorBundle:
    """A bundle of either kind from its bytes; `file` names it. Raises BundleError."""
    contents = unpack(data, file)
    accept(contents, file)
    try:
        raw = strict.loads(contents.manifest)
    except (ValueError, UnicodeDecodeError):
        raw = None  # whichever reader says what is wrong with it
    if isinstance(raw, dict) and raw.get("kind") == FACE_DETECTOR:
        return detectors.parse_detector(data, file, accept)
    return bundles.parse_bundle(data, file, accept)


def accepting(keys: Places = None) -> Accept:
    """What asks the trusted keys. Raises InvalidInput, MissingFile."""
    trusted = configured_keys() if keys is None else trusted_keys(keys)

    def accept(contents: Contents, file: Path) -> Vouched:
        if trusted is None:
            return UNASKED
        if is_shipped(contents.data):
            return Vouched(shipped=True)
        signers = signers_of(contents, trusted)
        if len(signers) < trusted.threshold:
            raise UntrustedModel(f"{file}: {_why(contents, trusted, signers)}")
        return Vouched(tuple(key.name for key in signers))

    return accept


def is_shipped(data: bytes) -> bool:
    """Whether a file's bytes are those of a bundle of this edgeemo."""
    return sha256(data) in SHA256.values()


def signers_of(contents: Contents, trusted: TrustedKeys) -> list[TrustedKey]:
    """The trusted keys whose signatures of the manifest are right. Raises MissingDependency."""
    by_key = {one.key: bytes.fromhex(one.signature) for one in contents.signatures}
    message = MESSAGE + contents.manifest
    return [
        key
        for key in trusted.keys
        if key.id in by_key and is_signed(key.raw, by_key[key.id], message)
    ]


def check_known(path: Path, sha256_hex: str, what: str, way_out: str) -> None:
    """For models that are no bundles: where keys are trusted, raise UntrustedModel unless the file
    at `path` is the known one. `what` names it, `way_out` says what to do.
    """
    if configured_keys() is None:
        return
    data: Any = read_whole(path)
    if sha256(data) != sha256_hex:
        raise UntrustedModel(
            f"{path}: expected {what}, received another file, which no trusted key can sign; "
            f"{way_out}"
        )


def _why(contents: Contents, trusted: TrustedKeys, signers: Sequence[TrustedKey]) -> str:
    expected = f"expected signatures of {trusted}"
    if not contents.signatures:
        return f"{expected}, received an unsigned bundle; run: python -m export sign"
    known = {key.id: key.name for key in trusted.keys}
    right = {key.id for key in signers}
    told = [
        f"{known[one.key]}: right"
        if one.key in right
        else f"{known[one.key]}: wrong"
        if one.key in known
        else f"{one.key[:16]}: not trusted here"
        for one in contents.signatures
    ]
    return f"{expected}, received {', '.join(told)}; do not use it, or trust its key"
