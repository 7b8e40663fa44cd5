"""Signatures behind a model.bin: blocks of 128 bytes, the first at the next multiple of 16.

A block is the magic `edgesig` and a zero byte, version 1 and the signature's bytes (32 bits each,
little-endian), the id of its key (32 bytes) and the signature in DER, filled with zeros. Signed is
MESSAGE and then the image's header, which holds the SHA-256 of all that follows. Firmware checks
them (`model_signature.c` of the ESP32-S3 example); readers of earlier images pass over them.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edgeemo.errors import BundleError
from edgeemo.firmware.image import ALIGNMENT, read_header
from edgeemo.firmware.image_rules import HEADER_BYTES

MESSAGE = b"edgeemo model image 1\0"
"""Stands before the header, so that what was signed for something else signs no image."""
MAX_SIGNATURES = 4
"""Firmware reads no more: checking one takes it tens of milliseconds."""
_MAGIC = b"edgesig\0"
_VERSION = 1
_BLOCK = struct.Struct("<8s2I32s72s8s")


@dataclass(frozen=True)
class ImageSignature:
    """One signature of an image."""

    key: str
    """sha256 of the public key's SubjectPublicKeyInfo in DER, 64 hex digits."""
    signature: bytes
    """ECDSA on P-256 with SHA-256, in DER: 8 to 72 bytes."""


def signed_part(image: bytes) -> bytes:
    """What a signature of an image is over."""
    return MESSAGE + image[:HEADER_BYTES]


def split_image(data: bytes) -> tuple[bytes, tuple[ImageSignature, ...]]:
    """An image without its signatures, and those. Raises BundleError, also as `read_header`."""
    size = read_header(data).image_bytes
    found: list[ImageSignature] = []
    at = _aligned(size)
    while data[at : at + len(_MAGIC)] == _MAGIC:
        if len(data) - at < _BLOCK.size:
            raise BundleError("model.bin: a signature behind it is cut off; sign it again")
        _, version, length, key, signature, rest = _BLOCK.unpack_from(data, at)
        if version != _VERSION or not 8 <= length <= 72 or any(signature[length:] + rest):
            raise BundleError("model.bin: a signature behind it is damaged; sign it again")
        found.append(ImageSignature(key.hex(), signature[:length]))
        at += _BLOCK.size
    if len(found) > MAX_SIGNATURES or len({one.key for one in found}) != len(found):
        raise BundleError(
            f"model.bin: expected at most {MAX_SIGNATURES} signatures of different keys, received "
            f"{len(found)}"
        )
    return data[:size], tuple(found)


def joined_image(image: bytes, signatures: Sequence[ImageSignature]) -> bytes:
    """An image with its signatures, in the order of the keys. Raises BundleError."""
    blocks = (
        _BLOCK.pack(_MAGIC, _VERSION, len(s.signature), bytes.fromhex(s.key), s.signature, b"")
        for s in sorted(signatures, key=lambda one: one.key)
    )
    data = image.ljust(_aligned(len(image)), b"\0") + b"".join(blocks)
    split_image(data)
    return data


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
