"""Private keys as PKCS#8 in PEM, of whichever kind."""

from typing import Any

from edgeemo.errors import InvalidInput
from edgeemo.optional import need

PURPOSE = "to check and to make signatures"


def private_pem(private: Any, password: bytes | None) -> bytes:
    """A private key as PKCS#8 in PEM, encrypted where there is a password."""
    words = serialization()
    protection = words.BestAvailableEncryption(password) if password else words.NoEncryption()
    pem: bytes = private.private_bytes(words.Encoding.PEM, words.PrivateFormat.PKCS8, protection)
    return pem


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key's PEM asks for a password."""
    return b"ENCRYPTED" in pem


def load_private(pem: bytes, password: bytes | None, where: str) -> Any:
    """The private key of a PEM file, of any kind.

    Raises:
        InvalidInput: none, or another password.
        MissingDependency: cryptography is not installed.
    """
    unknown = need("cryptography.exceptions", "trust", PURPOSE).UnsupportedAlgorithm
    try:
        return serialization().load_pem_private_key(pem, password)
    except (ValueError, TypeError, unknown):
        why = "another password" if is_encrypted(pem) and password else "no private key in PEM"
        raise InvalidInput(f"{where}: {why}") from None


def serialization() -> Any:
    """cryptography's module of file formats. Raises MissingDependency."""
    return need("cryptography.hazmat.primitives.serialization", "trust", PURPOSE)
