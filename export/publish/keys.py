"""Keys of `export keygen` as those of a repository."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgeemo.trust.keys import trusted_keys
from export.publish.repository import public_key_of, signer_of
from export.signing.keys import needs_password, open_private, private_text


def signers(paths: Sequence[Path]) -> list[Any]:
    """The private keys' signers; passwords are asked for."""
    found = []
    for path in paths or [None]:  # type: ignore[list-item]
        pem, where = private_text(path)
        password = None
        if needs_password(pem):
            password = click.prompt(f"password for {where}", hide_input=True, err=True)
        found.append(signer_of(open_private(pem, password, where)))
    return found


def public_keys(paths: Sequence[Path]) -> list[Any]:
    """The public keys of NAME.pub files."""
    return [public_key_of(key.raw) for key in trusted_keys(paths).keys] if paths else []
