"""What a flash image may say: the firmware's loader and Python's reader of images hold the same
rules, and nothing that both take harms the kernels."""

import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo.errors import BundleError
from edgeemo.firmware import image_rules
from edgeemo.firmware.image import read_header
from edgeemo.firmware.image_rules import LAYER, MAX_VECTORS
from edgeemo.firmware.layers import DEPTHWISE, Network, Op
from tests.export.firmware.firmware_support import C, run
from tests.export.firmware.image_support import (
    ARENA_BYTES,
    LABELS,
    NO_VNNI,
    SANITIZED,
    SHORT,
    SPEC,
    Loader,
    build_driver,
    image_of,
    layers,
    network,
)

INT32 = np.iinfo(np.int32)
BAD_LAYERS = "holds layers that this firmware cannot run"
# Where the header holds them.
VECTORS, PIXEL_TABLES, NAME, EXPONENTIALS_AT, LAYERS_AT = 40, 200, 132, 32, 28


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    return Loader(tmp_path_factory.mktemp("loader"))


def python_says(image: bytes) -> str:
    """Why Python's reader refuses an image; nothing where it takes it."""
    try:
        read_header(image)
    except BundleError as error:
        return str(error)
    return ""


def changed(image: bytes, at: int, content: bytes) -> bytes:
    return image[:at] + content + image[at + len(content) :]


def test_the_small_network_is_taken_and_uses_every_kernel(loader: Loader) -> None:
    assert {layer.op for layer in network().layers} == set(Op)
    image = image_of(network())
    assert loader.opened(image) == "good"
    assert loader.tested() == "its self-test fails on this device"
    assert read_header(image).vectors == 2


@pytest.mark.parametrize("patterns", [0, MAX_VECTORS + 1])
def test_an_image_without_a_self_test_is_refused(loader: Loader, patterns: int) -> None:
    image = image_of(network(), patterns)
    assert loader.opened(image) == "holds no self-test of 1 to 64 patterns"
    assert loader.tested() == "holds no self-test of 1 to 64 patterns"
    assert f"expected a self-test of 1 to 64 patterns, received {patterns}" in python_says(image)


def test_an_image_that_was_never_opened_passes_no_self_test(loader: Loader) -> None:
    loader.opened(b"\0" * 300)
    assert loader.tested() == "holds no self-test of 1 to 64 patterns"


# A layer's arrays; the bias at which its sums still fit, and the next one.


def bias_ends(name: str) -> tuple[int, int]:
    """The lowest and the highest first bias of a layer whose sums stay below 2^30, or below 2^31
    where its kernel does not double them, computed from all that its weights may be multiplied
    with."""
    layer = layers()[name]
    doubles = layer.op in (Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.MEAN)
    limit = 1 << 30 if doubles else 1 << 31
    if layer.op is Op.MEAN:
        low, high = (int(np.prod(layer.in_shape[:2])) * end for end in (-128, 127))
    else:
        weights = layer.weights.astype(int)
        first = weights[..., 0] if layer.op in DEPTHWISE else weights[0]
        low = int(np.minimum(first * 127, first * -128).sum())
        high = int(np.maximum(first * 127, first * -128).sum())
    return -limit + 1 - low, limit - 1 - high


@pytest.mark.parametrize(
    "name",
    [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "WIDE_CONV_2D",
        "WIDE_DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "MEAN",
    ],
)
def test_biases_whose_sums_pass_31_bits_are_refused(loader: Loader, name: str) -> None:
    lowest, highest = bias_ends(name)
    for bias, good in (
        *((lowest, True), (highest, True), (lowest - 1, False), (highest + 1, False)),
        *((INT32.max, False), (INT32.min, False), (INT32.max - 1000, False)),
    ):
        biases = layers()[name].bias.copy()
        biases[0] = bias
        image = image_of(network(**{name: replace(layers()[name], bias=biases)}))
        assert (loader.opened(image), bool(python_says(image))) == (
            ("good", False) if good else (BAD_LAYERS, True)
        ), bias
    assert "has sums that need more than 31 bits" in python_says(image)


