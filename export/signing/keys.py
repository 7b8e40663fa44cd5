"""Private keys: files NAME.key that nobody else may read, or texts from the environment."""

import os
from pathlib import Path
from typing import Any

from edgeemo.contract.checked.files import check_parent, sync_folder, translated, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.errors import InvalidInput, MissingFile
from edgeemo.trust import ed25519, p256
from edgeemo.trust.image_keys import ImageKey
from edgeemo.trust.keys import SUFFIX, TrustedKey, pem_of, public_pem
from edgeemo.trust.private_pem import is_encrypted, private_pem

KEY = "EDGEEMO_SIGNING_KEY"
"""The variable that holds a private key's PEM text, for CI."""
PASSWORD = "EDGEEMO_KEY_PASSWORD"
"""The variable that holds its password."""
_MAX_FILE = 16 * 1024


def make_key(name: str, password: bytes | None) -> tuple[Path, Path, TrustedKey]:
    """Write a fresh pair for bundles, NAME.key (0600) and NAME.pub, and never over a file that is
    there.

    Raises:
        StorageError: one of them is there, or cannot be written.
        MissingDependency: cryptography is not installed.
    """
    private = ed25519.new_private()
    key = TrustedKey(_public(name).name.removesuffix(SUFFIX), ed25519.public_of(private))
    return *_write_pair(name, private_pem(private, password), public_pem(key.raw)), key


def make_image_key(name: str, password: bytes | None) -> tuple[Path, Path, ImageKey]:
    """As `make_key`, for images of microcontrollers."""
    private = p256.new_private()
    key = ImageKey(_public(name).name.removesuffix(SUFFIX), p256.public_of(private))
    return *_write_pair(name, private_pem(private, password), pem_of(key.der)), key


def _public(name: str) -> Path:
    if not os.path.basename(name):
        raise InvalidInput(f"expected a name for the key, received {name!r}")
    return Path(f"{name}{SUFFIX}")


def _write_pair(name: str, private: bytes, public: bytes) -> tuple[Path, Path]:
    secret, shown = Path(f"{name}.key"), _public(name)
    for path in (secret, shown):
        with translated(path):
            check_parent(path)
            if os.path.lexists(path):
                raise InvalidInput(
                    f"{path}: is there already; a key is never overwritten, choose another name"
                )
    with translated(secret):
        _write_secret(secret, private)
    with written_beside(shown) as part:
        part.write_bytes(public)
    return secret, shown


def _write_secret(path: Path, pem: bytes) -> None:
    # Not written_beside, whose file others may read until it is final.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def private_text(path: Path | None) -> tuple[bytes, str]:
    """The PEM of a private key, of the file or of $EDGEEMO_SIGNING_KEY, and its name in messages.

    Raises:
        InvalidInput: neither is given, or the file cannot be read.
        MissingFile: there is no such file.
    """
    if path is None:
        text = os.environ.get(KEY, "")
        if not text:
            raise InvalidInput(f"expected --key NAME.key or the key's text in ${KEY}")
        return text.encode(), f"${KEY}"
    try:
        return read_regular(path, _MAX_FILE), str(path)
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such key; make one: python -m export keygen") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{path}: the key cannot be read ({reason})") from None


def needs_password(pem: bytes) -> bool:
    """Whether a password is to be asked for."""
    return is_encrypted(pem) and PASSWORD not in os.environ


def open_private(pem: bytes, password: str | None, where: str) -> Any:
    """The private key that signs bundles; without `password` that of $EDGEEMO_KEY_PASSWORD counts.

    Raises InvalidInput, MissingDependency.
    """
    return ed25519.load_ed25519(pem, _password(pem, password), where)


def open_image_private(pem: bytes, password: str | None, where: str) -> Any:
    """As `open_private`, of a key that signs images."""
    return p256.load_p256(pem, _password(pem, password), where)


def _password(pem: bytes, given: str | None) -> bytes | None:
    word = os.environ.get(PASSWORD) if given is None else given
    return word.encode() if word and is_encrypted(pem) else None
