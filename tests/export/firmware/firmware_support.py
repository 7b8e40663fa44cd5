"""What the firmware tests share: compilers, generated C as a shared object, and LiteRT's reference
kernels as the oracle."""

import ctypes
import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.bundle import Bundle, read_bundle, write_bundle
from edgeemo.contract.container import sha256
from edgeemo.contract.input_spec import DEFAULT_SPEC, Arithmetic, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.manifest import TensorInfo
from edgeemo.contract.quantize import Quantization
from edgeemo.firmware.layers import Network
from edgeemo.firmware.network import read_network
from edgeemo.firmware.plan import Plan, plan_arena
from edgeemo.models import find_model
from export.firmware.generate import generate
from export.firmware.source import model_source
from tests import objects
from tests.support import REPOSITORY

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
C = REPOSITORY / "export" / "firmware" / "c"
# Faces in on stdin, their int8 logits out on stdout.
MAIN = """
#include "edgeemo_model.h"
#include <stdio.h>
int main(void)
{
    static uint8_t pixels[EDGEEMO_INPUT_BYTES];
    int8_t logits[EDGEEMO_LABEL_COUNT];
    if (edgeemo_init() || edgeemo_selftest()) {
        return 1;
    }
    while (fread(pixels, sizeof pixels, 1, stdin) == 1) {
        edgeemo_infer(pixels, logits);
        fwrite(logits, sizeof logits, 1, stdout);
    }
    return 0;
}
"""


def program(name: str) -> str:
    """The path of an installed program; the test skips, saying so, without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(
            f"needs {name}, which is not installed; ./scripts/system-packages installs it where "
            "there are root and apt"
        )
    return path


def run(*words: object, **more: object) -> str:
    """stdout of a command that must succeed; its output stands in the failure."""
    done = subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in words], capture_output=True, text=True, **more
    )
    return _succeeded(done)


def compile_c(*words: object) -> None:
    """A compiler's command that must succeed, by `tests.objects`."""
    _succeeded(objects.compiled([str(word) for word in words]))