@pytest.mark.parametrize(
    ("name", "what", "value", "good"),
    [
        ("FULLY_CONNECTED", "shift", 12, True),  # 7 * 100 * 128 and the bias are below 2^18
        ("FULLY_CONNECTED", "shift", 20, False),
        ("FULLY_CONNECTED", "shift", -31, True),
        ("FULLY_CONNECTED", "shift", -32, False),
        ("FULLY_CONNECTED", "shift", 30, False),
        ("CONV_2D", "multiplier", 0, True),
        ("CONV_2D", "multiplier", -1, False),
        ("CONV_2D", "multiplier", INT32.min, False),
        ("ADD", "bias", 128, True),
        ("ADD", "bias", 129, False),
        ("ADD", "bias", -127, True),
        ("ADD", "bias", -128, False),
        ("ADD", "bias", INT32.max, False),
        ("ADD", "shift", 2, True),  # zero points of -3 and 4: 131 << 20 << 2 is below 2^30
        ("ADD", "shift", 3, False),
        ("MEAN", "shift", 29, False),
    ],
)
def test_shifts_multipliers_and_zero_points_out_of_range_are_refused(
    loader: Loader, name: str, what: str, value: int, good: bool
) -> None:
    layer = layers()[name]
    values = getattr(layer, what).copy()
    values[0] = value
    image = image_of(network(**{name: replace(layer, **{what: values})}))
    said = loader.opened(image)
    assert (said == "good", python_says(image) == "") == (good, good), said


@pytest.mark.parametrize("first", [0, 1, 32767, 65535])
def test_a_softmax_table_that_does_not_fall_from_1_is_refused(loader: Loader, first: int) -> None:
    image = image_of(network())
    at = struct.unpack_from("<I", image, EXPONENTIALS_AT)[0]
    for place, value in ((at, first), (at + 2, 32769)):
        bad = loader.sealed(changed(image, place, struct.pack("<H", value)))
        assert loader.opened(bad) == BAD_LAYERS
        assert "softmax table" in python_says(bad)


@pytest.mark.parametrize("name", [b"", b"\x1b[2Jowned", b"caf\xe9", b"a\0b", b"a\n"])
def test_names_that_no_serial_port_should_show_are_refused(loader: Loader, name: bytes) -> None:
    bad = loader.sealed(changed(image_of(network()), NAME, name.ljust(64, b"\0")))
    assert loader.opened(bad) == "its header is damaged"
    assert "expected a name of printable ASCII" in python_says(bad)


def place_of(image: bytes, op: Op) -> int:
    """Where the image holds the layer of an operator."""
    start, count = struct.unpack_from("<I", image, LAYERS_AT)[0], len(layers())
    places = (start + LAYER.size * i for i in range(count))
    return next(place for place in places if image[place + 50] == op)


