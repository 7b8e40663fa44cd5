"""Signatures put into bundles."""

from pathlib import Path
from typing import Any

from edgeemo.contract.container import packed, read_whole, unpack, whoever, write_whole
from edgeemo.contract.signatures import MAX_SIGNATURES, MESSAGE, Signature
from edgeemo.errors import BundleError
from edgeemo.trust.ed25519 import public_of
from edgeemo.trust.keys import TrustedKey
from edgeemo.trust.reading import parse_any


def sign_bundle(path: Path, out: Path, private: Any, name: str) -> tuple[TrustedKey, int]:
    """Write the bundle at `path` to `out` with one more signature, or the same key's one anew.

    What is signed is the manifest, which holds the hash of every other entry, and the whole bundle
    is checked first. Nothing but signatures.json changes, and the same key gives the same bytes.

    Returns:
        The key, and how many signatures the bundle has now.

    Raises:
        MissingFile, BundleError: no bundle to be signed, or as many signatures as it may have.
        StorageError: `out` cannot be written.
    """
    data = read_whole(path)
    parse_any(data, path, whoever)
    contents = unpack(data, path)
    key = TrustedKey(name, public_of(private))
    by = {one.key: one for one in contents.signatures}
    by[key.id] = Signature(key.id, private.sign(MESSAGE + contents.manifest).hex())
    if len(by) > MAX_SIGNATURES:
        raise BundleError(f"{path}: has {MAX_SIGNATURES} signatures already, expected fewer")
    signed = packed(contents.manifest, contents.files, tuple(by.values()))
    parse_any(signed, out, whoever)
    write_whole(out, signed)
    return key, len(by)
