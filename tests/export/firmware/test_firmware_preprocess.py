"""The C preprocessing gives the very bytes of contract.face_to_input, and the settings header the bundle's own values."""

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC, Crop, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.preprocess import face_to_input
from edgeemo.contract.quantize import Quantization
from edgeemo.errors import InvalidInput
from edgeemo.models import find_model
from export.firmware.settings import settings_header
from tests.export.firmware.firmware_support import STRICT, C, program, run

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
        ("pixels", ctypes.c_void_p), ("width", ctypes.c_int32), ("height", ctypes.c_int32), ("stride", ctypes.c_int32),
        ("format", ctypes.c_int),
    ]  # fmt: skip


class Box(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int32) for n in ("x", "y", "width", "height")]


class CCrop(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int32) for n in ("scale_q10", "shift_x_q10", "shift_y_q10")]


@pytest.fixture(scope="module", params=["gcc -O0", "gcc -O2", "clang -Os"])
def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    compiler, level = request.param.split()
    program(compiler)
    folder = tmp_path_factory.mktemp("preprocess")
    (folder / "model_settings.h").write_text(
        "#define EDGEEMO_INPUT_SIDE 48\n#define EDGEEMO_INPUT_BYTES 2304\n"
    )
    path = folder / "preprocess.so"
    run(
        compiler,
        level,
        *STRICT,
        "-Wsign-conversion",
        f"-I{folder}",
        f"-I{C}",
        "-shared",
        "-fPIC",
        "-o",
        path,
        C / "edgeemo_preprocess.c",
    )
    return ctypes.CDLL(str(path))


def convert(
    library: ctypes.CDLL,
    frame: NDArray[np.uint8],
    size: tuple[int, int],
    kind: str,
    box: tuple[int, ...],
    crop: Crop,
) -> tuple[int, NDArray[np.uint8]]:
    """(answer, 48x48 bytes) for a frame's rows of bytes, `size` in pixels (height, width)."""
    out = np.full((48, 48, 1), 77, np.uint8)
    c_frame = Frame(frame.ctypes.data, size[1], size[0], frame.strides[0], FORMATS.index(kind))
    corners, geometry = Box(*box), CCrop(crop.scale_q10, crop.shift_x_q10, crop.shift_y_q10)
    answer = library.edgeemo_face_to_input(
        ctypes.byref(c_frame),
        ctypes.byref(corners),
        ctypes.byref(geometry),
        ctypes.c_void_p(out.ctypes.data),
    )
    return answer, out


