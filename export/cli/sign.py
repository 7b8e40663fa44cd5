"""python -m export sign."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.counts import count_of
from export.cli.private import asked_private, key_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@key_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write here [default: over BUNDLE, in one step].",
)
def sign(bundle: Path, key: Path | None, out: Path | None) -> None:
    """Put a signature into BUNDLE, of emotions or of a face detector, or behind a model.bin.

    Run it again with another key for a second signature; the same key replaces its own. The
    password is asked for, or taken from $EDGEEMO_KEY_PASSWORD. A model.bin is signed by a key of
    `keygen --for-images`.

    \b
    python -m export sign mine.edgeemo --key fleet-2026.key
    python -m export sign mine.edgeemo --out signed.edgeemo
    python -m export sign model.bin --key boards.key
    """
    from edgeemo.contract.checked.files import translated, written_beside
    from edgeemo.contract.checked.outputs import check_output
    from edgeemo.contract.container import ZIP
    from edgeemo.firmware.image import MAGIC, image_at
    from export.signing.keys import open_image_private, open_private
    from export.signing.sign import sign_bundle, sign_image

    target = out or bundle
    check_output(target, (key,), ours=(MAGIC, ZIP) if out else ())
    if image := image_at(bundle):
        signed, used, count = sign_image(image, *asked_private(key, open_image_private))
        with translated(target, "--out"), written_beside(target) as part:
            part.write_bytes(signed)
        say(f"wrote {target}: signed by {used}, {count_of(count, 'signature')}")
        return
    private, name = asked_private(key, open_private)
    signer, count = sign_bundle(bundle, target, private, name)
    say(f"wrote {target}: signed by {signer}, {count_of(count, 'signature')}")
