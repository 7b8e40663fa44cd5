"""Keys that sign images of microcontrollers, and which of them have signed one."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeemo.errors import InvalidInput
from edgeemo.trust.keys import P256, SUFFIX, key_files, read_der
from edgeemo.trust.p256 import is_signed


@dataclass(frozen=True)
class ImageKey:
    """A public key that firmware holds."""

    name: str
    """Its file's name without .pub."""
    der: bytes
    """Its SubjectPublicKeyInfo, 91 bytes."""

    @property
    def id(self) -> str:
        """sha256 of `der`, 64 hex digits: what a signature names."""
        return hashlib.sha256(self.der).hexdigest()

    def __str__(self) -> str:
        return f"{self.name} ({self.id[:16]})"


def image_keys(paths: Sequence[str | os.PathLike[str]]) -> tuple[ImageKey, ...]:
    """The P-256 keys of these files and folders. Raises InvalidInput, MissingFile."""
    return tuple(_image_key(file) for path in paths for file in key_files(Path(path))[0])


def signers_of_image(
    signatures: Mapping[str, bytes], message: bytes, keys: Sequence[ImageKey]
) -> list[ImageKey]:
    """The keys whose signatures are right.

    Args:
        signatures: in DER, by the ids of their keys.
        message: what is signed.
        keys: those that are asked for.

    Raises MissingDependency.
    """
    return [
        key
        for key in keys
        if key.id in signatures and is_signed(key.der, signatures[key.id], message)
    ]


def _image_key(path: Path) -> ImageKey:
    der = read_der(path)
    if len(der) != len(P256) + 65 or not der.startswith(P256):
        raise InvalidInput(
            f"{path}: expected a P-256 public key in PEM, as `python -m export keygen NAME "
            "--for-images` writes it"
        )
    return ImageKey(path.name.removesuffix(SUFFIX), der)
