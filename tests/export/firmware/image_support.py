"""A small network of every kernel as a flash image, and `image_driver.c`, which draws hostile ones,
compiled for it."""

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Manifest
from edgeemo.contract.quantize import Quantization
from edgeemo.firmware.exponential import exponentials_q31
from edgeemo.firmware.image import network_image
from edgeemo.firmware.layers import ADDITIONS, PRODUCTS, Layer, Network, Op
from edgeemo.models import find_model
from export.firmware.settings import settings_header
from tests.export.firmware.firmware_support import STRICT, C, compile_c, program

DRIVER = Path(__file__).with_name("image_driver.c")
SPEC, LABELS = InputSpec(height=8, width=8, channels=3), ("calm", "tense")
ARENA_BYTES = 65536  # as in image_driver.c
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Images that sum for long would be the slow ones.
SHORT = "-DEDGEEMO_IMAGE_MAX_WORK=4000000"
# What the kernels ask the processor for: AVX2 is there, VNNI is not.
NO_VNNI = '-D__builtin_cpu_supports(name)=(sizeof(name)==sizeof("avx2"))'


def manifest() -> Manifest:
    """The shipped model's, of another input and other labels."""
    shipped = read_bundle(find_model("nano")).manifest
    return replace(shipped, input_spec=SPEC, input_fingerprint=SPEC.fingerprint(), labels=LABELS)


