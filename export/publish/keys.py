"""Keys of `export keygen` as those of a repository."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeemo.trust.keys import trusted_keys
from export.cli.private import asked_private
from export.publish.repository import public_key_of, signer_of
from export.signing.keys import open_private


def signers(paths: Sequence[Path]) -> list[Any]:
    """The private keys' signers; passwords are asked for."""
    given: Sequence[Path | None] = paths or [None]
    return [signer_of(asked_private(path, open_private)[0]) for path in given]


def public_keys(paths: Sequence[Path]) -> list[Any]:
    """The public keys of NAME.pub files."""
    return [public_key_of(key.raw) for key in trusted_keys(paths).keys] if paths else []
