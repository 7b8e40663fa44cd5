"""Ed25519 by the package cryptography, which only a device with trusted keys needs."""

from typing import Any

from edgeemo.errors import InvalidInput
from edgeemo.optional import need

_PURPOSE = "to check and to make signatures"


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that of the key's 32 bytes over `message`.

    Raises:
        MissingDependency: cryptography is not installed; nothing may be trusted then.
    """
    primitives = _primitives()
    invalid = need("cryptography.exceptions", "trust", _PURPOSE).InvalidSignature
    try:
        primitives.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (invalid, ValueError):
        return False
    return True


def new_private() -> Any:
    """A fresh private key. Raises MissingDependency."""
    return _primitives().Ed25519PrivateKey.generate()


def private_pem(private: Any, password: bytes | None) -> bytes:
    """A private key as PKCS#8 in PEM, encrypted where there is a password."""
    words = _serialization()
    protection = words.BestAvailableEncryption(password) if password else words.NoEncryption()
    pem: bytes = private.private_bytes(words.Encoding.PEM, words.PrivateFormat.PKCS8, protection)
    return pem


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key's PEM asks for a password."""
    return b"ENCRYPTED" in pem


def load_private(pem: bytes, password: bytes | None, where: str) -> Any:
    """The private key of a PEM file.

    Raises:
        InvalidInput: no Ed25519 key, or another password.
        MissingDependency: cryptography is not installed.
    """
    kind = _primitives().Ed25519PrivateKey
    try:
        private = _serialization().load_pem_private_key(pem, password)
    except (ValueError, TypeError):
        why = "another password" if is_encrypted(pem) and password else "no private key in PEM"
        raise InvalidInput(f"{where}: {why}") from None
    if not isinstance(private, kind):
        raise InvalidInput(f"{where}: expected an Ed25519 key; make one: python -m export keygen")
    return private


def public_of(private: Any) -> bytes:
    """The 32 bytes of a private key's public one."""
    words = _serialization()
    raw: bytes = private.public_key().public_bytes(words.Encoding.Raw, words.PublicFormat.Raw)
    return raw


def load_public(raw: bytes) -> Any:
    """The public key of 32 bytes. Raises MissingDependency."""
    return _primitives().Ed25519PublicKey.from_public_bytes(raw)


def _primitives() -> Any:
    return need("cryptography.hazmat.primitives.asymmetric.ed25519", "trust", _PURPOSE)


def _serialization() -> Any:
    return need("cryptography.hazmat.primitives.serialization", "trust", _PURPOSE)
