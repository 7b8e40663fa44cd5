"""Ed25519 by the package cryptography, which only a device with trusted keys needs."""

from typing import Any

from edgeemo.errors import InvalidInput
from edgeemo.optional import need
from edgeemo.trust.private_pem import PURPOSE, load_private, serialization


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that of the key's 32 bytes over `message`.

    Raises:
        MissingDependency: cryptography is not installed; nothing may be trusted then.
    """
    primitives = _primitives()
    invalid = need("cryptography.exceptions", "trust", PURPOSE).InvalidSignature
    try:
        primitives.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (invalid, ValueError):
        return False
    return True


def new_private() -> Any:
    """A fresh private key. Raises MissingDependency."""
    return _primitives().Ed25519PrivateKey.generate()


def load_ed25519(pem: bytes, password: bytes | None, where: str) -> Any:
    """The private key of a PEM file.

    Raises:
        InvalidInput: no Ed25519 key, or another password.
        MissingDependency: cryptography is not installed.
    """
    private = load_private(pem, password, where)
    if not isinstance(private, _primitives().Ed25519PrivateKey):
        raise InvalidInput(f"{where}: expected an Ed25519 key; make one: python -m export keygen")
    return private


def public_of(private: Any) -> bytes:
    """The 32 bytes of a private key's public one."""
    words = serialization()
    raw: bytes = private.public_key().public_bytes(words.Encoding.Raw, words.PublicFormat.Raw)
    return raw


def load_public(raw: bytes) -> Any:
    """The public key of 32 bytes. Raises MissingDependency."""
    return _primitives().Ed25519PublicKey.from_public_bytes(raw)


def _primitives() -> Any:
    return need("cryptography.hazmat.primitives.asymmetric.ed25519", "trust", PURPOSE)
