"""`edgeemo flash`: the real esptool writes to a stand-in chip that keeps the serial protocol
(tests/edgeemo/cli/esp_chip.py)."""

import contextlib
import hashlib
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.labels import LABELS
from edgeemo.errors import BundleError, FlashError
from edgeemo.firmware.image import HEADER_BYTES, build_image, labels_crc32, read_header
from edgeemo.firmware.partitions import model_partition, parse_partitions
from edgeemo.models import find_model
from export.signing.keys import make_image_key, open_image_private
from export.signing.sign import sign_image
from tests.edgeemo.cli.esp_chip import EspChip
from tests.support import REPOSITORY

MODEL_AT, MODEL_BYTES = 0x190000, 0x100000


def row(label: str, kind: int, offset: int, size: int) -> bytes:
    return struct.pack("<2sBBII16sI", b"\xaa\x50", kind, 0x40, offset, size, label.encode(), 0)


def table(*rows: bytes) -> bytes:
    """A partition table as ESP-IDF's gen_esp32part.py lays it out."""
    body = b"".join(rows)
    return (body + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(body).digest()).ljust(0xC00, b"\xff")


TABLE = table(
    row("nvs", 1, 0x9000, 0x6000),
    row("factory", 0, 0x10000, 0x180000),
    row("model", 1, MODEL_AT, MODEL_BYTES),
    row("tiny", 1, 0x290000, 0x1000),
)


def flash_with(partitions: bytes = TABLE) -> bytearray:
    flash = bytearray(np.random.default_rng(0).integers(0, 256, 0x400000, dtype=np.uint8).tobytes())
    flash[0x8000:0x8C00] = partitions
    return flash


def run_flash(
    *words: str, python: tuple[str, ...] = (sys.executable,)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*python, "-m", "edgeemo", "flash", *words],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )


def on(chip: EspChip, *words: str) -> subprocess.CompletedProcess[str]:
    return run_flash(*words, "--port", chip.port, "--no-stub", "--no-reset", "--baud", "115200")


@pytest.fixture(scope="module")
def nano_image() -> bytes:
    return build_image(read_bundle(find_model("nano")))


