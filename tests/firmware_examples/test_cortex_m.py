"""The Cortex-M example in QEMU: it answers as LiteRT's reference kernels do, bit for bit, and says
when it is damaged."""

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.firmware.image import vectors
from edgeemo.firmware.network import bundle_network, integer_artifact
from edgeemo.models import find_model
from export.firmware.generate import Firmware, generate
from tests.export.firmware import drawn_networks
from tests.export.firmware.firmware_support import Reference, drawn_bundle
from tests.export.firmware.test_firmware import NETWORKS, drawn_tflite
from tests.support import REPOSITORY, SHARED, drawn_faces

EXAMPLE = REPOSITORY / "firmware_examples" / "cortex_m"
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "make")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
# What the cores answer; without the DSP instructions it takes twice as long, so a part of them.
FACES = 200

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (./scripts/system-packages)"
)


class Board:
    """A copy of the example beside generated C of a bundle; `run` builds it and runs it in QEMU."""

    def __init__(
        self, bundle: Bundle, folder: Path, detector: DetectorBundle | None = None
    ) -> None:
        self.bundle, self.folder, self.detector = bundle, folder, detector
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build", "*.bin"))
        # The Makefile compiles everything each time.
        compiler = folder / "arm-none-eabi-gcc"
        words = shlex.join([sys.executable, "-S", str(REPOSITORY / "tests" / "objects.py")])
        compiler.write_text(f'#!/bin/sh\nexec {words} {compiler.name} "$@"\n')
        compiler.chmod(0o755)
        self.generated = folder / "generated"
        self.firmware: Firmware = generate(
            bundle, self.generated, target="cortex-m", detector=detector
        )

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [
                "make",
                "-C",
                self.folder,
                "GENERATED=generated",
                "CROSS=./arm-none-eabi-",
                *(["DETECTOR=generated"] if self.detector else []),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    def run(
        self, pixels: NDArray[np.uint8], *arguments: str
    ) -> tuple[NDArray[np.int8], dict[str, int]]:
        """int8 (N, labels) logits of uint8 (N, H, W, C), and the numbers that were printed."""
        pixels.tofile(self.folder / "faces.bin")
        done = self.make(*arguments)
        assert done.returncode == 0, done.stdout
        logits = np.fromfile(self.folder / "logits.bin", np.int8)
        return logits.reshape(len(pixels), len(self.bundle.labels)), numbers(done.stdout)

    def refuse(self, *arguments: str) -> str:
        """What the program prints before it ends with a failure."""
        done = self.make(*arguments)
        assert done.returncode != 0, done.stdout
        assert re.search(r"\[Makefile:\d+: run-m\d\] Error 1$", done.stdout, re.MULTILINE), (
            done.stdout
        )
        return done.stdout

    def damage(self, content: bytes) -> None:
        """Flip a bit in the middle of `content` where it lies in the program."""
        elf = self.folder / "build" / "m4.elf"
        data = bytearray(elf.read_bytes())
        assert data.count(content) == 1
        data[data.index(content) + len(content) // 2] ^= 0x10
        elf.write_bytes(data)


# Runs what has been built, although a build of its own would be the target's first step.
AS_IT_IS = ("-o", "build/m4.elf", "run-m4")


def numbers(text: str) -> dict[str, int]:
    return {
        name: int(value)
        for name, value in re.findall(r"^([a-zA-Z][\w ,-]*) (\d+)$", text, re.MULTILINE)
    }


def reference_logits(bundle: Bundle, pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """int8 (N, 7): the oracle, TFLite's reference kernels on this machine."""
    reference = Reference(bundle.files[integer_artifact(bundle).file])
    return np.stack([reference.logits(picture) for picture in pixels])


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    """uint8 (200, 48, 48, 1): faces of PublicTest, of every class; drawn ones where the shared data
    is not there."""
    path = SHARED / "data" / "fer2013.zip"
    if not path.exists():
        return drawn_faces(FACES - 2)
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if "PublicTest" in name)
        names = names[:: len(names) // FACES][:FACES]
        files = [np.frombuffer(archive.read(name), np.uint8) for name in names]
    return np.stack([cv2.imdecode(file, cv2.IMREAD_GRAYSCALE) for file in files])[..., np.newaxis]


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return Board(read_bundle(find_model("nano")), tmp_path_factory.mktemp("nano") / "cortex_m")


@pytest.fixture(scope="module")
def nano_logits(nano: Board, faces: NDArray[np.uint8]) -> NDArray[np.int8]:
    return reference_logits(nano.bundle, faces)


@pytest.fixture
def tiny(tiny_bundle: Path, tmp_path: Path) -> Board:
    return Board(read_bundle(tiny_bundle), tmp_path / "cortex_m")


@pytest.mark.parametrize(
    ("core", "options", "count"),
    [
        ("m4", ("DSP=1",), FACES),
        ("m7", ("DSP=1",), FACES),
        ("m4", ("DSP=0",), 40),
        ("m7", ("DSP=0",), 20),
    ],
)
def test_nano_answers_as_the_reference_kernels(
    nano: Board,
    faces: NDArray[np.uint8],
    nano_logits: NDArray[np.int8],
    core: str,
    options: tuple[str, ...],
    count: int,
) -> None:
    answers, printed = nano.run(faces[:count], f"run-{core}", *options)
    assert np.array_equal(answers, nano_logits[:count])
    assert len(np.unique(answers.argmax(axis=1))) > 1
    assert printed["faces"] == count
    assert printed["arena bytes"] == nano.firmware.arena_bytes


def test_small_answers_as_the_reference_kernels(faces: NDArray[np.uint8], tmp_path: Path) -> None:
    board = Board(read_bundle(find_model("small")), tmp_path / "cortex_m")
    answers, _ = board.run(faces[::10], "run-m4")
    assert np.array_equal(answers, reference_logits(board.bundle, faces[::10]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rgb 112x112", ("run-m4", "DSP=1")),
        ("rgb 96x64", ("run-m7", "DSP=1")),
        ("rgb 96x64", ("run-m4", "DSP=0")),
        ("scaled by channel", ("run-m4", "DSP=1")),
    ],
)
def test_other_inputs_and_labels_answer_as_the_reference_kernels(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    board = Board(drawn_networks.bundle_of(name, tmp_path), tmp_path / "cortex_m")
    pixels = drawn_networks.drawn_pixels(board.bundle.spec, 4)
    answers, printed = board.run(pixels, *options)
    reference = drawn_networks.reference_of(name)
    assert np.array_equal(answers, np.stack([reference.logits(picture) for picture in pixels]))
    assert printed["self-test passed, patterns"] == 4


@pytest.mark.parametrize("core", ["m4", "m7"])
@pytest.mark.parametrize(
    "options", [("DSP=1",), ("DSP=0",), ("OPT=-O0",), ("OPT=-Os",), ("OPT=-O3", "FLOAT=hard")]
)
def test_tiny_answers_as_the_reference_kernels(
    tiny: Board, core: str, options: tuple[str, ...]
) -> None:
    pixels = drawn_faces(28)
    answers, printed = tiny.run(pixels, f"run-{core}", *options)
    assert np.array_equal(answers, reference_logits(tiny.bundle, pixels))
    assert printed["self-test passed, patterns"] == len(
        vectors(tiny.bundle, bundle_network(tiny.bundle))[0]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kernel_answers_on_helium_as_the_reference_kernels(name: str, tmp_path: Path) -> None:
    model = drawn_tflite(name)
    bundle = drawn_bundle(model, DEFAULT_SPEC, LABELS, tmp_path / "drawn.edgeemo")
    board, pixels = Board(bundle, tmp_path / "cortex_m"), drawn_faces(28)
    expected = reference_logits(bundle, pixels)
    for options in (("OPT=-O2",), ("OPT=-Os",), ("OPT=-O0",), ("MVE=0",), ("CLANG=clang",)):
        answers, _ = board.run(pixels, "run-m55", *options)
        assert np.array_equal(answers, expected), options


def test_helium_needs_a_sixth_of_the_instructions_of_plain_c_for_the_same_answers(
    nano: Board, faces: NDArray[np.uint8], nano_logits: NDArray[np.int8]
) -> None:
    counted = []
    for options in (("MVE=0", "DSP=0"), ("MVE=1",)):
        answers, printed = nano.run(faces[:2], "run-m55", *options)
        assert np.array_equal(answers, nano_logits[:2])
        assert abs(printed["instructions of a loop of 8000000"] - 8_000_000) < 8_000
        counted.append(printed["instructions per inference, at most"])
    assert counted[0] >= 6 * counted[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_clang_needs_no_more_instructions_than_gcc(
    nano: Board, faces: NDArray[np.uint8], nano_logits: NDArray[np.int8]
) -> None:
    counted = {}
    for compiler in ("", "clang"):
        answers, printed = nano.run(faces[:4], "run-m4", f"CLANG={compiler}")
        assert np.array_equal(answers, nano_logits[:4])
        counted[compiler] = printed["instructions per inference, at most"]
    assert counted["clang"] <= 1.05 * counted[""]


def test_a_known_loop_is_counted_right_and_smlad_saves_instructions(nano: Board) -> None:
    counted = {}
    for dsp in (0, 1):
        _, printed = nano.run(drawn_faces(1), "run-m4", f"DSP={dsp}")
        assert abs(printed["instructions of a loop of 8000000"] - 8_000_000) < 8_000
        counted[dsp] = printed["instructions per inference, at most"]
    assert counted[0] >= 1.8 * counted[1]
    assert counted[1] > bundle_network(nano.bundle).layers[0].multiply_accumulates


def test_memory_and_the_time_of_a_start_are_what_was_promised(nano: Board) -> None:
    _, printed = nano.run(drawn_faces(1), "run-m4")
    pixels_and_logits = 2304 + 7
    assert 64 < printed["stack bytes"] < 1024
    assert printed["instructions of edgeemo_init"] < 11 * nano.firmware.table_bytes
    statics = printed["RAM bytes in all"] - printed["stack bytes"]
    assert 0 <= statics - nano.firmware.arena_bytes - pixels_and_logits < 16


@pytest.mark.parametrize("field", ["table", "bias", "multiplier", "shift"])
def test_a_flipped_bit_in_flash_is_noticed_before_the_first_face(tiny: Board, field: str) -> None:
    tiny.run(drawn_faces(1), "run-m4")
    layers = bundle_network(tiny.bundle).layers
    values = max((getattr(layer, field) for layer in layers), key=lambda array: array.nbytes)
    tiny.damage(values.astype(values.dtype.newbyteorder("<")).tobytes())
    text = tiny.refuse(*AS_IT_IS)
    assert "the tables in flash are damaged" in text
    assert "faces" not in numbers(text)


def test_a_self_test_that_fails_says_at_which_pattern(tiny: Board) -> None:
    tiny.run(drawn_faces(1), "run-m4")
    _, promised = vectors(tiny.bundle, bundle_network(tiny.bundle))
    tiny.damage(promised.tobytes())
    middle = promised.size // 2
    assert numbers(tiny.refuse(*AS_IT_IS))["self-test failed at pattern"] == middle // 7 + 1


def test_a_fault_ends_the_program_and_says_where(tiny: Board) -> None:
    source = tiny.generated / "edgeemo_model.c"
    call = "    int8_t *arena = memory.bytes;\n"
    text = source.read_text()
    assert text.count(call) == 1
    source.write_text(text.replace(call, call + '    __asm__ volatile("udf #0");\n'))
    drawn_faces(1).tofile(tiny.folder / "faces.bin")
    printed = tiny.refuse("run-m4")
    pc = int(re.findall(r"^fault: pc 0x([0-9a-f]{8})$", printed, re.MULTILINE)[0], 16)
    where = subprocess.run(
        ["arm-none-eabi-addr2line", "-f", "-e", tiny.folder / "build" / "m4.elf", hex(pc)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.splitlines()[0] == "edgeemo_infer"


def test_a_face_cut_off_is_an_error(tiny: Board) -> None:
    (tiny.folder / "faces.bin").write_bytes(drawn_faces(1).tobytes()[:-1])
    assert "ends in the middle of a face" in tiny.refuse("run-m7")


def test_too_little_ram_is_told_by_the_linker(nano: Board) -> None:
    assert nano.make("build/m4.elf", "RAM=16K").returncode != 0
    arena_but_no_stack = nano.firmware.arena_bytes + 2304 + 64
    done = nano.make("build/m4.elf", f"RAM={arena_but_no_stack}")
    assert done.returncode != 0
    assert "less than 2 KB of RAM is left for the stack" in done.stdout
    assert nano.make("build/m4.elf", "RAM=32K", "FLASH=128K").returncode == 0


def test_make_alone_generates_the_c_and_the_faces(tiny: Board, tiny_bundle: Path) -> None:
    # By a path from the example's folder, as the README has it, although Python runs at the root of
    # the checkout.
    python = tiny.folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [
            "make",
            "-C",
            tiny.folder,
            "run-m4",
            f"BUNDLE={tiny_bundle}",
            f"ROOT={REPOSITORY}",
            "PYTHON=bin/python",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    inputs = tiny.bundle.selftest().inputs
    assert np.array_equal(
        np.fromfile(tiny.folder / "faces.bin", np.uint8).reshape(inputs.shape), inputs
    )
    answers = np.fromfile(tiny.folder / "logits.bin", np.int8).reshape(-1, 7)
    assert np.array_equal(answers, reference_logits(tiny.bundle, inputs))
