"""edgeemo verify"""

import sys
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict


@click.command()
@click.argument("bundle", metavar="X.edgeemo")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="NAME.pub",
    help="A public key, or a folder of them [default: those of the device].",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(bundle: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Say who has signed a bundle, and whether it may run here.

    Every hash is checked, then the signatures against the trusted keys: those of --key, or else of
    /etc/edgeemo/keys and $EDGEEMO_TRUSTED_KEYS. Exit code 1 where too few of them have signed.

    \b
    edgeemo verify mine.edgeemo
    edgeemo verify mine.edgeemo --key fleet-2026.pub
    """
    from edgeemo.contract.container import read_whole, unpack, whoever
    from edgeemo.errors import InvalidInput
    from edgeemo.models import find_model
    from edgeemo.trust.keys import configured_keys, trusted_keys
    from edgeemo.trust.reading import is_shipped, parse_any, signers_of

    path: Path = find_model(bundle)
    data = read_whole(path)
    manifest = parse_any(data, path, whoever).manifest
    trusted = trusted_keys(keys) if keys else configured_keys()
    shipped = is_shipped(data)
    if trusted is None and not shipped:
        raise InvalidInput(
            f"{bundle}: whole, and no key is trusted here that could say whose it is; pass its "
            "maker's with --key NAME.pub"
        )
    contents = unpack(data, path)
    right = {key.id for key in signers_of(contents, trusted)} if trusted else set()
    names = {key.id: key.name for key in trusted.keys} if trusted else {}
    threshold = trusted.threshold if trusted else 0
    accepted = shipped or len(right) >= threshold
    rows = [
        {
            "key": one.key,
            "name": names.get(one.key),
            "state": "right"
            if one.key in right
            else "wrong"
            if one.key in names
            else "not trusted here",
        }
        for one in contents.signatures
    ]
    if as_json:
        told = {"bundle": str(path), "name": manifest.name, "version": manifest.version}
        say(
            strict.dumps_line(
                told | {"shipped": shipped, "signatures": rows, "needed": threshold, "ok": accepted}
            )
        )
    else:
        say(f"{bundle}: {manifest.name} {manifest.version}, every hash right")
        if shipped:
            say("ships with this edgeemo")
        for row in rows:
            say(f"  {str(row['key'])[:16]}  {row['name'] or '':<20}{row['state']}")
        if not shipped:
            say(f"{len(right)} of {threshold} signatures that are needed")
    if not accepted:
        say(f"edgeemo: {bundle}: not to be trusted here; it would be refused", err=True)
        sys.exit(1)