def as_bytes(rgb: NDArray[np.uint8], kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame's rows in a camera's format, and the RGB or grey frame that it stands for."""
    height = len(rgb)
    if kind == "grey8":
        return rgb[..., 0].copy(), rgb[..., 0]
    if kind == "yuyv":
        rows = np.stack([rgb[..., 0], rgb[..., 1]], -1).reshape(height, -1)  # Y, and U or V
        return rows, rgb[..., 0]
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
    st.integers(1, 90), st.integers(1, 90), st.sampled_from(FORMATS), st.integers(0, 9), st.integers(0, 2**32 - 1),
    st.integers(-120, 120), st.integers(-120, 120), st.integers(-2, 300), st.integers(-2, 300),
    st.builds(Crop, st.integers(256, 4096), st.integers(-1024, 1024), st.integers(-1024, 1024)),
)  # fmt: skip
@example(60, 60, "rgb888", 0, 1, 6, 6, 48, 48, Crop())
@example(90, 90, "rgb565_be", 3, 2, 0, 0, 90, 90, Crop(scale_q10=4096))
@example(1, 1, "yuyv", 0, 3, 0, 0, 1, 1, Crop())
def test_bytes_and_refusals_are_the_contracts(
    library: ctypes.CDLL,
    height: int,
    width: int,
    kind: str,
    spare: int,
    seed: int,
    x: int,
    y: int,
    w: int,
    h: int,
    crop: Crop,
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, stands_for = as_bytes(rgb, kind)
    rows = np.ascontiguousarray(np.pad(rows, ((0, 0), (0, spare)), constant_values=99))
    answer, found = convert(library, rows, (height, width), kind, (x, y, w, h), crop)
    spec = InputSpec(crops={"whole": crop})
    try:
        expected = face_to_input(np.ascontiguousarray(stands_for), (x, y, w, h), spec)
    except InvalidInput:
        assert answer == -2
        assert (found == 77).all()
    else:
        assert answer == 0
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("side", [47, 48, 49, 96, 97, 1000, 4096])
@pytest.mark.parametrize("value", [None, 255])
def test_large_squares_neither_overflow_nor_round_differently(
    library: ctypes.CDLL, side: int, value: int | None
) -> None:
    frame = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    if value is not None:
        frame[:] = value
    answer, found = convert(library, frame, (side, side), "grey8", (0, 0, side, side), Crop())
    assert answer == 0
    assert np.array_equal(found, face_to_input(frame, (0, 0, side, side)))


def test_frames_that_are_none_are_refused(library: ctypes.CDLL) -> None:
    frame = np.zeros((8, 8), np.uint8)
    for size in ((0, 8), (8, 0), (-1, 8), (8, 4097), (4097, 8)):
        assert convert(library, frame, size, "grey8", (0, 0, 4, 4), Crop())[0] == -1
    assert (
        convert(library, frame, (8, 8), "rgb888", (0, 0, 4, 4), Crop())[0] == -1
    )  # a stride of 8 for 24 bytes
    for box in ((2**31 - 1, 0, 4, 4), (0, 0, 2**31 - 1, 4), (-(2**31), 0, 4, 4)):
        assert convert(library, frame, (8, 8), "grey8", box, Crop())[0] == -2


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
        f.stride = f.width * 3;
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


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    (tmp_path / "model_settings.h").write_text(
        "#define EDGEEMO_INPUT_SIDE 48\n#define EDGEEMO_INPUT_BYTES 2304\n"
    )
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


def printed(header: str, tmp_path: Path, expression: str) -> str:
    """What a C program that includes the header prints for an expression, as text or number."""
    (tmp_path / "model_settings.h").write_text(header)
    form = "%s" if expression.startswith("(const char *)") else "%ld"
    kind = "" if form == "%s" else "(long)"
    (tmp_path / "say.c").write_text(
        '#include "model_settings.h"\n#include <stdio.h>\nstatic const char *labels[] = EDGEEMO_LABELS;\n'
        "static const int yunet[3] = EDGEEMO_CROP_YUNET;\n"
        f'int main(void)\n{{\n    (void)labels;\n    (void)yunet;\n    printf("{form}", {kind}{expression});\n    return 0;\n}}\n'
    )
    run("gcc", *STRICT, f"-I{tmp_path}", "-o", tmp_path / "say", tmp_path / "say.c")
    return run(tmp_path / "say")


def test_settings_are_the_bundles(tmp_path: Path) -> None:
    manifest = read_bundle(find_model("nano")).manifest
    header = settings_header(manifest, "ab" * 32, Quantization(0.05, -7), 4)
    crop = DEFAULT_SPEC.crops["yunet"]
    for expression, value in {
        "(const char *)EDGEEMO_MODEL_NAME": manifest.name,
        "(const char *)EDGEEMO_MODEL_SHA256": "ab" * 32,
        "(const char *)EDGEEMO_INPUT_FINGERPRINT": manifest.input_fingerprint,
        **{f"(const char *)labels[{i}]": label for i, label in enumerate(LABELS)},
        **{f"EDGEEMO_LABEL_{label.upper()}": i for i, label in enumerate(LABELS)},
        "EDGEEMO_INPUT_BYTES": 48 * 48,
        "EDGEEMO_LOGITS_ZERO": -7,
        "EDGEEMO_LOGITS_SCALE_Q24": round(0.05 * 2**24),
        "EDGEEMO_SMOOTHING_HOLD_MS": round(manifest.smoothing.hold_time * 1000),
        "EDGEEMO_SMOOTHING_FLOOR_Q15": round(manifest.smoothing.floor * 32768),
        "yunet[2]": crop.shift_y_q10,
        "yunet[0]": crop.scale_q10,
        "EDGEEMO_VECTOR_COUNT": 4,
    }.items():
        assert printed(header, tmp_path, expression) == str(value)


def test_a_hostile_name_stays_a_string() -> None:
    manifest = replace(
        read_bundle(find_model("nano")).manifest, name='a" */\n#error\n\\', version='1"'
    )
    header = settings_header(manifest, "00", Quantization(0.05, 0), 1)
    line = next(line for line in header.splitlines() if "MODEL_NAME" in line)
    assert line == '#define EDGEEMO_MODEL_NAME "a______error__"'
    assert "#error" not in header
