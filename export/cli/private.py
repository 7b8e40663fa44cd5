"""Private keys of command lines: a file, or the environment's text; the password is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="NAME.key",
    help="The private key [default: its text in $EDGEEMO_SIGNING_KEY].",
)

Opener = Callable[[bytes, str | None, str], Any]
"""`export.signing.keys.open_private` or `open_image_private`."""


def asked_private(key: Path | None, opened: Opener) -> tuple[Any, str]:
    """The private key and its name. Raises InvalidInput, MissingFile, MissingDependency."""
    from export.signing.keys import needs_password, private_text

    pem, where = private_text(key)
    password = None
    if needs_password(pem):
        password = click.prompt(f"password for {where}", hide_input=True, err=True)
    return opened(pem, password, where), key.stem if key else where
