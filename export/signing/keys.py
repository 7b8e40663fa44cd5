"""Private keys: files NAME.key that nobody else may read, or texts from the environment."""

import os
from pathlib import Path
from typing import Any

from edgeemo.contract.checked.files import check_parent, sync_folder, translated, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.errors import InvalidInput, MissingFile
from edgeemo.trust.ed25519 import (
    is_encrypted,
    load_private,
    new_private,
    private_pem,
    public_of,
)
from edgeemo.trust.keys import SUFFIX, TrustedKey, public_pem

KEY = "EDGEEMO_SIGNING_KEY"
"""The variable that holds a private key's PEM text, for CI."""
PASSWORD = "EDGEEMO_KEY_PASSWORD"
"""The variable that holds its password."""
_MAX_FILE = 16 * 1024


def make_key(name: str, password: bytes | None) -> tuple[Path, Path, TrustedKey]:
    """Write a fresh pair, NAME.key (0600) and NAME.pub, and never over a file that is there.

    Raises:
        StorageError: one of them is there, or cannot be written.
        MissingDependency: cryptography is not installed.
    """
    private = new_private()
    secret, public = Path(f"{name}.key"), Path(f"{name}{SUFFIX}")
    key = TrustedKey(public.name.removesuffix(SUFFIX), public_of(private))
    for path in (secret, public):
        with translated(path):
            check_parent(path)
            if os.path.lexists(path):
                raise InvalidInput(
                    f"{path}: is there already; a key is never overwritten, choose another name"
                )
    with translated(secret):
        _write_secret(secret, private_pem(private, password))
    with written_beside(public) as part:
        part.write_bytes(public_pem(key.raw))
    return secret, public, key


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
    """The private key; without `password` that of $EDGEEMO_KEY_PASSWORD counts.

    Raises InvalidInput, MissingDependency.
    """
    word = os.environ.get(PASSWORD) if password is None else password
    return load_private(pem, word.encode() if word and is_encrypted(pem) else None, where)
