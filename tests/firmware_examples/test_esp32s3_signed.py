"""Firmware that trusts keys, on a PC: the example's model store with the real mbedtls (Debian's
libmbedtls-dev), whose `mbedtls_pk_verify` ESP-IDF has too.

$EDGEEMO_MBEDTLS, a folder with include/ and libmbedcrypto.a, runs it with another version.
"""

import ctypes
import hashlib
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import BundleError
from edgeemo.firmware.image import HEADER_BYTES, build_image
from edgeemo.firmware.image_signature import (
    ImageSignature,
    joined_image,
    signed_part,
    split_image,
)
from edgeemo.models import find_model
from edgeemo.trust.p256 import sign
from export.firmware.generate import generate
from export.signing.keys import make_image_key, open_image_private, private_text
from export.signing.sign import sign_image
from tests.firmware_examples.test_esp32s3 import (
    BUILTIN,
    FACE,
    KEPT,
    MAIN,
    NEW,
    STAND_INS,
    Device,
    answer,
    build,
    sealed,
)

BLOCK = 128
MBEDTLS = os.environ.get("EDGEEMO_MBEDTLS", "")
pytestmark = pytest.mark.skipif(
    not (MBEDTLS or Path("/usr/include/mbedtls/pk.h").exists()), reason="needs libmbedtls-dev"
)


