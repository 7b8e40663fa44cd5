"""python -m export sign."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.counts import count_of


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="NAME.key",
    help="The private key [default: its text in $EDGEEMO_SIGNING_KEY].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="OUT.edgeemo",
    help="Write here [default: over BUNDLE, in one step].",
)
def sign(bundle: Path, key: Path | None, out: Path | None) -> None:
    """Put a signature into BUNDLE, of emotions or of a face detector.

    Run it again with another key for a second signature; the same key replaces its own. The
    password is asked for, or taken from $EDGEEMO_KEY_PASSWORD.

    \b
    python -m export sign mine.edgeemo --key fleet-2026.key
    python -m export sign mine.edgeemo --out signed.edgeemo
    """
    from export.signing.keys import needs_password, open_private, private_text
    from export.signing.sign import sign_bundle

    pem, where = private_text(key)
    password = None
    if needs_password(pem):
        password = click.prompt(f"password for {where}", hide_input=True, err=True)
    private = open_private(pem, password, where)
    used, count = sign_bundle(bundle, out or bundle, private, key.stem if key else where)
    say(f"wrote {out or bundle}: signed by {used}, {count_of(count, 'signature')}")
