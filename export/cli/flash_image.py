"""python -m export flash-image."""

from dataclasses import asdict
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from edgeemo.models import find_model
from edgeemo.trust import read_bundle
from export.cli.in_c import note_unmeasured
from export.cli.options import as_json, max_ram, out
from export.cli.private import asked_private


@click.command("flash-image")
@click.argument("bundle")
@out("The file to write, model.bin.")
@max_ram
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="NAME.key",
    help="Sign it, as `sign` does, for firmware that trusts NAME.pub.",
)
@as_json("One JSON object on stdout.")
def flash_image(
    bundle: str, out: Path, max_ram: int | None, key: Path | None, as_json: bool
) -> None:
    """Write BUNDLE's int8 model (a file, or a shipped name) as the content of a flash partition.

    \b
    python -m export flash-image nano --out model.bin
    python -m export flash-image nano --out model.bin --key boards.key

    Firmware made with `firmware --target esp32` loads it without being built again: it checks
    header, SHA-256, label order, input and layers, runs the self-test, and keeps its old model when
    anything is wrong. `edgeemo flash` writes it to a device.
    """
    from edgeemo.firmware.image import MAGIC, build_image, read_header
    from export.firmware.generate import check_ram
    from export.signing.keys import open_image_private
    from export.signing.sign import sign_image

    path = find_model(bundle)
    check_output(out, (path, key), ours=(MAGIC,))
    opened = read_bundle(path)
    check_ram(opened, max_ram)
    image = build_image(opened)
    header = read_header(image)
    if key:
        image, _, _ = sign_image(image, *asked_private(key, open_image_private))
    with written_beside(out) as part:
        part.write_bytes(image)
    note_unmeasured(opened)
    if as_json:
        say(strict.dumps_line({"out": str(out), **asdict(header)}))
        return
    say(
        f"wrote {out}: {header.name} {header.version}, {len(image):,} bytes, "
        f"needs {header.arena_bytes:,} bytes of RAM{f', signed by {key.stem}' if key else ''}"
    )