def layers() -> dict[str, Layer]:
    """One layer of every kernel, from 8 x 8 x 3 pixels to two logits; drawn, small numbers."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray[Any, np.dtype[np.int8]]:
        return rng.integers(-100, 100, shape).astype(np.int8)

    def numbers(count: int) -> dict[str, Any]:
        return {
            "bias": rng.integers(-900, 900, count).astype(np.int32),
            "multiplier": rng.integers(1 << 30, (1 << 31) - 1, count).astype(np.int32),
            "shift": np.full(count, -7, np.int8),
        }

    def sources(size: int, *sides: int) -> np.ndarray[Any, np.dtype[np.int8]]:
        return rng.integers(0, 2, (sum(sides), size // 2)).astype("<u2").view(np.int8).ravel()

    square: dict[str, Any] = {"kernel": (3, 3), "pad": (1, 1)}
    steps = (
        (Op.LOOKUP, (8, 8, 3), {"weights": weights(256)}),
        (Op.PAD, (9, 10, 3), {"pad": (1, 1)}),
        (Op.CONV_2D, (5, 5, 6), {"stride": (2, 2), "weights": weights(6, 3, 3, 3), **square}),
        (Op.DEPTHWISE_CONV_2D, (5, 5, 6), {"weights": weights(3, 3, 6), **square}),
        (Op.ADD, (5, 5, 6), {"bias": np.array([3, -4, 0], np.int32)}),
        (Op.BROADCAST_ADD, (5, 5, 6), {"weights": weights(5), "in_shape": (5, 1, 1)}),
        (Op.WIDE_CONV_2D, (5, 5, 6), {"weights": weights(6, 3, 3, 6), **square}),
        (Op.WIDE_DEPTHWISE_CONV_2D, (5, 5, 6), {"weights": weights(3, 3, 6), **square}),
        (Op.AVERAGE_POOL_2D, (4, 4, 6), {"kernel": (2, 2)}),
        (Op.MAX_POOL_2D, (3, 3, 6), {"kernel": (2, 2)}),
        (Op.MUL, (3, 3, 6), {"weights": weights(6), "in_shape": (1, 1, 6)}),
        (Op.RESIZE_NEAREST, (5, 4, 6), {"weights": sources(2, 5, 4)}),
        (Op.RESIZE_BILINEAR, (2, 3, 6), {"weights": sources(6, 2, 3)}),
        (Op.CONCATENATION, (2, 4, 8), {"start": 8}),
        (Op.MEAN, (1, 1, 8), {}),
        (Op.FULLY_CONNECTED, (1, 1, 2), {"weights": weights(2, 8)}),
        (Op.SOFTMAX, (1, 1, 2), {"weights": exponentials_q31(0.1, 1.0).view(np.int8)}),
    )  # fmt: skip
    made: dict[str, Layer] = {}
    before: tuple[int, int, int] = SPEC.shape
    for number, (op, shape, more) in enumerate(steps):
        inputs = (number, number - 1) if op is Op.ADD else (number,)
        parameters = numbers(shape[2] if op in PRODUCTS else 3 if op in ADDITIONS else 1)
        if op not in (*PRODUCTS, *ADDITIONS, Op.MEAN, Op.MUL):
            parameters = {}
        if op in ADDITIONS:
            parameters["bias"] = np.array([7, -9, 0], np.int32)
            parameters["shift"] = np.array([-1, 0, -19], np.int8)
        if op is Op.MUL:
            parameters["bias"] = np.array([5], np.int32)
        shapes = {"in_shape": before, "out_shape": shape}
        made[op.name] = Layer(op, op.name, inputs, number + 1, **(shapes | parameters | more))
        before = shape
    return made


def network(**changed: Layer) -> Network:
    """The small network, with layers in the place of those of their operators."""
    steps = tuple((layers() | changed).values())
    sizes = {0: int(np.prod(SPEC.shape))}
    sizes |= {layer.output: int(np.prod(layer.out_shape)) for layer in steps}
    return Network(steps, sizes, 0, steps[-1].output, Quantization(0.05, 0))


def image_of(made: Network, patterns: int = 2) -> bytes:
    """Its flash image; the self-test promises zeros, which nobody answers."""
    pixels = np.random.default_rng(1).integers(0, 256, (patterns, *SPEC.shape), dtype=np.uint8)
    logits = np.zeros((patterns, len(LABELS)), np.int8)
    return network_image(made, pixels, logits, manifest())


def build_driver(
    folder: Path, *flags: str, compiler: str = "gcc", kernels: Sequence[Path] = ()
) -> Path:
    """`image_driver.c` as the program `driver` or, with -shared, as a library."""
    program(compiler)
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_header(manifest(), "00", Quantization(0.05, 0), 1)
    (folder / "model_settings.h").write_text(settings)
    out = folder / "driver"
    sources = (DRIVER, *(kernels or (C / "edgeemo_kernels.c",)))
    compile_c(compiler, *STRICT, *flags, f"-I{C}", f"-I{folder}", "-o", out, *sources)
    return out


class Loader:
    """The firmware's loader, and the drawn images, in this process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        size = folder / "size.c"
        size.write_text(
            '#include "edgeemo_image.h"\nsize_t image_struct_bytes(void);\n'
            "size_t image_struct_bytes(void)\n{\n    return sizeof(edgeemo_image);\n}\n"
        )
        kernels = (C / "edgeemo_kernels.c", size)
        self.c = ctypes.CDLL(str(build_driver(folder, "-O2", "-shared", "-fPIC", kernels=kernels)))
        self.c.edgeemo_image_text.restype = ctypes.c_char_p
        pointer = ctypes.c_void_p
        self.c.edgeemo_image_open.argtypes = [pointer, pointer, ctypes.c_size_t, ctypes.c_uint32]
        self.c.drawn_image.argtypes = [ctypes.c_uint64, pointer]
        self.room = ctypes.create_string_buffer(self.c.image_struct_bytes())
        self.memory = np.zeros(ARENA_BYTES // 4, np.uint32)
        self.drawing = np.zeros(ARENA_BYTES, np.uint8)

    def drawn(self, seed: int) -> bytes:
        """An image that most often lies."""
        size = self.c.drawn_image(seed, self.drawing.ctypes.data)
        return self.drawing[:size].tobytes()

    def sealed(self, image: bytes) -> bytes:
        """`image` with hashes that fit."""
        data = np.frombuffer(image, np.uint8).copy()
        self.c.seal(ctypes.c_void_p(data.ctypes.data), ctypes.c_uint32(data.size))
        return data.tobytes()

    def opened(self, image: bytes) -> str:
        """What the loader says of an image."""
        words = np.zeros(-(-len(image) // 4), np.uint32)
        words.view(np.uint8)[: len(image)] = np.frombuffer(image, np.uint8)
        self.words = words  # the loader keeps pointers into it
        error = self.c.edgeemo_image_open(self.room, words.ctypes.data, len(image), ARENA_BYTES)
        return str(self.c.edgeemo_image_text(error).decode())

    def tested(self) -> str:
        """What the self-test of the image opened last says."""
        arena = ctypes.c_void_p(self.memory.ctypes.data)
        error = self.c.edgeemo_image_selftest(self.room, arena)
        return str(self.c.edgeemo_image_text(error).decode())
