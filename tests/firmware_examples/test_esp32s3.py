"""The ESP32-S3 example on a PC: its files compile against stand-ins for ESP-IDF's headers, and its
model store survives bad models."""

import ctypes
import dataclasses
import hashlib
import itertools
import json
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from edgeemo.backends.rows import open_rows
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.detector_bundle import DetectorBundle, read_detector
from edgeemo.contract.face_look import Looker
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.preprocess import face_to_input
from edgeemo.contract.quantize import Quantization
from edgeemo.firmware.image import HEADER_BYTES, build_image, read_header
from edgeemo.firmware.network import detector_network
from edgeemo.firmware.plan import plan_arena
from edgeemo.models import find_detector, find_model
from export.firmware.generate import generate
from export.firmware.settings import settings_header
from tests.export.firmware.firmware_support import STRICT, Reference, compile_c, run
from tests.support import REPOSITORY, drawn_faces

MAIN = REPOSITORY / "firmware_examples" / "esp32s3" / "main"
STAND_INS = REPOSITORY / "tests" / "firmware_examples" / "esp_idf"
GENERATED = (
    "edgeemo_model",
    "edgeemo_kernels",
    "edgeemo_preprocess",
    "edgeemo_vectors",
    "edgeemo_image",
)
NEW, KEPT, BUILTIN = range(3)


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("component") / "edgeemo"
    generate(read_bundle(find_model("nano")), out, target="esp32")
    return out


@pytest.fixture(scope="module")
def tiny_image(tiny_bundle: Path) -> bytes:
    return build_image(read_bundle(tiny_bundle))


@pytest.fixture(scope="module")
def nano_image() -> bytes:
    return build_image(read_bundle(find_model("nano")))


def sealed(image: bytes, **fields: tuple[int, bytes]) -> bytes:
    """`image` with (offset, content) changes, and its SHA-256 and CRC-32 made to fit, as somebody
    who means it would."""
    changed = bytearray(image)
    for at, content in fields.values():
        changed[at : at + len(content)] = content
    size = struct.unpack_from("<I", changed, 16)[0]
    changed[80:112] = hashlib.sha256(changed[HEADER_BYTES:size]).digest()
    changed[HEADER_BYTES - 4 : HEADER_BYTES] = struct.pack(
        "<I", zlib.crc32(changed[: HEADER_BYTES - 4])
    )
    return bytes(changed)


def test_the_led_is_on_a_pin_of_its_own() -> None:
    pins = re.findall(r"^#define SETTINGS_(\w+) (\d+)$", (MAIN / "settings.h").read_text(), re.M)
    of_the_board = {name: int(pin) for name, pin in pins if re.match("LED_|PIN_", name)}
    assert of_the_board.pop("LED_GPIO") == 3  # esp-bsp: BSP_LED_GREEN of the ESP32-S3-EYE
    assert len(set(of_the_board.values())) == len(of_the_board) == 14
    assert not {3, 21, 43, 44, 47, 48} & set(of_the_board.values())


# The loader.


@pytest.fixture(scope="module")
def loader(component: Path, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("loader") / "loader.so"
    size = path.with_name("size.c")
    size.write_text(
        '#include "edgeemo_image.h"\nsize_t image_size(void);\n'
        "size_t image_size(void)\n{\n    return sizeof(edgeemo_image);\n}\n"
    )
    sources = [component / f"{name}.c" for name in ("edgeemo_image", "edgeemo_kernels")]
    compile_c(
        "gcc", "-O2", *STRICT, f"-I{component}", "-shared", "-fPIC", "-o", path, size, *sources
    )
    library = ctypes.CDLL(str(path))
    library.edgeemo_image_text.restype = ctypes.c_char_p
    library.edgeemo_image_open.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_uint32,
    ]
    return library


