"""edgeemo flash"""

import glob
import os
import sys
from pathlib import Path

import click

from edgeemo.cli.options import bundle_argument
from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict


def _offset(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        raise click.BadParameter(f"expected a number such as 0x190000, received {text!r}") from None


@click.command()
@bundle_argument()
@click.option(
    "--port", required=True, help="The device's serial port, such as /dev/ttyACM0 or COM3."
)
@click.option(
    "--partition", default="model", help="The flash partition to write, as partitions.csv names it."
)
@click.option(
    "--offset",
    metavar="HEX",
    callback=_offset,
    help="Write there, without asking the device for its partitions.",
)
@click.option("--chip", default="esp32s3", help="As esptool names it.")
@click.option("--baud", type=click.IntRange(9600), default=460800, help="Bits a second.")
@click.option(
    "--no-stub",
    is_flag=True,
    help="Talk to the chip's ROM alone: slower, for boards where esptool's stub does not start.",
)
@click.option(
    "--no-reset", is_flag=True, help="The board is in download mode already; leave it there."
)
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="NAME.pub",
    help="A public key that must have signed the model.bin, as the firmware asks for.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def flash(
    bundle: str,
    port: str,
    partition: str,
    offset: int | None,
    chip: str,
    baud: int,
    no_stub: bool,
    no_reset: bool,
    keys: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write the int8 model of BUNDLE into a flash partition of an ESP32 with edgeemo's firmware.

    BUNDLE is a file, a shipped name, or a model.bin of `python -m export flash-image`. The firmware
    stays as it is: at its next start it checks the model and takes it, or keeps its old one when
    anything is wrong, such as other labels than its own. Firmware that trusts keys takes a signed
    model.bin alone (`python -m export flash-image --key`).

    \b
    edgeemo flash nano --port /dev/ttyACM0
    edgeemo flash mine.edgeemo --port COM3 --partition model
    edgeemo flash model.bin --port /dev/ttyACM0 --key boards.pub

    Needs esptool: pip install 'edgeemo[flash]'.
    """
    from edgeemo.firmware.esptool import Device
    from edgeemo.firmware.image import read_header
    from edgeemo.firmware.partitions import TABLE_BYTES, TABLE_OFFSET, model_partition

    image = _image(bundle, keys)
    header = read_header(image)
    device = Device(port, baud, chip, no_stub, reset=not no_reset, show=sys.stderr.isatty())
    facts = {
        "name": header.name,
        "version": header.version,
        "bytes": len(image),
        "sha256": header.sha256,
        "labels_crc32": header.labels_crc32,
        "port": port,
    }
    if not dry_run:
        _check_port(port)
        if offset is None:
            offset = model_partition(
                device.read(TABLE_OFFSET, TABLE_BYTES), partition, len(image)
            ).offset
        device.write(offset, image)
    place = f"at {offset:#x}" if offset is not None else f"into the partition {partition!r}"
    if as_json:
        say(
            strict.dumps_line(
                facts | {"partition": partition, "offset": offset, "written": not dry_run}
            )
        )
        return
    verb = "would write" if dry_run else "wrote"
    say(f"{port}: {verb} {header.name} {header.version}, {len(image):,} bytes, {place}")
    say(
        f"it needs {header.arena_bytes:,} bytes of RAM; the firmware checks it at its next "
        "start and says so on this port"
    )


def _image(bundle: str, keys: tuple[str, ...]) -> bytes:
    """A model.bin as it is, or the image of a bundle."""
    from edgeemo.cli.images import check_signed
    from edgeemo.errors import InvalidInput
    from edgeemo.firmware.image import build_image, image_at
    from edgeemo.models import find_model
    from edgeemo.trust import read_bundle

    path = find_model(bundle)
    if (image := image_at(path)) is not None:
        check_signed(bundle, image, keys)
        return image
    if keys:
        raise InvalidInput(
            f"{bundle}: expected a signed model.bin with --key, received another file; make one: "
            "python -m export flash-image BUNDLE --out model.bin --key NAME.key"
        )
    return build_image(read_bundle(path))


def _check_port(port: str) -> None:
    """Raise FlashError for a serial port that is not there, naming those that are.

    A URL or COM3 is left to esptool.
    """
    from edgeemo.errors import FlashError

    if Path(port).is_file():
        raise FlashError(f"{port}: expected a serial port, received a file; nothing was written")
    if os.name != "posix" or "://" in port or Path(port).exists():
        return
    patterns = ("/dev/ttyACM*", "/dev/ttyUSB*", "/dev/cu.usb*")
    ports = sorted(port for pattern in patterns for port in glob.glob(pattern))
    raise FlashError(
        f"{port}: no such port; "
        + (
            f"there is {', '.join(ports)}"
            if ports
            else "no serial device is plugged in, or its driver is missing"
        )
    )
