"""Who has signed a bundle: the one entry that its manifest does not name.

A signature is Ed25519 (RFC 8032) over MESSAGE and the bytes of manifest.json, which hold the sha256
of every other entry. Keys and checking lie in `edgeemo.trust`; this is the file alone.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edgeemo.contract.checked import strict

FILE = "signatures.json"
MAX_BYTES = 16 * 1024
MAX_SIGNATURES = 16
MESSAGE = b"edgeemo bundle manifest 1\0"
"""Stands before the manifest's bytes, so that what was signed for something else is no signature
of a bundle."""
_VERSION = 1
_KEY, _SIGNATURE = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Signature:
    """One signature of a manifest."""

    key: str
    """sha256 of the public key's 32 bytes, 64 hex digits."""
    signature: str
    """Its 64 bytes, 128 hex digits."""


@dataclass(frozen=True)
class Vouched:
    """Who answers for a bundle, as far as was asked."""

    by: tuple[str, ...] = ()
    """Names of the trusted keys that have signed it."""
    shipped: bool = False
    """Whether it is a file of this edgeemo, known by its hash."""


UNASKED = Vouched()
"""Nobody was asked: no trusted key is configured, or the reader looks at wholeness alone."""


@dataclass(frozen=True)
class _File:
    version: int
    """_VERSION."""
    signatures: tuple[Signature, ...]
    """One a key."""


def parse_signatures(text: bytes) -> tuple[Signature, ...]:
    """The signatures of signatures.json's bytes.

    Raises:
        ValueError: too large, no such file, or two signatures of one key.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} bytes, expected at most {MAX_BYTES:,}")
    file = strict.from_dict(_File, strict.loads(text), FILE)
    if file.version != _VERSION:
        raise ValueError(f"expected version {_VERSION}, received {file.version}")
    if not 1 <= len(file.signatures) <= MAX_SIGNATURES:
        raise ValueError(f"{len(file.signatures)} signatures, expected 1 to {MAX_SIGNATURES}")
    for one in file.signatures:
        if not _KEY.fullmatch(one.key) or not _SIGNATURE.fullmatch(one.signature):
            raise ValueError("expected a key of 64 and a signature of 128 hex digits")
    if len({one.key for one in file.signatures}) != len(file.signatures):
        raise ValueError("two signatures of one key")
    return file.signatures


def signatures_bytes(signatures: Sequence[Signature]) -> bytes:
    """signatures.json, which `parse_signatures` reads, in the order of the keys."""
    in_order = tuple(sorted(signatures, key=lambda one: one.key))
    return strict.dumps(asdict(_File(_VERSION, in_order))).encode()
