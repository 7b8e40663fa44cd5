"""The C preprocessing gives the very bytes of contract.face_to_input, and the settings header the
bundle's own values."""

import ctypes
import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.crop import Crop
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS, check_labels
from edgeemo.contract.preprocess import face_to_input
from edgeemo.contract.quantize import Quantization
from edgeemo.errors import InvalidInput
from edgeemo.faces.yunet import YuNet
from edgeemo.models import find_model
from export.firmware.settings import settings_header
from tests.export.firmware.firmware_support import STRICT, C, program, run
from tests.golden.make_preprocess import golden_cases

FORMATS = [
    "grey8",
    "rgb888",
    "bgr888",
    "rgb565_be",
    "rgb565_le",
    "yuyv",
]  # as edgeemo_pixel_format numbers them


class Frame(ctypes.Structure):
    _fields_ = [
        ("pixels", ctypes.c_void_p),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("format", ctypes.c_int),
    ]


class Box(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int32) for n in ("x", "y", "width", "height")]


class CCrop(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int32) for n in ("scale_q10", "shift_x_q10", "shift_y_q10")]


# The grey 48x48 of the shipped models, and inputs of other sides and channels; a small one, so that
# small frames are shrunk too, and mixed cases.
SPECS = [
    DEFAULT_SPEC,
    InputSpec(height=8, width=13),
    InputSpec(height=17, width=8, channels=3),
    InputSpec(height=112, width=96, channels=3),
]
COMPILERS = ["gcc -O0", "gcc -O2", "clang -Os"]


def defines(spec: InputSpec) -> str:
    """What the C preprocessing takes from model_settings.h."""
    sides = {"HEIGHT": spec.height, "WIDTH": spec.width, "CHANNELS": spec.channels}
    values = sides | {"BYTES": spec.height * spec.width * spec.channels}
    return "".join(f"#define EDGEEMO_INPUT_{name} {value}\n" for name, value in values.items())


class Library:
    """The C preprocessing, built for an input."""

    def __init__(self, spec: InputSpec, compiler: str, level: str, folder: Path) -> None:
        program(compiler)
        self.spec = spec
        (folder / "model_settings.h").write_text(defines(spec))
        path = folder / "preprocess.so"
        flags = (level, *STRICT, "-Wsign-conversion", f"-I{folder}", f"-I{C}", "-shared", "-fPIC")
        run(compiler, *flags, "-o", path, C / "edgeemo_preprocess.c")
        self.c = ctypes.CDLL(str(path))

    def convert(
        self,
        frame: NDArray[np.uint8],
        size: tuple[int, int],
        kind: str,
        box: tuple[int, ...],
        crop: Crop,
    ) -> tuple[int, NDArray[np.uint8]]:
        """(answer, the input's bytes) for a frame's rows of bytes, `size` in pixels (height,
        width)."""
        out = np.full(self.spec.shape, 77, np.uint8)
        form = FORMATS.index(kind)
        c_frame = Frame(frame.ctypes.data, size[1], size[0], frame.strides[0], form)
        corners, geometry = Box(*box), CCrop(crop.scale_q10, crop.shift_x_q10, crop.shift_y_q10)
        answer = self.c.edgeemo_face_to_input(
            ctypes.byref(c_frame),
            ctypes.byref(corners),
            ctypes.byref(geometry),
            ctypes.c_void_p(out.ctypes.data),
        )
        return answer, out


BUILDS = [(DEFAULT_SPEC, compiler) for compiler in COMPILERS]
BUILDS += [(spec, "gcc -O2") for spec in SPECS[1:]]


@pytest.fixture(scope="module", params=BUILDS, ids=lambda b: f"{b[0].size} {b[1]}")
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    spec, build = request.param
    return Library(spec, *build.split(), tmp_path_factory.mktemp("preprocess"))


def yuv_to_rgb(y: int, u: int, v: int) -> tuple[int, ...]:
    """Full-range BT.601 as JFIF has it, coefficients in 1/65536, halves up, in exact fractions."""
    red = Fraction(91881, 65536) * (v - 128)
    green = -Fraction(22554, 65536) * (u - 128) - Fraction(46802, 65536) * (v - 128)
    blue = Fraction(116130, 65536) * (u - 128)
    half = Fraction(1, 2)
    return tuple(min(max(y + floor(part + half), 0), 255) for part in (red, green, blue))


