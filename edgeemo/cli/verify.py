"""edgeemo verify"""

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from edgeemo.cli.images import Rows, signature_rows, state_of
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
    """Say who has signed a bundle or a model.bin, and whether it may run here.

    Every hash is checked, then the signatures against the trusted keys: those of --key, or else of
    /etc/edgeemo/keys and $EDGEEMO_TRUSTED_KEYS. Exit code 1 where too few of them have signed. For
    a model.bin, --key names the keys of its firmware, of which one suffices.

    \b
    edgeemo verify mine.edgeemo
    edgeemo verify mine.edgeemo --key fleet-2026.pub
    edgeemo verify model.bin --key boards.pub
    """
    from edgeemo.firmware.image import image_at
    from edgeemo.models import find_model

    path: Path = find_model(bundle)
    image = image_at(path)
    found = _of_bundle(bundle, path, keys) if image is None else _of_image(bundle, image, keys)
    if as_json:
        told = {"bundle": str(path), "name": found.name, "version": found.version}
        seen = {"shipped": found.shipped, "signatures": found.rows, "needed": found.needed}
        say(strict.dumps_line(told | seen | {"ok": found.accepted}))
    else:
        say(f"{bundle}: {found.name} {found.version}, every hash right")
        if found.shipped:
            say("ships with this edgeemo")
        for row in found.rows:
            say(f"  {str(row['key'])[:16]}  {row['name'] or '':<20}{row['state']}")
        if not found.shipped:
            say(f"{found.right} of {found.needed} signatures that are needed")
    if not found.accepted:
        say(f"edgeemo: {bundle}: not to be trusted here; it would be refused", err=True)
        sys.exit(1)


@dataclass(frozen=True)
class _Found:
    name: str
    """The model's."""
    version: str
    """Its bundle's."""
    rows: Rows
    """One a signature, as of `signature_rows`."""
    needed: int
    """How many different keys must have signed."""
    shipped: bool = False
    """Whether it comes with this edgeemo."""

    @property
    def right(self) -> int:
        """How many signatures are right."""
        return sum(row["state"] == "right" for row in self.rows)

    @property
    def accepted(self) -> bool:
        """Whether it may run."""
        return self.shipped or self.right >= self.needed


def _of_image(file: str, image: bytes, keys: tuple[str, ...]) -> _Found:
    from edgeemo.errors import InvalidInput
    from edgeemo.firmware.image import read_header

    header = read_header(image)
    if not keys:
        raise InvalidInput(f"{file}: whole; pass the key of its firmware with --key NAME.pub")
    return _Found(header.name, header.version, signature_rows(image, keys), 1)


def _of_bundle(bundle: str, path: Path, keys: tuple[str, ...]) -> _Found:
    from edgeemo.contract.container import read_whole, unpack, whoever
    from edgeemo.errors import InvalidInput
    from edgeemo.trust.keys import configured_keys, trusted_keys
    from edgeemo.trust.reading import is_shipped, parse_any, signers_of

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
    rows = [
        {"key": one.key, "name": names.get(one.key), "state": state_of(one.key, right, names)}
        for one in contents.signatures
    ]
    needed = trusted.threshold if trusted else 0
    return _Found(manifest.name, manifest.version, rows, needed, shipped)
