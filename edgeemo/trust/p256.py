"""ECDSA on P-256 with SHA-256 by the package cryptography: for images of microcontrollers, whose
mbedtls has no Ed25519."""

from typing import Any

from edgeemo.errors import InvalidInput
from edgeemo.optional import need
from edgeemo.trust.private_pem import PURPOSE, load_private, serialization


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature`, in DER, is that of the key, a SubjectPublicKeyInfo in DER, over
    `message`. Raises MissingDependency.
    """
    invalid = need("cryptography.exceptions", "trust", PURPOSE).InvalidSignature
    try:
        key = serialization().load_der_public_key(public)
        key.verify(signature, message, _ecdsa())
    except (invalid, ValueError):
        return False
    return True


def sign(private: Any, message: bytes) -> bytes:
    """A signature in DER, 8 to 72 bytes; another one each time."""
    signature: bytes = private.sign(message, _ecdsa())
    return signature


def new_private() -> Any:
    """A fresh private key. Raises MissingDependency."""
    ec = _ec()
    return ec.generate_private_key(ec.SECP256R1())


def load_p256(pem: bytes, password: bytes | None, where: str) -> Any:
    """The private key of a PEM file. Raises InvalidInput, MissingDependency."""
    private = load_private(pem, password, where)
    ec = _ec()
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise InvalidInput(
            f"{where}: expected a P-256 key, which microcontrollers can check; make one: "
            "python -m export keygen NAME --for-images"
        )
    return private


def public_of(private: Any) -> bytes:
    """A private key's public one, a SubjectPublicKeyInfo of 91 bytes in DER."""
    words = serialization()
    der: bytes = private.public_key().public_bytes(
        words.Encoding.DER, words.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def _ec() -> Any:
    return need("cryptography.hazmat.primitives.asymmetric.ec", "trust", PURPOSE)


def _ecdsa() -> Any:
    hashes = need("cryptography.hazmat.primitives.hashes", "trust", PURPOSE)
    return _ec().ECDSA(hashes.SHA256())