def as_yuyv(
    values: NDArray[np.uint8], channels: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Rows of whole pairs Y U Y V, and the frame: Y alone for grey, converted for RGB."""
    height, width = values.shape[:2]
    pairs = np.zeros((height, width + width % 2, 2), np.uint8)
    pairs[:, :width] = values[..., :2]
    rows = pairs.reshape(height, -1)
    if channels == 1:
        return rows, values[..., 0]
    rgb = [
        [
            yuv_to_rgb(int(row[2 * x]), int(row[x // 2 * 4 + 1]), int(row[x // 2 * 4 + 3]))
            for x in range(width)
        ]
        for row in rows
    ]
    return rows, np.array(rgb, np.uint8)


def as_bytes(
    rgb: NDArray[np.uint8], kind: str, channels: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame's rows in a camera's format, and the RGB or grey frame that it stands for."""
    height = len(rgb)
    if kind == "grey8":
        return rgb[..., 0].copy(), rgb[..., 0]
    if kind == "yuyv":
        return as_yuyv(rgb, channels)
    if kind in ("rgb888", "bgr888"):
        return (rgb if kind == "rgb888" else rgb[..., ::-1]).reshape(height, -1).copy(), rgb
    five = (rgb >> np.array([3, 2, 3], np.uint8)).astype(np.uint16)
    packed = five[..., 0] << 11 | five[..., 1] << 5 | five[..., 2]
    rows = packed.astype(">u2" if kind == "rgb565_be" else "<u2").view(np.uint8).reshape(height, -1)
    # 31 and 63 are full brightness; the bits are repeated below.
    wide = np.stack(
        [
            five[..., 0] * 8 + five[..., 0] // 4,
            five[..., 1] * 4 + five[..., 1] // 16,
            five[..., 2] * 8 + five[..., 2] // 4,
        ],
        -1,
    )
    return rows, wide.astype(np.uint8)


@settings(max_examples=120, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from(FORMATS),
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
    st.tuples(
        *(st.integers(-120, 120), st.integers(-120, 120)),
        *(st.integers(-2, 300), st.integers(-2, 300)),
    ),
    st.builds(Crop, st.integers(256, 4096), st.integers(-1024, 1024), st.integers(-1024, 1024)),
)
@example((60, 60), "rgb888", 0, 1, (6, 6, 48, 48), Crop())
@example((90, 90), "rgb565_be", 3, 2, (0, 0, 90, 90), Crop(scale_q10=4096))
@example((1, 1), "yuyv", 0, 3, (0, 0, 1, 1), Crop())
@example((9, 40), "yuyv", 0, 3, (-20, 0, 90, 9), Crop(shift_y_q10=-300))
def test_bytes_and_refusals_are_the_contracts(
    library: Library,
    size: tuple[int, int],
    kind: str,
    spare: int,
    seed: int,
    box: tuple[int, int, int, int],
    crop: Crop,
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    rows, frame = as_bytes(rgb, kind, library.spec.channels)
    rows = np.ascontiguousarray(np.pad(rows, ((0, 0), (0, spare)), constant_values=99))
    answer, pixels = library.convert(rows, size, kind, box, crop)
    try:
        expected = face_to_input(np.ascontiguousarray(frame), box, library.spec, crop)
    except InvalidInput:
        assert answer == -2
        assert (pixels == 77).all()
    else:
        assert answer == 0
        assert np.array_equal(pixels, expected)


def test_the_golden_vectors_are_reproduced(tmp_path: Path) -> None:
    built: dict[str, Library] = {}
    cases = golden_cases()
    for case in cases:
        size = case.spec.size
        if size not in built:
            (tmp_path / size).mkdir()
            built[size] = Library(case.spec, "gcc", "-O2", tmp_path / size)
        kind = "grey8" if case.frame.ndim == 2 else "rgb888"
        rows = np.ascontiguousarray(case.frame.reshape(len(case.frame), -1))
        answer, pixels = built[size].convert(rows, case.frame.shape[:2], kind, case.box, case.crop)
        assert answer == 0
        assert pixels.tobytes() == case.output.tobytes(), (case.box, size)
    assert len(built) > 3


def test_yuyv_is_jfifs_colour_within_one() -> None:
    rng = np.random.default_rng(4)
    for y, u, v in rng.integers(0, 256, (2000, 3)).tolist():
        real = (
            y + 1.402 * (v - 128),
            y - 0.344136 * (u - 128) - 0.714136 * (v - 128),
            y + 1.772 * (u - 128),
        )
        assert np.abs(np.array(yuv_to_rgb(y, u, v)) - np.clip(real, 0, 255)).max() <= 0.51


@pytest.mark.parametrize("side", [47, 48, 49, 96, 97, 1000, 4096])
@pytest.mark.parametrize("value", [None, 255])
def test_large_regions_neither_overflow_nor_round_differently(
    library: Library, side: int, value: int | None
) -> None:
    frame = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    if value is not None:
        frame[:] = value
    box = (0, 0, side, side)
    answer, pixels = library.convert(frame, (side, side), "grey8", box, Crop())
    assert answer == 0
    assert np.array_equal(pixels, face_to_input(frame, box, library.spec))


def test_frames_that_are_none_are_refused(library: Library) -> None:
    frame = np.zeros((8, 8), np.uint8)
    for size in ((0, 8), (8, 0), (-1, 8), (8, 4097), (4097, 8)):
        assert library.convert(frame, size, "grey8", (0, 0, 4, 4), Crop())[0] == -1
    # A stride of 8 for 24 bytes.
    assert library.convert(frame, (8, 8), "rgb888", (0, 0, 4, 4), Crop())[0] == -1
    # Half a pair of YUYV: its Y is there, its V is not.
    half = np.zeros((8, 14), np.uint8)
    answer = library.convert(half, (8, 7), "yuyv", (0, 0, 4, 4), Crop())[0]
    assert answer == (0 if library.spec.channels == 1 else -1)
    for box in ((2**31 - 1, 0, 4, 4), (0, 0, 2**31 - 1, 4), (-(2**31), 0, 4, 4)):
        assert library.convert(frame, (8, 8), "grey8", box, Crop())[0] == -2


SANITIZED = """
#include "edgeemo_preprocess.h"
#include <stdlib.h>
int main(void)
{
    static uint8_t out[EDGEEMO_INPUT_BYTES];
    for (int turn = 0; turn < 4000; ++turn) {
        edgeemo_frame f;
        edgeemo_box box = {rand() % 200 - 100, rand() % 200 - 100, rand() % 200, rand() % 200};
        edgeemo_crop crop = {rand() % 4096, rand() % 2048 - 1024, rand() % 2048 - 1024};
        uint8_t *pixels;
        f.width = 1 + rand() % 70;
        f.height = 1 + rand() % 70;
        f.format = (edgeemo_pixel_format)(rand() % 6);
        f.stride = f.format == EDGEEMO_YUYV ? (f.width + 1) / 2 * 4 : f.width * 3;
        pixels = calloc((size_t)(f.stride * f.height), 1);
        f.pixels = pixels;
        if (turn % 50 == 0) {
            box.x = (int32_t)((uint32_t)rand() << 1);
            box.width = rand();
        }
        (void)edgeemo_face_to_input(&f, &box, &crop, out);
        free(pixels);
    }
    return 0;
}
"""


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.size)
def test_sanitizers_find_nothing(spec: InputSpec, tmp_path: Path) -> None:
    (tmp_path / "model_settings.h").write_text(defines(spec))
    (tmp_path / "main.c").write_text(SANITIZED)
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")
    run(
        "gcc",
        *flags,
        f"-I{tmp_path}",
        f"-I{C}",
        "-o",
        tmp_path / "try",
        tmp_path / "main.c",
        C / "edgeemo_preprocess.c",
    )
    run(tmp_path / "try")


def printed(header: str, tmp_path: Path, expressions: Iterable[str]) -> list[str]:
    """What a C program that includes the header prints for expressions, as texts or numbers."""
    (tmp_path / "model_settings.h").write_text(header)
    lines = [
        f'    printf("%s\\n", {expression});\n'
        if expression.startswith("(const char *)")
        else f'    printf("%ld\\n", (long)({expression}));\n'
        for expression in expressions
    ]
    (tmp_path / "say.c").write_text(
        '#include "model_settings.h"\n#include <stdio.h>\n'
        "static const char *labels[EDGEEMO_LABEL_COUNT] = EDGEEMO_LABELS;\n"
        "static const int yunet[3] = EDGEEMO_CROP_YUNET, mine[3] = EDGEEMO_CROP_MINE_2;\n"
        "int main(void)\n{\n    (void)labels;\n    (void)yunet;\n    (void)mine;\n"
        f"{''.join(lines)}    return 0;\n}}\n"
    )
    run("gcc", *STRICT, f"-I{tmp_path}", "-o", tmp_path / "say", tmp_path / "say.c")
    return run(tmp_path / "say").splitlines()


def test_settings_are_the_bundles(tmp_path: Path) -> None:
    shipped = read_bundle(find_model("nano")).manifest
    # A crop for a detector of another package, and none for YuNet, whose own stands then.
    manifest = replace(shipped, crops={"haar": Crop(1100), "mine-2": Crop(900, 3, -4)})
    header = settings_header(manifest, "ab" * 32, Quantization(0.05, -7), 4)
    assert "#define EDGEEMO_CROP_HAAR {1100, 0, 0}\n" in header
    assert "#define EDGEEMO_CROP_WHOLE {1024, 0, 0}\n" in header
    crop = YuNet.crop
    expected = {
        "(const char *)EDGEEMO_MODEL_NAME": manifest.name,
        "(const char *)EDGEEMO_MODEL_SHA256": "ab" * 32,
        "(const char *)EDGEEMO_INPUT_FINGERPRINT": manifest.input_fingerprint,
        **{f"(const char *)labels[{i}]": label for i, label in enumerate(LABELS)},
        **{f"EDGEEMO_LABEL_{label.upper()}": i for i, label in enumerate(LABELS)},
        "EDGEEMO_INPUT_BYTES": 48 * 48,
        "EDGEEMO_INPUT_CHANNELS": 1,
        "mine[0] * 10000 + mine[1] * 100 + mine[2]": 900 * 10000 + 3 * 100 - 4,
        "EDGEEMO_LOGITS_ZERO": -7,
        "EDGEEMO_LOGITS_SCALE_Q24": round(0.05 * 2**24),
        "EDGEEMO_SMOOTHING_HOLD_MS": round(manifest.smoothing.hold_time * 1000),
        "EDGEEMO_SMOOTHING_FLOOR_Q15": round(manifest.smoothing.floor * 32768),
        "yunet[2]": crop.shift_y_q10,
        "yunet[0]": crop.scale_q10,
        "EDGEEMO_VECTOR_COUNT": 4,
    }
    answers = printed(header, tmp_path, expected)
    assert dict(zip(expected, answers, strict=True)) == {k: str(v) for k, v in expected.items()}


def test_a_hostile_name_stays_a_string() -> None:
    manifest = replace(
        read_bundle(find_model("nano")).manifest, name='a" */\n#error\n\\', version='1"'
    )
    header = settings_header(manifest, "00", Quantization(0.05, 0), 1)
    line = next(line for line in header.splitlines() if "MODEL_NAME" in line)
    assert line == r'#define EDGEEMO_MODEL_NAME "a\042 */\012#error\012\134"'
    assert not any(line.startswith("#error") for line in header.splitlines())


LABELS_PROGRAM = """
#include "model_settings.h"
#include <stdio.h>
int main(void)
{
    static const char *const labels[EDGEEMO_LABEL_COUNT] = EDGEEMO_LABELS;
    for (int i = 0; i < EDGEEMO_LABEL_COUNT; ++i) {
        fwrite(labels[i], 1, strlen(labels[i]), stdout);
        putchar(10);
    }
    return 0;
}
"""
NASTY = (
    "??/", "\\", '"', "%s%n", "a??)b", "\u00e97", "\u4e2d\u6587", "x*/y", "//", "count", "Count",
    "a b",
    "a-b", "a_b", "A B", "3", "\U0001f600", "\u00df", "angry", "angry_18", "#define X", "'",
)  # fmt: skip


def written_labels(labels: tuple[str, ...], folder: Path, *flags: str) -> tuple[str, list[str]]:
    """The header for `labels`, and what a C program prints of them."""
    manifest = replace(read_bundle(find_model("nano")).manifest, labels=labels)
    header = settings_header(manifest, "00", Quantization(0.05, 0), 1)
    (folder / "model_settings.h").write_text(header)
    (folder / "say.c").write_text("#include <string.h>" + LABELS_PROGRAM)
    run("gcc", *STRICT, *flags, f"-I{folder}", "-o", folder / "say", folder / "say.c")
    return header, run(folder / "say", encoding="utf-8").split("\n")[:-1]


@pytest.mark.parametrize("standard", ["-std=c99", "-std=gnu17", "-trigraphs"])
def test_any_label_is_written_as_it_is_and_has_a_number_of_its_own(
    standard: str, tmp_path: Path
) -> None:
    check_labels(NASTY, "test")
    header, printed_labels = written_labels(NASTY, tmp_path, standard)
    assert printed_labels == list(NASTY)
    assert header.isascii()
    numbers = re.findall(r"^#define EDGEEMO_LABEL_([A-Z0-9_]+) (\d+)$", header, re.MULTILINE)
    assert len({name for name, _ in numbers}) == len(numbers) == len(NASTY) + 1
    assert numbers[0] == ("COUNT", str(len(NASTY)))
    assert [int(number) for _, number in numbers[1:]] == list(range(len(NASTY)))
    assert ("ANGRY", str(NASTY.index("angry"))) in numbers


LABEL = st.text(
    st.characters(exclude_categories=("C", "Zs", "Zl", "Zp")), min_size=1, max_size=48
).filter(lambda text: text.isprintable() and text == text.strip())


@settings(max_examples=12, deadline=None)
@given(st.lists(LABEL, min_size=2, max_size=64, unique=True).map(tuple))
def test_drawn_labels_are_written_as_they_are(labels: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        header, printed_labels = written_labels(labels, Path(folder))
    assert printed_labels == list(labels)
    names = re.findall(r"^#define EDGEEMO_LABEL_([A-Z0-9_]+) \d+$", header, re.MULTILINE)
    assert len(set(names)) == len(names) == len(labels) + 1
