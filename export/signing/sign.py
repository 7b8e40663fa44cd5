"""Signatures put into bundles, and behind images of microcontrollers."""

from pathlib import Path
from typing import Any

from edgeemo.contract.container import packed, read_whole, unpack, whoever, write_whole
from edgeemo.contract.signatures import MAX_SIGNATURES, MESSAGE, Signature
from edgeemo.errors import BundleError
from edgeemo.firmware.image_signature import (
    ImageSignature,
    joined_image,
    signed_part,
    split_image,
)
from edgeemo.trust import p256
from edgeemo.trust.ed25519 import public_of
from edgeemo.trust.image_keys import ImageKey
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


def sign_image(data: bytes, private: Any, name: str) -> tuple[bytes, ImageKey, int]:
    """A model.bin with one more signature, or the same key's one anew.

    Args:
        data: the image, with or without signatures.
        private: a P-256 key.
        name: its name.

    Returns:
        The signed image, the key, and how many signatures there are now.

    Raises:
        BundleError: no model.bin, or as many signatures as firmware reads.
    """
    image, signatures = split_image(data)
    key = ImageKey(name, p256.public_of(private))
    by = {one.key: one for one in signatures}
    by[key.id] = ImageSignature(key.id, p256.sign(private, signed_part(image)))
    return joined_image(image, tuple(by.values())), key, len(by)