LIES: dict[str, tuple[Op, int, str, Any]] = {
    "a scratch on the input": (Op.CONV_2D, 32, "<I", lambda n: n[5]),
    "an output on the input": (Op.MAX_POOL_2D, 28, "<I", lambda n: n[5]),
    "an output half on the input of a kernel that works in place": (
        Op.LOOKUP, 28, "<I", lambda n: n[5] + 4,
    ),
    "an output beyond the arena": (Op.PAD, 28, "<I", lambda n: 0xFFFFFFF0),
    "a lowest output above the highest": (Op.CONV_2D, 59, "<b", lambda n: 127),
    "weights that wrap around 32 bits": (Op.CONV_2D, 0, "<I", lambda n: 0xFFFFFFFF),
    "biases in the header": (Op.CONV_2D, 4, "<I", lambda n: 16),
    "biases that are not aligned": (Op.CONV_2D, 4, "<I", lambda n: n[1] + 1),
    "no stride": (Op.MAX_POOL_2D, 53, "<B", lambda n: 0),
    "a window that only sees padding": (Op.AVERAGE_POOL_2D, 55, "<B", lambda n: 200),
    "no channels": (Op.MEAN, 40, "<H", lambda n: 0),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_layer_that_lies_is_refused_by_both(loader: Loader, lie: str) -> None:
    op, at, form, value = LIES[lie]
    image = image_of(network())
    place = place_of(image, op)
    wrong = value(LAYER.unpack_from(image, place))
    if lie == "a lowest output above the highest":
        image = changed(image, place + 60, b"\x00")
    bad = loader.sealed(changed(image, place + at, struct.pack(form, wrong)))
    assert loader.opened(bad) == BAD_LAYERS
    assert python_says(bad).startswith("model.bin: ")


def test_an_inference_without_end_is_refused(loader: Loader) -> None:
    shape, layer = (120, 120, 2), layers()["AVERAGE_POOL_2D"]
    wide = replace(layer, in_shape=shape, out_shape=shape, kernel=(255, 255), pad=(100, 100))
    source, target = wide.inputs[0], wide.output
    slow = Network((wide,), {source: 28800, target: 28800}, source, target, network().logits)
    image = bytearray(image_of(slow))
    struct.pack_into("<II", image, 52, int(np.prod(SPEC.shape)), len(LABELS))
    bad = loader.sealed(bytes(image))
    assert loader.opened(bad) == BAD_LAYERS
    assert "numbers, more than 1,073,741,824" in python_says(bad)


def test_the_numbers_of_the_rules_are_the_loaders() -> None:
    header = (C / "edgeemo_image.h").read_text()
    for name, text in (
        ("MAX_LAYERS", str(image_rules.MAX_LAYERS)),
        ("MAX_VECTORS", str(image_rules.MAX_VECTORS)),
        ("MAX_ARENA", f"(1U << {image_rules.MAX_ARENA.bit_length() - 1})"),
        ("MAX_WORK", f"(1U << {image_rules.MAX_WORK.bit_length() - 1})"),
    ):
        assert f"#define EDGEEMO_IMAGE_{name} {text}" in header


def test_loader_and_reader_agree_on_drawn_images(loader: Loader) -> None:
    verdicts = {True: 0, False: 0}
    for seed in range(3000):
        image = loader.drawn(seed)
        arena, sizes = struct.unpack_from("<I", image, 20)[0], struct.unpack_from("<II", image, 52)
        fits = arena <= ARENA_BYTES and sizes == (int(np.prod(SPEC.shape)), len(LABELS))
        expected = fits and python_says(image) == ""
        assert (loader.opened(image) == "good") is expected, (seed, python_says(image))
        verdicts[expected] += 1
    assert min(verdicts.values()) > 500


# Under sanitizers.

BUILDS = {
    "plain C": ("-DEDGEEMO_NO_AVX2",),
    "AVX2": (NO_VNNI,),
    "VNNI, where it is": (),
    "32 bits": ("-m32",),
}
OTHER_BUILDS = list(BUILDS)[2:]
# The last number is a CRC-32 of all that the images' layers computed: every build must have it.
ANSWERED = "683 of 2500 taken, F486393C\n"


def sanitized(build: str, folder: Path) -> Path:
    flags = BUILDS[build]
    if "-m32" in flags:
        (folder / "empty.c").write_text("int main(void)\n{\n    return 0;\n}\n")
        words = ["gcc", "-m32", *SANITIZED, "-o", folder / "empty", folder / "empty.c"]
        if subprocess.run(words, capture_output=True).returncode:
            pytest.skip(
                "gcc makes no 32-bit programs here: apt-get install libc6-dev-i386 "
                "lib32gcc-12-dev lib32asan8 lib32ubsan1"
            )
    return build_driver(folder, *SANITIZED, SHORT, "-DDRIVER_MAIN", *flags)


@pytest.mark.parametrize(
    "build", ["plain C", "AVX2", *(pytest.param(b, marks=pytest.mark.slow) for b in OTHER_BUILDS)]
)
def test_drawn_images_harm_nothing_and_are_answered_alike(build: str, tmp_path: Path) -> None:
    assert run(sanitized(build, tmp_path), 0, 2500, 60) == ANSWERED


@pytest.mark.slow
@pytest.mark.parametrize("build", ["plain C", "AVX2"])
def test_ten_minutes_of_drawn_images_harm_nothing(build: str, tmp_path: Path) -> None:
    seed = int(np.random.default_rng().integers(1 << 60))
    print(f"seed {seed}")
    taken = run(sanitized(build, tmp_path), seed, 10**12, 600).split()
    assert int(taken[0]) > 100_000