def test_the_partition_holds_the_image_and_nothing_else_has_changed(nano_image: bytes) -> None:
    flash = flash_with()
    before = bytes(flash)
    with EspChip(flash) as chip:
        done = on(chip, "nano", "--partition", "model", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["offset"], printed["written"], printed["bytes"]) == (
        MODEL_AT,
        True,
        len(nano_image),
    )
    assert flash[MODEL_AT : MODEL_AT + len(nano_image)] == nano_image
    assert flash[:MODEL_AT] == before[:MODEL_AT]
    sectors = -(-len(nano_image) // 4096) * 4096
    assert flash[MODEL_AT + sectors :] == before[MODEL_AT + sectors :]


def test_a_model_bin_is_written_as_it_is_at_an_offset(nano_image: bytes, tmp_path: Path) -> None:
    secret, public, _ = make_image_key(str(tmp_path / "boards"), None)
    private = open_image_private(secret.read_bytes(), None, "boards")
    signed, _, _ = sign_image(nano_image, private, "boards")
    (tmp_path / "model.bin").write_bytes(signed)
    flash = flash_with(b"\xff" * 0xC00)
    words = (str(tmp_path / "model.bin"), "--offset", "0x200000", "--key", str(public))
    with EspChip(flash) as chip:
        done = on(chip, *words)
    assert done.returncode == 0, done.stderr
    assert flash[0x200000 : 0x200000 + len(signed)] == signed


@pytest.mark.parametrize(
    ("partitions", "label", "message"),
    [
        (TABLE, "models", "no partition 'models', only nvs, factory, model, tiny"),
        (TABLE, "factory", "no data partition"),
        (TABLE, "tiny", "has 4,096 bytes and the model needs"),
        (b"\xff" * 0xC00, "model", "no partition table"),
        (TABLE.replace(b"factory", b"facTory"), "model", "MD5 does not match"),
    ],
)
def test_what_cannot_be_written_is_refused_before_a_byte_is(
    partitions: bytes, label: str, message: str
) -> None:
    flash = flash_with(partitions)
    before = bytes(flash)
    with EspChip(flash) as chip:
        done = on(chip, "nano", "--partition", label)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert flash == before


def test_a_device_that_breaks_off_is_one_line() -> None:
    with EspChip(flash_with(), fails_at=0x03) as chip:
        done = on(chip, "nano")
    assert done.returncode == 1
    assert "esptool write-flash failed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_not_there_is_named() -> None:
    done = run_flash("nano", "--port", "/dev/ttyUSB97")
    assert done.returncode == 1
    assert done.stderr.startswith("edgeemo: /dev/ttyUSB97: no such port")


def test_without_esptool_the_install_command_is_named(tmp_path: Path) -> None:
    blocker = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'esptool' else find(name, *a)\n"
        "from edgeemo.cli import main; sys.argv = ['edgeemo', *sys.argv[1:]]; main.run()"
    )
    with EspChip(flash_with()) as chip:
        done = subprocess.run(
            [sys.executable, "-c", blocker, "flash", "nano", "--port", chip.port],
            capture_output=True, text=True, cwd=REPOSITORY, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'edgeemo[flash]'" in done.stderr


def sealed(image: bytes, at: int, content: bytes) -> bytes:
    """`image` with `content` at a place of its header, and the header's CRC-32 as somebody who
    means it would set it."""
    changed = bytearray(image)
    changed[at : at + len(content)] = content
    changed[HEADER_BYTES - 4 : HEADER_BYTES] = struct.pack(
        "<I", zlib.crc32(changed[: HEADER_BYTES - 4])
    )
    return bytes(changed)


def test_a_model_bin_that_is_damaged_or_of_another_schema_is_refused(
    nano_image: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.bin"
    for image, message in (
        (sealed(nano_image, 8, struct.pack("<I", 2)), "schema 2, expected 1"),
        (nano_image[:-1], "cut off"),
        (nano_image[:500] + b"\0" + nano_image[501:], "SHA-256"),
        (nano_image[:30] + b"\xaa" + nano_image[31:], "CRC-32"),
    ):
        path.write_bytes(image)
        done = run_flash(str(path), "--port", "COM3", "--dry-run")
        assert done.returncode == 1
        assert message in done.stderr


def test_the_header_says_what_the_bundle_is(nano_image: bytes) -> None:
    manifest = read_bundle(find_model("nano")).manifest
    header = read_header(nano_image)
    assert (header.name, header.version, header.image_bytes) == (
        manifest.name,
        manifest.version,
        len(nano_image),
    )
    assert header.input_fingerprint == manifest.input_fingerprint
    assert header.labels_crc32 == zlib.crc32("\n".join(LABELS).encode())
    assert header.sha256 == hashlib.sha256(nano_image[HEADER_BYTES:]).hexdigest()


def test_a_model_of_other_labels_says_so_and_leaves_the_choice_to_the_firmware(
    nano_image: bytes, tmp_path: Path
) -> None:
    other = labels_crc32(("calm", "tense"))
    path = tmp_path / "model.bin"
    path.write_bytes(sealed(nano_image, 60, struct.pack("<I", other)))
    done = run_flash(str(path), "--port", "COM3", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels_crc32"] == other != labels_crc32(LABELS)


def test_other_labels_have_another_checksum_whatever_stands_in_them() -> None:
    names = [("a,b", "c"), ("a", "b,c"), ("a", "b", "c"), ("c", "b", "a"), ("ab", "c")]
    assert len({labels_crc32(labels) for labels in names}) == len(names)


@given(st.binary(max_size=400))
def test_bytes_that_are_no_table_or_image_raise_what_they_should(data: bytes) -> None:
    for function in (parse_partitions, lambda d: model_partition(d, "model", 1)):
        with contextlib.suppress(FlashError):
            function(data)
    for image in (data, b"edgeemo\0" + data):
        with pytest.raises(BundleError):
            read_header(image)