def opened(loader: ctypes.CDLL, image: bytes, arena: int = 65536) -> tuple[str, str]:
    """What the loader says of an image, and of its self-test."""
    data = (
        np.frombuffer(image.ljust(-(-len(image) // 4) * 4, b"\0"), np.uint8).copy().view(np.uint32)
    )
    room, memory = (
        ctypes.create_string_buffer(loader.image_size()),
        np.zeros(arena // 4 + 1, np.uint32),
    )
    error = loader.edgeemo_image_open(room, data.ctypes.data, len(image), arena)
    if error:
        return loader.edgeemo_image_text(error).decode(), ""
    tested = loader.edgeemo_image_selftest(room, ctypes.c_void_p(memory.ctypes.data))
    return "good", loader.edgeemo_image_text(tested).decode()


@pytest.mark.parametrize("name", ["nano", "small"])
def test_an_image_of_a_bundle_is_good(loader: ctypes.CDLL, name: str) -> None:
    assert opened(loader, build_image(read_bundle(find_model(name)))) == ("good", "good")


def test_every_byte_of_a_small_image_flipped_in_turn_is_found(
    loader: ctypes.CDLL, tiny_image: bytes
) -> None:
    assert opened(loader, tiny_image) == ("good", "good")
    words = (
        np.frombuffer(tiny_image.ljust(-(-len(tiny_image) // 4) * 4, b"\0"), np.uint8)
        .copy()
        .view(np.uint32)
    )
    data, room = words.view(np.uint8), ctypes.create_string_buffer(loader.image_size())
    for flip in (0x01, 0xFF):
        for at in range(len(tiny_image)):
            data[at] ^= flip
            assert loader.edgeemo_image_open(room, data.ctypes.data, len(tiny_image), 65536) != 0, (
                at
            )
            data[at] ^= flip
    assert loader.edgeemo_image_open(room, data.ctypes.data, len(tiny_image), 65536) == 0


def test_an_image_cut_off_anywhere_is_found(loader: ctypes.CDLL, tiny_image: bytes) -> None:
    for size in (*range(300), len(tiny_image) - 1):
        assert opened(loader, tiny_image[:size])[0] in ("no model here", "cut off")


def test_images_for_another_world_are_named(loader: ctypes.CDLL, nano_image: bytes) -> None:
    order = zlib.crc32("\n".join(sorted(LABELS)).encode())
    vector_at = struct.unpack_from("<I", nano_image, 36)[0]
    answer_at = vector_at + 4 * 2304
    for image, message in (
        (b"\xff" * 4096, "no model here"),
        (sealed(nano_image, schema=(8, struct.pack("<I", 9))), "of another schema"),
        (
            sealed(nano_image, labels=(60, struct.pack("<I", order))),
            "made for another order of labels",
        ),
        (sealed(nano_image, input=(64, b"0123456789abcdef")), "made for another preprocessing"),
        (sealed(nano_image, arena=(20, struct.pack("<I", 1 << 20))), "needs a larger arena"),
        (
            sealed(nano_image, tables=(200, struct.pack("<I", 2))),
            "holds layers that this firmware cannot run",
        ),
        (
            sealed(nano_image, tables=(196, struct.pack("<II", len(nano_image) - 255, 1))),
            "holds layers that this firmware cannot run",
        ),
        (
            sealed(nano_image, count=(24, struct.pack("<I", 65))),
            "holds layers that this firmware cannot run",
        ),
        (
            sealed(nano_image, op=(HEADER_BYTES + 50, b"\x63")),
            "holds layers that this firmware cannot run",
        ),
        (
            sealed(nano_image, out=(HEADER_BYTES + 28, struct.pack("<I", 28000))),
            "holds layers that this firmware cannot run",
        ),
    ):
        assert opened(loader, image)[0].startswith(message), message
    wrong = sealed(nano_image, answer=(answer_at, bytes([nano_image[answer_at] ^ 1])))
    assert opened(loader, wrong) == ("good", "its self-test fails on this device")


# The model store, the responder and the camera on stand-ins for ESP-IDF.

GLUE = """
#include "model_store.h"
#include "responder.h"
#include "stand_ins.h"
#include <string.h>
static uint32_t arena[16384];
static model_store store;
static responder shown;
static camera_fb_t frame;
int open_store(int8_t *logits, const uint8_t *pixels);
int open_store(int8_t *logits, const uint8_t *pixels)
{
    model_store_open(&store, (int8_t *)arena, sizeof arena);
    edgeemo_run(store.network, (int8_t *)arena, pixels, logits);
    return (int)store.source;
}
uint8_t *flash_of(int number);
uint8_t *flash_of(int number)
{
    return stand_in_flash(number);
}
void power(int bytes);
void power(int bytes)
{
    stand_in_writes_left = bytes;
}
void start(uint32_t hold_ms);
void start(uint32_t hold_ms)
{
    responder_start(&shown, hold_ms);
}
int update(const uint16_t *scores, uint32_t now);
int update(const uint16_t *scores, uint32_t now)
{
    return responder_update(&shown, scores, now);
}
void show(uint8_t *rgb565, int width, int height, int format);
void show(uint8_t *rgb565, int width, int height, int format)
{
    frame.buf = rgb565;
    frame.width = (size_t)width;
    frame.height = (size_t)height;
    frame.len = (size_t)(width * height * 2);
    frame.format = (pixformat_t)format;
    stand_in_frame = rgb565 ? &frame : NULL;
}
"""


def build(component: Path, folder: Path, *flags: str, libraries: tuple[str, ...] = ()) -> Path:
    (folder / "glue.c").write_text(GLUE)
    sources = [
        *sorted(MAIN.glob("*.c")),
        *(component / f"{name}.c" for name in GENERATED),
        *sorted(component.glob("edgeemo_find*.c")),
        STAND_INS / "stand_ins.c",
        folder / "glue.c",
    ]
    includes = [f"-I{path}" for path in (component, MAIN, STAND_INS)]
    warnings = [flag for flag in STRICT if flag != "-std=c99"]
    compile_c(
        "gcc",
        "-O2",
        "-std=gnu17",
        *warnings,
        *flags,
        *includes,
        "-shared",
        "-fPIC",
        "-o",
        folder / "device.so",
        *sources,
        *libraries,
    )
    return folder / "device.so"


class Device:
    """The example's code with a flash, a camera and an LED."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.flash_of.restype = ctypes.POINTER(ctypes.c_uint8)
        self.flash = [np.ctypeslib.as_array(self.c.flash_of(i), (0x100000,)) for i in range(2)]
        for partition in self.flash:
            partition[:] = 0xFF

    def start(self, face: NDArray[np.uint8]) -> tuple[int, bytes]:
        """Which model runs after a start, and its logits of a face."""
        logits = np.empty(7, np.int8)
        pixels = np.ascontiguousarray(face)
        source = self.c.open_store(
            ctypes.c_void_p(logits.ctypes.data), ctypes.c_void_p(pixels.ctypes.data)
        )
        return source, logits.tobytes()

    def put(self, image: bytes) -> None:
        """What `edgeemo flash` leaves in the partition."""
        self.flash[0][:] = 0xFF
        self.flash[0][: len(image)] = np.frombuffer(image, np.uint8)


@pytest.fixture(scope="module")
def program_file(component: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(component, tmp_path_factory.mktemp("device"))


@pytest.fixture
def device(program_file: Path, tmp_path: Path) -> Device:
    """Freshly started: a copy, because a library that is loaded twice keeps its variables."""
    return Device(Path(shutil.copy(program_file, tmp_path)))


FACE = drawn_faces(4)[2]


def answer(model: str) -> bytes:
    return Reference(read_bundle(find_model(model)).files["int8.tflite"]).logits(FACE).tobytes()


def test_a_new_model_runs_and_is_kept_when_the_next_is_bad(
    device: Device, nano_image: bytes
) -> None:
    assert device.start(FACE) == (BUILTIN, answer("nano"))
    other = build_image(read_bundle(find_model("nano-fer2013")))
    device.put(other)
    assert device.start(FACE) == (NEW, answer("nano-fer2013"))
    assert device.flash[1][: len(other)].tobytes() == other
    device.put(nano_image[:30_000])  # the cable fell off
    assert device.start(FACE) == (KEPT, answer("nano-fer2013"))
    device.put(sealed(nano_image, schema=(8, struct.pack("<I", 2))))
    assert device.start(FACE) == (KEPT, answer("nano-fer2013"))
    device.put(nano_image)
    assert device.start(FACE) == (NEW, answer("nano"))
    device.put(b"")
    assert device.start(FACE) == (KEPT, answer("nano"))


@pytest.mark.parametrize("written", [0, 1, 5000, 56_000, 60_000, -1])
def test_power_cut_while_a_model_is_kept_leaves_no_half_model(
    device: Device, nano_image: bytes, written: int
) -> None:
    other = build_image(read_bundle(find_model("nano-fer2013")))
    device.put(other)
    assert device.start(FACE)[0] == NEW
    device.put(nano_image)
    device.c.power(written % len(nano_image))  # bytes that are still written
    assert device.start(FACE) == (NEW, answer("nano"))
    device.c.power(1 << 30)
    partial = device.flash[0].copy()
    device.put(b"")
    assert device.start(FACE) == (BUILTIN, answer("nano"))
    device.flash[0][:] = partial  # the new one is still there, and is kept at the next start
    assert device.start(FACE)[0] == NEW
    assert device.flash[1][: len(nano_image)].tobytes() == nano_image


def test_the_larger_model_fits_the_arena_of_the_settings(device: Device) -> None:
    image = build_image(read_bundle(find_model("small")))
    setting = re.search(r"SETTINGS_ARENA_BYTES (\d+)", (MAIN / "settings.h").read_text())
    assert setting is not None
    size = int(setting[1])
    assert read_header(image).arena_bytes <= size
    device.put(image)
    assert device.start(FACE) == (NEW, answer("small"))


def scores(label: int) -> ctypes.Array[ctypes.c_uint16]:
    return (ctypes.c_uint16 * 7)(*(20000 if i == label else 2000 for i in range(7)))


def test_a_change_is_reported_after_the_hold_time_and_lights_the_led(device: Device) -> None:
    led = ctypes.c_int.in_dll(device.c, "stand_in_led")
    happy, sad = LABELS.index("happy"), LABELS.index("sad")
    device.c.start(500)
    assert led.value == 0
    assert (
        device.c.update(scores(sad), 2**32 - 100) == sad
    )  # the first answer at once; the clock wraps at 2^32 ms
    assert [device.c.update(scores(happy), t) for t in (100, 300, 599)] == [sad] * 3
    assert led.value == 0
    assert device.c.update(scores(happy), 600) == happy
    assert led.value == 1
    assert device.c.update(scores(sad), 700) == happy
    assert device.c.update(scores(happy), 1100) == happy  # a short doubt starts the count again
    assert device.c.update(scores(sad), 1300) == happy
    assert device.c.update(scores(sad), 1800) == sad
    assert led.value == 0
    device.c.update(scores(happy), 1900)
    assert device.c.update(scores(happy), 2400) == happy
    assert [device.c.update(None, t) for t in (2500, 2900)] == [happy] * 2
    assert device.c.update(None, 3000) == -1  # nobody, for as long as an emotion has to last
    assert led.value == 0
    assert device.c.update(scores(sad), 3100) == sad  # who comes is seen at once


def test_without_a_detector_the_cameras_middle_square_becomes_the_contracts_bytes(
    device: Device,
) -> None:
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 1 << 16, (60, 100), dtype=np.uint16)
    five = np.stack([packed >> 11, packed >> 5 & 63, packed & 31], -1).astype(np.uint32)
    rgb = np.stack(
        [
            five[..., 0] * 8 + five[..., 0] // 4,
            five[..., 1] * 4 + five[..., 1] // 16,
            five[..., 2] * 8 + five[..., 2] // 4,
        ],
        -1,
    )
    frame = packed.astype(">u2").view(np.uint8).copy()
    out = np.empty((48, 48, 1), np.uint8)
    given = ctypes.c_void_p(out.ctypes.data), None
    assert device.c.camera_provider_start() == 0
    device.c.show(ctypes.c_void_p(frame.ctypes.data), 100, 60, 0)
    assert device.c.camera_provider_read(*given) == 0
    assert np.array_equal(out, face_to_input(rgb.astype(np.uint8), (20, 0, 60, 60), DEFAULT_SPEC))
    device.c.show(ctypes.c_void_p(frame.ctypes.data), 100, 60, 4)  # JPEG, which was not asked for
    assert device.c.camera_provider_read(*given) == -1
    device.c.show(None, 100, 60, 0)
    assert device.c.camera_provider_read(*given) == -1
    assert ctypes.c_int.in_dll(device.c, "stand_in_frames_out").value == 0


@pytest.fixture(scope="module")
def finder() -> DetectorBundle:
    return read_detector(find_detector("face-nano"))


@pytest.fixture(scope="module")
def finding(finder: DetectorBundle, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """The example with a face detector beside the network."""
    folder = tmp_path_factory.mktemp("finding")
    generate(read_bundle(find_model("nano")), folder / "c", target="esp32", detector=finder)
    return Device(build(folder / "c", folder))


def test_the_face_in_the_cameras_frame_becomes_the_contracts_bytes(
    finding: Device, finder: DetectorBundle
) -> None:
    picture = skimage.data.astronaut()[:240, 80:400]
    red, green, blue = (picture[..., i].astype(np.uint16) for i in range(3))
    packed = red >> 3 << 11 | green >> 2 << 5 | blue >> 3
    five = np.stack([packed >> 11, packed >> 5 & 63, packed & 31], -1).astype(np.uint32)
    wide = [five[..., 0] * 8 + five[..., 0] // 4, five[..., 1] * 4 + five[..., 1] // 16]
    rgb = np.stack([*wide, five[..., 2] * 8 + five[..., 2] // 4], -1).astype(np.uint8)
    model, output = open_rows(finder, reference_kernels=True), finder.manifest.artifact.output
    looker = Looker(
        model.rows, model.spec, finder.manifest.rows, output.scale or 1, output.zero_point or 0
    )
    faces = sorted(looker.faces(rgb), key=lambda face: -face.place[2] * face.place[3])
    assert faces, "no face was found, so nothing is compared"
    frame = packed.astype(">u2").view(np.uint8).copy()
    out, arena = np.empty((48, 48, 1), np.uint8), np.zeros(1 << 17, np.uint8)
    given = ctypes.c_void_p(out.ctypes.data), ctypes.c_void_p(arena.ctypes.data)
    finding.c.show(ctypes.c_void_p(frame.ctypes.data), 320, 240, 0)
    assert finding.c.camera_provider_read(*given) == 0
    expected = face_to_input(rgb, faces[0].place, DEFAULT_SPEC, finder.manifest.crop)
    assert np.array_equal(out, expected)
    nobody = np.zeros_like(frame)
    finding.c.show(ctypes.c_void_p(nobody.ctypes.data), 320, 240, 0)
    assert finding.c.camera_provider_read(*given) == 1
    finding.c.show(ctypes.c_void_p(frame.ctypes.data), 320, 240, 4)
    assert finding.c.camera_provider_read(*given) == -1
    finding.c.show(None, 320, 240, 0)
    assert finding.c.camera_provider_read(*given) == -1
    assert ctypes.c_int.in_dll(finding.c, "stand_in_frames_out").value == 0


def test_the_detector_fits_beside_the_frames(finder: DetectorBundle) -> None:
    """Of 320 KB of data RAM; frames lie in PSRAM."""
    assert plan_arena(detector_network(finder)).arena_bytes <= 96 * 1024


def test_the_project_names_the_partitions_that_the_code_looks_for() -> None:
    rows = [
        line.replace(" ", "").split(",")
        for line in (MAIN.parent / "partitions.csv").read_text().splitlines()
        if line[0] != "#"
    ]
    partitions = {row[0]: (int(row[3], 16), int(row[4], 16)) for row in rows}
    assert {"model", "model_kept"} <= set(partitions)
    ends = sorted((offset, offset + size) for offset, size in partitions.values())
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    assert ends[-1][1] <= 4 << 20
    assert all(
        len(build_image(read_bundle(find_model(m)))) <= partitions["model"][1]
        for m in ("nano", "small")
    )
    code = (MAIN / "model_store.c").read_text()
    assert '"model"' in code
    assert '"model_kept"' in code


REPORTED = """
#include "responder.h"
int main(void)
{
    responder shown;
    responder_start(&shown, 0);
    for (int label = 0; label < EDGEEMO_LABEL_COUNT; ++label) {
        uint16_t scores[EDGEEMO_LABEL_COUNT] = {0};
        scores[label] = 32768;
        responder_update(&shown, scores, (uint32_t)label);
    }
    return 0;
}
"""


def test_any_label_is_a_string_of_json_on_the_serial_port(tmp_path: Path) -> None:
    labels = ("happy", 'say "no"', "back\\slash", "w\u00fctend", "%s", "\u4e2d??/")
    manifest = dataclasses.replace(read_bundle(find_model("nano")).manifest, labels=labels)
    header = settings_header(manifest, "00", Quantization(0.05, 0), 1)
    (tmp_path / "model_settings.h").write_text(header)
    (tmp_path / "main.c").write_text(REPORTED)
    includes = [f"-I{path}" for path in (tmp_path, MAIN, STAND_INS)]
    sources = [tmp_path / "main.c", MAIN / "responder.c", STAND_INS / "stand_ins.c"]
    run("gcc", "-std=gnu17", *includes, "-o", tmp_path / "report", *sources)
    lines = run(tmp_path / "report", encoding="utf-8").splitlines()
    assert [json.loads(line)["emotion"] for line in lines] == list(labels)
    assert [json.loads(line)["ms"] for line in lines] == list(range(len(labels)))