def _succeeded(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Compiled:
    """A network as generated C, in this process, layer by layer or as a whole."""

    def __init__(self, network: Network, plan: Plan, folder: Path, compiler: Sequence[str]) -> None:
        self.network, self.plan = network, plan
        folder.mkdir(parents=True, exist_ok=True)
        inputs, outputs = network.tensor_bytes[network.input], network.tensor_bytes[network.output]
        (folder / "edgeemo_model.h").write_text(
            f'#include "edgeemo_kernels.h"\n#define EDGEEMO_ARENA_BYTES {plan.arena_bytes}\n'
            f"#define EDGEEMO_INPUT_BYTES {inputs}\n#define EDGEEMO_LABEL_COUNT {outputs}\n"
            "extern const edgeemo_network edgeemo_builtin_network;\nint edgeemo_init(void);\n"
            "void edgeemo_infer(const uint8_t *in, int8_t *out);\n"
            "void edgeemo_softmax_q15(const int8_t *logits, uint16_t *scores);\n"
        )
        source = (
            model_source(network, plan, "test")
            .replace("[EDGEEMO_INPUT_BYTES]", "[]")
            .replace("[EDGEEMO_LABEL_COUNT]", "[]")
        )
        (folder / "edgeemo_model.c").write_text(
            source + "uint32_t layer_size(void);\n"
            "uint32_t layer_size(void)\n{\n    return sizeof(edgeemo_layer);\n}\n"
        )
        library = folder / "network.so"
        compile_c(
            *compiler,
            *STRICT,
            f"-I{C}",
            "-shared",
            "-fPIC",
            "-o",
            library,
            folder / "edgeemo_model.c",
            C / "edgeemo_kernels.c",
        )
        self.c = ctypes.CDLL(str(library))
        assert self.c.edgeemo_init() == 0

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
        """int8 logits of one picture."""
        out = np.empty(self.network.tensor_bytes[self.network.output], np.int8)
        self.c.edgeemo_infer(_pointer(np.ascontiguousarray(pixels)), _pointer(out))
        return out

    def layers(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[str, int, NDArray[np.int8]]]:
        """(name, tensor, values) after each layer."""
        arena = np.zeros(self.plan.arena_bytes // 4 + 1, np.int32)
        base = arena.ctypes.data
        first = ctypes.c_void_p.in_dll(self.c, "edgeemo_builtin_network").value or 0
        values = np.ascontiguousarray(pixels)
        place = ctypes.c_void_p(base + self.plan.offsets[self.network.input])
        tables = np.ascontiguousarray(self.network.pixel_table)
        if tables.size:
            self.c.edgeemo_pixels_by_table(
                _pointer(tables), len(tables), _pointer(values), place, values.size
            )
        else:
            self.c.edgeemo_pixels(_pointer(values), place, values.size)
        for i, layer in enumerate(self.network.layers):
            self.c.edgeemo_run_layer(
                ctypes.c_void_p(first + i * self.c.layer_size()), ctypes.c_void_p(base)
            )
            start = self.plan.offsets[layer.output]
            size = self.network.tensor_bytes[layer.output]
            yield layer.name, layer.output, arena.view(np.int8)[start : start + size].copy()


class Reference:
    """LiteRT's reference kernels (BUILTIN_REF)."""

    def __init__(
        self,
        tflite: bytes,
        scale: tuple[float, ...] = (1.0,),
        offset: tuple[float, ...] = (0.0,),
    ) -> None:
        self.scale, self.offset = scale, offset
        self.interpreter = open_interpreter(
            tflite, "int8.tflite", kernels="reference", keep_tensors=True
        )
        entry = self.interpreter.get_input_details()[0]
        self.input = entry["index"]
        self.quantization = Quantization(*entry["quantization"])
        entry = self.interpreter.get_output_details()[0]
        self.output = entry["index"]
        self.out = Quantization(*entry["quantization"])

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
        """int8 logits of one picture: the real numbers that the model is made for are `scale` x
        pixel + `offset`, by channel, and its input is quantized as its file says."""
        real = pixels.astype(np.float64) * np.array(self.scale) + np.array(self.offset)
        stored = self.quantization.quantize(real)
        self.interpreter.set_tensor(self.input, stored[np.newaxis])
        self.interpreter.invoke()
        return np.asarray(self.interpreter.get_tensor(self.output).ravel())

    def tensor(self, number: int) -> NDArray[np.int8]:
        """Any tensor after the last picture, flat."""
        return np.asarray(self.interpreter.get_tensor(number).ravel())


def compiled(
    tflite: bytes,
    folder: Path,
    compiler: Sequence[str] = ("gcc", "-O2"),
    spec: InputSpec = DEFAULT_SPEC,
    classes: int = len(LABELS),
) -> Compiled:
    """The generated C of a .tflite."""
    program(compiler[0])
    network = read_network(tflite, spec, classes)
    return Compiled(network, plan_arena(network), folder, compiler)


def _pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def drawn_bundle(
    tflite: bytes,
    spec: InputSpec,
    labels: tuple[str, ...],
    path: Path,
    *,
    file: str = "int8.tflite",
) -> Bundle:
    """A bundle of one int8 .tflite for an input and labels, with what LiteRT's reference kernels
    answer to a few drawn patterns as its self-test."""
    inputs = drawn_pixels(spec, 5)
    runtime = spec.arithmetic is Arithmetic.RUNTIME
    ends = (spec.scale, spec.offset) if runtime else ((1.0,), (0.0,))
    reference = Reference(tflite, *ends)
    logits = np.stack([reference.logits(picture) for picture in inputs])
    selftest = io.BytesIO()
    np.savez(selftest, **{"inputs": inputs, file: reference.out.dequantize(logits)})
    files = {file: tflite, "selftest.npz": selftest.getvalue(), "report.json": b"{}"}
    shipped = read_bundle(find_model("nano")).manifest
    stored = {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()}
    taken, given = reference.quantization, reference.out
    artifact = replace(
        shipped.artifact("int8.tflite"),
        file=file,
        input=TensorInfo((1, *spec.shape), "int8", taken.scale, taken.zero_point),
        output=TensorInfo((1, len(labels)), "int8", given.scale, given.zero_point),
        **stored[file],
    )
    manifest = replace(
        shipped,
        labels=labels,
        operating_point=None,
        input_spec=spec,
        input_fingerprint=spec.fingerprint(),
        artifacts=(artifact,),
        companions=tuple(replace(c, **stored[c.file]) for c in shipped.companions),
        evaluation=(),
    )
    return write_bundle(path, manifest, files)


def drawn_pixels(spec: InputSpec, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 (count + 2, H, W, C): coarse noise, and the two ends of the pixel range."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, spec.channels), dtype=np.uint8)
    rows = np.arange(spec.height) * 8 // spec.height
    columns = np.arange(spec.width) * 8 // spec.width
    blocks = coarse[:, rows][:, :, columns]
    fine = rng.integers(0, 40, blocks.shape, dtype=np.uint8)
    ends = [np.full(spec.shape, value, np.uint8) for value in (0, 255)]
    return np.stack([*(blocks // 2 + fine), *ends])


def opened(bundle: Bundle, image: bytes, folder: Path) -> tuple[str, NDArray[np.int8]]:
    """What the loader of the ESP32's firmware for `bundle` says of an image, and the logits of the
    first pattern."""
    component = folder / "component"
    generate(bundle, component, target="esp32")
    (component / "size.c").write_text(
        '#include "edgeemo_image.h"\nsize_t image_size(void);\n'
        "size_t image_size(void)\n{\n    return sizeof(edgeemo_image);\n}\n"
    )
    sources = [component / f"{n}.c" for n in ("edgeemo_image", "edgeemo_kernels", "size")]
    library = folder / "loader.so"
    compile_c("gcc", "-O1", *STRICT, f"-I{component}", "-shared", "-fPIC", "-o", library, *sources)
    c = ctypes.CDLL(str(library))
    c.edgeemo_image_text.restype = ctypes.c_char_p
    data = np.frombuffer(image.ljust(-(-len(image) // 4) * 4, b"\0"), np.uint8).copy()
    place, arena = ctypes.create_string_buffer(c.image_size()), np.zeros(1 << 18, np.uint32)
    memory, flash = ctypes.c_void_p(arena.ctypes.data), ctypes.c_void_p(data.ctypes.data)
    error = c.edgeemo_image_open(place, flash, ctypes.c_size_t(len(image)), arena.nbytes)
    error = error or c.edgeemo_image_selftest(place, memory)
    logits = np.zeros(len(bundle.labels), np.int8)
    if not error:
        pixels = np.ascontiguousarray(bundle.selftest().inputs[0])
        c.edgeemo_run(
            place, memory, ctypes.c_void_p(pixels.ctypes.data), ctypes.c_void_p(logits.ctypes.data)
        )
    return c.edgeemo_image_text(error).decode(), logits
