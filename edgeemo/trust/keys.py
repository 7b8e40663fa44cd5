"""The public keys that a device trusts: files NAME.pub, and how many of them must have signed."""

import base64
import binascii
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.signatures import MAX_SIGNATURES
from edgeemo.errors import InvalidInput, MissingFile

FOLDER = Path("/etc/edgeemo/keys")
ENVIRONMENT = "EDGEEMO_TRUSTED_KEYS"
"""Files and folders more, between colons as in $PATH; /etc/edgeemo/keys counts all the same."""
SUFFIX = ".pub"
THRESHOLD = "threshold"
"""The file in a folder of keys that says how many of them must have signed; without it one."""

_MAX_FILE = 4096
_MAX_KEYS = 64
# What stands before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
_PREFIX = bytes.fromhex("302a300506032b6570032100")
P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""What stands before the 65 bytes of a P-256 key in its own (RFC 5480)."""
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")


@dataclass(frozen=True)
class TrustedKey:
    """A public key that may sign for this device."""

    name: str
    """Its file's name without .pub."""
    raw: bytes
    """Its 32 bytes."""

    @property
    def id(self) -> str:
        """sha256 of the key, 64 hex digits: what signatures.json names."""
        return hashlib.sha256(self.raw).hexdigest()

    def __str__(self) -> str:
        return f"{self.name} ({self.id[:16]})"


@dataclass(frozen=True)
class TrustedKeys:
    """The keys that rule, and how many must have signed."""

    keys: tuple[TrustedKey, ...]
    """Each once; at least one."""
    threshold: int = 1
    """How many of them must have signed, 1 to their number."""

    def __str__(self) -> str:
        names = ", ".join(map(str, self.keys))
        if len(self.keys) == self.threshold == 1:
            return names
        return f"{self.threshold} of {names}"


def configured_keys() -> TrustedKeys | None:
    """The keys of FOLDER and of $EDGEEMO_TRUSTED_KEYS; None where there are none.

    Raises:
        InvalidInput: something there is no key, may be written by everybody, or is asked for more
            signatures than there are keys. What is configured and cannot be read never counts as
            not configured.
        MissingFile: the variable names what is not there, or a folder without keys.
    """
    asked = [Path(word) for word in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if word]
    # os.stat and not exists(), which takes a folder that may not be looked into for one that is
    # not there.
    try:
        FOLDER.stat()
        there = any(name.endswith(SUFFIX) for name in os.listdir(FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except OSError as error:
        raise InvalidInput(
            f"{FOLDER}: the trusted keys cannot be read ({error.strerror}); let everybody read them"
        ) from None
    if not asked and not there:
        return None
    return trusted_keys([*([FOLDER] if there else []), *asked])


def trusted_keys(places: Sequence[str | os.PathLike[str]]) -> TrustedKeys:
    """The keys of files and folders. Of several thresholds the highest counts.

    Raises:
        InvalidInput, MissingFile: as `configured_keys`; also for no place at all, because an empty
            list must not mean that anything is trusted.
    """
    if isinstance(places, (str, os.PathLike)) or not places:
        raise InvalidInput(
            f"expected a list of public keys' files or folders of them, received {places!r}; leave "
            "it out for the keys that are configured"
        )
    keys: dict[str, TrustedKey] = {}
    threshold = 1
    for place in map(Path, places):
        files, least = key_files(place)
        threshold = max(threshold, least)
        for file in files:
            key = _read_key(file)
            keys.setdefault(key.id, key)
    if len(keys) > _MAX_KEYS:
        raise InvalidInput(f"{len(keys)} trusted keys, expected at most {_MAX_KEYS}")
    if threshold > min(len(keys), MAX_SIGNATURES):
        raise InvalidInput(
            f"{threshold} signatures are asked for and {len(keys)} keys are trusted; add the "
            f"missing keys or lower the file {THRESHOLD!r}"
        )
    return TrustedKeys(tuple(keys.values()), threshold)


def public_pem(raw: bytes) -> bytes:
    """A public key's 32 bytes as the PEM file that `trusted_keys` and openssl read."""
    return pem_of(_PREFIX + raw)


def pem_of(der: bytes) -> bytes:
    """A public key's DER as a PEM file, in lines of 64 letters."""
    text = base64.b64encode(der)
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""])


def key_files(place: Path) -> tuple[Iterable[Path], int]:
    """The keys' files that `place`, a file or a folder of them, means, and how many signatures it
    asks for. Raises MissingFile, InvalidInput.
    """
    try:
        names = sorted(os.listdir(place))
    except NotADirectoryError:
        return [place], 1
    except FileNotFoundError:
        raise MissingFile(f"{place}: no such trusted key or folder of keys") from None
    except OSError as error:
        raise InvalidInput(f"{place}: cannot be read ({error.strerror})") from None
    _check_rights(place, os.stat(place).st_mode)
    files = [place / name for name in names if name.endswith(SUFFIX)]
    if not files:
        raise MissingFile(f"{place}: expected trusted keys *{SUFFIX}, found none")
    return files, _threshold(place / THRESHOLD) if THRESHOLD in names else 1


def _threshold(path: Path) -> int:
    text = _bytes_of(path).strip()
    if not re.fullmatch(rb"[1-9][0-9]?", text):
        raise InvalidInput(f"{path}: expected a number of signatures, received {text[:40]!r}")
    return int(text)


def _read_key(path: Path) -> TrustedKey:
    der = read_der(path)
    if der.startswith(P256):
        raise InvalidInput(
            f"{path}: a P-256 key, which signs images of microcontrollers and no bundles; pass it to "
            "edgeemo flash or verify, and put it into the firmware"
        )
    if len(der) != len(_PREFIX) + 32 or not der.startswith(_PREFIX):
        raise InvalidInput(
            f"{path}: expected an Ed25519 public key in PEM, as `python -m export keygen` writes it"
        )
    return TrustedKey(path.name.removesuffix(SUFFIX), der[len(_PREFIX) :])


def read_der(path: Path) -> bytes:
    """The public key of a PEM file, as DER; b"" where it holds none.

    Raises MissingFile, InvalidInput.
    """
    match = _PEM.fullmatch(_bytes_of(path))
    try:
        return base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        return b""


def _bytes_of(path: Path) -> bytes:
    try:
        data = read_regular(path, _MAX_FILE)
        _check_rights(path, os.stat(path).st_mode)
    except FileNotFoundError:
        raise MissingFile(f"{path}: no such trusted key") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        reason = os.strerror(error.errno or errno.EIO) if isinstance(error, OSError) else error
        raise InvalidInput(f"{path}: the trusted key cannot be read ({reason})") from None
    return data


def _check_rights(path: Path, mode: int) -> None:
    if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise InvalidInput(
            f"{path}: everybody may write it, so it says nothing of whom you trust; run: "
            f"chmod o-w {path}"
        )