class Keys:
    """Two keys that the firmware holds, and a stranger's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("first", "second", "stranger"):
            make_image_key(str(folder / name), None)

    def sign(self, image: bytes, *names: str) -> bytes:
        for name in names:
            pem, where = private_text(self.folder / f"{name}.key")
            image, _, _ = sign_image(image, open_image_private(pem, None, where), name)
        return image

    def pem(self, *names: str) -> str:
        return "".join((self.folder / f"{name}.pub").read_text() for name in names)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("component") / "edgeemo"
    generate(read_bundle(find_model("nano")), out, target="esp32")
    return out


@pytest.fixture(scope="module")
def program_file(component: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed")
    embedded = folder / "keys.c"  # what EMBED_TXTFILES makes, with room for other keys
    embedded.write_text(
        'extern char keys[4096] asm("_binary_trusted_keys_pem_start");\nchar keys[4096];\n'
    )
    flags = ["-DSETTINGS_SIGNED_MODELS=1", "-DMODEL_KEYS_EMBEDDED", "-Wl,--no-as-needed"]
    # Not the warnings of ours within its headers.
    library = [f"-isystem{MBEDTLS}/include"] if MBEDTLS else []
    linked = f"{MBEDTLS}/libmbedcrypto.a" if MBEDTLS else "-lmbedcrypto"
    return build(component, folder, *flags, *library, str(embedded), libraries=(linked,))


def embed(device: Device, pem: str) -> None:
    """The text of main/trusted_keys.pem."""
    room = (ctypes.c_char * 4096).in_dll(device.c, "_binary_trusted_keys_pem_start")
    room.value = pem.encode()


@pytest.fixture
def device(program_file: Path, keys: Keys, tmp_path: Path) -> Device:
    made = Device(Path(shutil.copy(program_file, tmp_path)))
    embed(made, keys.pem("first", "second"))
    return made


@pytest.fixture(scope="module")
def nano() -> bytes:
    return build_image(read_bundle(find_model("nano")))


@pytest.fixture(scope="module")
def other() -> bytes:
    return build_image(read_bundle(find_model("nano-fer2013")))


def test_a_model_signed_by_either_key_runs_and_is_kept_with_its_signature(
    device: Device, keys: Keys, other: bytes, nano: bytes
) -> None:
    by_second = keys.sign(other, "second")
    device.put(by_second)
    assert device.start(FACE) == (NEW, answer("nano-fer2013"))
    assert device.flash[1][: len(by_second)].tobytes() == by_second
    device.put(b"")
    assert device.start(FACE) == (KEPT, answer("nano-fer2013"))
    device.put(keys.sign(nano, "stranger", "first"))  # in whichever order
    assert device.start(FACE) == (NEW, answer("nano"))


def moved(image: bytes, signed: bytes) -> bytes:
    """An image with the signatures of another one."""
    return joined_image(image, split_image(signed)[1])


def test_whatever_no_key_has_signed_leaves_the_last_good_model_running(
    device: Device, keys: Keys, nano: bytes, other: bytes
) -> None:
    good = keys.sign(other, "first")
    device.put(good)
    assert device.start(FACE)[0] == NEW
    signed = keys.sign(nano, "first")
    at = len(signed) - BLOCK
    lying = sealed(signed, weight=(HEADER_BYTES + 64 * 20, b"\x55"))  # hashes made to fit
    assert lying[:at] != signed[:at]
    private = open_image_private(private_text(keys.folder / "first.key")[0], None, "first")
    key = split_image(signed)[1][0].key
    bare = joined_image(nano, [ImageSignature(key, sign(private, nano[:HEADER_BYTES]))])
    refused = {
        "unsigned": nano,
        "a stranger's": keys.sign(nano, "stranger"),
        "another image's": moved(nano, good),
        "changed, its hashes made to fit": lying,
        "of the header without the words before it": bare,
        "magic alone": signed[: at + 8],
        "of no bytes": signed[: at + 12] + struct.pack("<I", 0) + signed[at + 16 :],
        "of too many bytes": signed[: at + 12] + struct.pack("<I", 1 << 31) + signed[at + 16 :],
        "of another version": signed[: at + 8] + struct.pack("<I", 2) + signed[at + 12 :],
        "behind four others": nano.ljust(at, b"\0") + keys.sign(nano, "stranger")[at:] * 4
        + signed[at:],
        "of an image that says it is huge": signed[:16] + b"\xff" * 4 + signed[20:],
        "of an image that says it is empty": signed[:16] + bytes(4) + signed[20:],
    }  # fmt: skip
    for what, image in refused.items():
        device.put(image)
        assert device.start(FACE) == (KEPT, answer("nano-fer2013")), what
    device.put(signed)
    assert device.start(FACE) == (NEW, answer("nano"))


def test_every_byte_of_a_signature_changed_or_torn_off_is_noticed(
    device: Device, keys: Keys, nano: bytes
) -> None:
    signed = keys.sign(nano, "first")
    at = len(signed) - BLOCK
    length = struct.unpack_from("<I", signed, at + 12)[0]
    check = device.c.model_signature_refusal
    check.restype = ctypes.c_char_p
    data = ctypes.create_string_buffer(signed, 0x20000)
    assert check(data, 0x20000) is None
    counted = [*range(at, at + 16), *range(at + 48, at + 48 + length)]
    for place in counted:
        data[place] = bytes([signed[place] ^ 1])
        assert check(data, 0x20000) is not None, place - at
        data[place] = signed[place : place + 1]
    for end in range(at, at + 48 + length, 5):  # what a cable that fell off leaves: erased flash
        torn = ctypes.create_string_buffer(signed[:end].ljust(0x20000, b"\xff"), 0x20000)
        assert check(torn, 0x20000) is not None, end - at
    for size in (0, 19, HEADER_BYTES, at, at + 1, at + BLOCK - 1):
        assert check(data, size) is not None, size
    assert check(data, at + BLOCK) is None


def test_a_kept_model_that_no_key_has_signed_does_not_run(
    device: Device, keys: Keys, nano: bytes, other: bytes
) -> None:
    """Firmware that asked for no signatures may have kept it."""
    device.flash[1][: len(other)] = list(other)
    device.put(nano)
    assert device.start(FACE) == (BUILTIN, answer("nano"))
    device.put(keys.sign(nano, "second"))
    assert device.start(FACE)[0] == NEW


def test_keys_that_cannot_be_read_let_nothing_but_the_built_in_model_run(
    device: Device, keys: Keys, other: bytes
) -> None:
    device.put(keys.sign(other, "first"))
    first = keys.pem("first")
    head, end = "-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n"
    for text in ("", head, head + "AAAA\n" + end, first[:-40], first.replace("PUBLIC", "EC")):
        embed(device, text)
        assert device.start(FACE) == (BUILTIN, answer("nano")), text
    embed(device, head + "AAAA\n" + end + first)  # the good one counts
    assert device.start(FACE) == (NEW, answer("nano-fer2013"))


def test_a_power_cut_at_any_moment_of_keeping_leaves_a_signed_model_or_none(
    device: Device, keys: Keys, nano: bytes, other: bytes
) -> None:
    old, new = keys.sign(other, "first"), keys.sign(nano, "first")
    for written in (0, 4096, len(new) - 4096 - 60, len(new) - 4096, len(new) - 1):
        device.flash[1][:] = 0xFF
        device.put(old)
        assert device.start(FACE)[0] == NEW
        device.put(new)
        device.c.power(written)
        assert device.start(FACE) == (NEW, answer("nano"))
        device.c.power(1 << 30)
        device.put(b"")
        assert device.start(FACE)[0] == BUILTIN, written
    device.put(new)
    assert device.start(FACE)[0] == NEW
    assert device.flash[1][: len(new)].tobytes() == new


# The Python side.


def test_openssl_takes_an_images_signature_for_right(
    keys: Keys, nano: bytes, tmp_path: Path
) -> None:
    image, (one,) = split_image(keys.sign(nano, "first"))
    (tmp_path / "signature").write_bytes(one.signature)
    (tmp_path / "signed").write_bytes(signed_part(image))
    words = ["openssl", "dgst", "-sha256", "-verify", keys.folder / "first.pub",
             "-signature", tmp_path / "signature", tmp_path / "signed"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "Verified OK\n"
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", keys.folder / "first.pub", "-outform", "DER"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert one.key == hashlib.sha256(der).hexdigest()


def test_signing_again_replaces_the_keys_own_and_a_fifth_is_refused(
    keys: Keys, nano: bytes, tmp_path: Path
) -> None:
    twice = keys.sign(nano, "first", "second", "first")
    assert len(twice) == len(keys.sign(nano, "first")) + BLOCK
    more = Keys(tmp_path)
    four = more.sign(twice, "first", "second")
    with pytest.raises(BundleError, match="at most 4 signatures of different keys, received 5"):
        more.sign(four, "stranger")


def test_damaged_signatures_are_named(keys: Keys, nano: bytes) -> None:
    signed = keys.sign(nano, "first")
    with pytest.raises(BundleError, match="cut off"):
        split_image(signed[:-1])
    for place in (-1, 8 - BLOCK, 12 - BLOCK):
        changed = bytearray(signed)
        changed[place] ^= 0x80
        with pytest.raises(BundleError, match="damaged"):
            split_image(bytes(changed))
    with pytest.raises(BundleError, match="received 2"):
        split_image(signed + signed[-BLOCK:])


def test_the_project_embeds_keys_where_there_are_any_and_says_what_is_missing(
    component: Path, tmp_path: Path
) -> None:
    cmake = shutil.which("cmake")
    assert cmake
    main = Path(shutil.copytree(MAIN, tmp_path / "main"))
    script = tmp_path / "register.cmake"
    script.write_text(
        'function(idf_component_register)\n  message(STATUS "registered ${ARGN}")\nendfunction()\n'
        'function(target_compile_definitions)\n  message(STATUS "defined ${ARGN}")\nendfunction()\n'
        f"include({main}/CMakeLists.txt)\n"
    )

    def said() -> str:
        return subprocess.run(
            [cmake, "-P", script], capture_output=True, text=True, check=True
        ).stdout

    assert "MODEL_KEYS_EMBEDDED" not in said()
    (main / "trusted_keys.pem").write_text("key\n")
    assert re.search(r"EMBED_TXTFILES;trusted_keys\.pem;REQUIRES;.*mbedtls", said())
    assert "PRIVATE;MODEL_KEYS_EMBEDDED" in said()
    words = ["gcc", "-fsyntax-only", f"-I{component}", f"-I{STAND_INS}", MAIN / "model_signature.c"]
    for flag, message in (
        ("SETTINGS_SIGNED_MODELS=1", "needs main/trusted_keys.pem"),
        ("MODEL_KEYS_EMBEDDED", "set SETTINGS_SIGNED_MODELS to 1"),
    ):
        done = subprocess.run([*words, f"-D{flag}"], capture_output=True, text=True, check=False)
        assert (done.returncode, message in done.stderr) == (1, True)
    assert {path.name for path in MAIN.glob("*.c")} == set(re.findall(r"\w+\.c\b", said()))
