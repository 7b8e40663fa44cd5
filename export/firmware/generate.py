"""A bundle as plain C99: the network's tables and its memory plan, beside hand-written kernels; no interpreter, no heap."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.files import folder_written_beside
from edgeemo.errors import InvalidInput
from edgeemo.firmware.image import exponentials, vectors
from edgeemo.firmware.network import Layer, Network, bundle_network
from edgeemo.firmware.plan import Plan, plan_arena
from export.firmware.pages import makefile, readme
from export.firmware.settings import c_text, settings_header

_C = Path(__file__).parent / "c"
_KERNELS = (
    "edgeemo_kernels.c",
    "edgeemo_kernels.h",
    "edgeemo_avx2.h",
    "edgeemo_preprocess.c",
    "edgeemo_preprocess.h",
)
_MORE = {
    "c99": ("selftest.c",),
    "cortex-m": (),
    "esp32": ("edgeemo_image.c", "edgeemo_image.h", "CMakeLists.txt"),
}
_MARKER = "edgeemo_model.h"


@dataclass(frozen=True)
class Firmware:
    """What was generated: bytes of the constant tables, of the arena, and the multiply-accumulates of one inference."""

    target: str
    files: tuple[str, ...]
    table_bytes: int
    arena_bytes: int
    multiply_accumulates: int


def generate(
    bundle: Bundle, out: Path, *, target: str = "c99", max_ram: int | None = None
) -> Firmware:
    """Write the C sources of a bundle's int8 model into the folder `out`, which is made or, if it is ours, replaced.

    Raises:
        BundleError: no int8.tflite in the bundle.
        BackendError: a layer that the kernels do not cover; the message names it.
        InvalidInput: the arena is larger than `max_ram` bytes.
        StorageError: `out` cannot be written, or holds files of somebody else.
    """
    network, plan = check_ram(bundle, max_ram)
    model = next(
        bundle.files[a.file]
        for a in bundle.manifest.artifacts
        if a.format == "tflite" and a.is_integer
    )
    inputs, logits = vectors(bundle, network)
    manifest = bundle.manifest
    texts = {
        "edgeemo_model.h": _model_header(network, plan, len(inputs)),
        "edgeemo_model.c": model_source(network, plan, f"{manifest.name} {manifest.version}"),
        "edgeemo_vectors.c": _vectors_source(inputs, logits),
        "model_settings.h": settings_header(
            manifest, hashlib.sha256(model).hexdigest(), network.logits, len(inputs)
        ),
        "README.md": readme(bundle, network, plan, target),
    }
    if target != "esp32":
        texts["Makefile"] = makefile(target)
    texts |= {name: (_C / name).read_text(encoding="utf-8") for name in (*_KERNELS, *_MORE[target])}
    with folder_written_beside(out, marker=_MARKER) as part:
        for name, text in texts.items():
            (part / name).write_text(text, encoding="utf-8")
    return Firmware(
        target,
        tuple(sorted(texts)),
        network.weight_bytes,
        plan.arena_bytes,
        sum(layer.multiply_accumulates for layer in network.layers),
    )


def check_ram(bundle: Bundle, max_ram: int | None) -> tuple[Network, Plan]:
    """A bundle's network and its plan. Raises InvalidInput when the arena is larger than `max_ram` bytes."""
    network = bundle_network(bundle)
    plan = plan_arena(network)
    if max_ram is not None and plan.arena_bytes > max_ram:
        raise InvalidInput(
            f"{bundle.path}: needs an arena of {plan.arena_bytes:,} bytes, most of it for the layer {largest_layer(network, plan)}, "
            f"and --max-ram allows {max_ram:,}; use a smaller model, such as nano"
        )
    return network, plan


def largest_layer(network: Network, plan: Plan) -> str:
    """The name of the layer during which the arena is fullest."""
    ends = [
        max(
            plan.offsets[layer.output] + network.tensor_bytes[layer.output],
            scratch + layer.scratch_bytes,
        )
        for layer, scratch in zip(network.layers, plan.scratch, strict=True)
    ]
    return c_text(network.layers[int(np.argmax(ends))].name)


def network_crc32(network: Network) -> int:
    """What edgeemo_network_crc32 must find: CRC-32 over each layer's weights, biases, multipliers and shifts."""
    crc = 0
    for layer in network.layers:
        for array in (
            layer.table,
            layer.bias.astype("<i4"),
            layer.multiplier.astype("<i4"),
            layer.shift,
        ):
            crc = zlib.crc32(array.tobytes(), crc)
    return crc


def model_source(network: Network, plan: Plan, title: str) -> str:
    """edgeemo_model.c: tables, the memory plan as offsets, and the calls of the kernels in order."""
    lines = [f"/* Generated from {c_text(title)} by `python -m export firmware`; do not edit. */"]
    lines += [
        '#include "edgeemo_model.h"',
        "",
        '#include "edgeemo_kernels.h"',
        "",
        "#include <string.h>",
        "",
    ]
    for i, layer in enumerate(network.layers):
        lines.append(f"/* {i}: {c_text(layer.name)} */")
        for field, values in _tables(layer).items():
            if values.size:
                lines += _array(f"static const {values.dtype}_t {field}_{i}[{values.size}]", values)
    lines += _array("static const uint16_t exponentials[256]", exponentials(network.logits))
    lines.append(f"static const edgeemo_layer layers[{len(network.layers)}] = {{")
    for i, (layer, scratch) in enumerate(zip(network.layers, plan.scratch, strict=True)):
        lines += _layer(i, layer, plan, scratch)
    lines += ["};", ""]
    lines += [
        "const edgeemo_network edgeemo_builtin_network = {",
        f"    layers, exponentials, {len(network.layers)}, EDGEEMO_ARENA_BYTES, {plan.offsets[network.input]}, "
        f"{plan.offsets[network.output]}, EDGEEMO_INPUT_BYTES, EDGEEMO_LABEL_COUNT,",
        "};",
        "",
        "/* Kernels keep numbers of 8, 16 and 32 bits in it. */",
        "static union {",
        "    int8_t bytes[EDGEEMO_ARENA_BYTES];",
        "    int16_t halves[1];",
        "    int32_t words[1];",
        "} memory;",
        "",
        "int edgeemo_init(void)",
        "{",
        f"    return edgeemo_network_crc32(&edgeemo_builtin_network) == 0x{network_crc32(network):08X}U ? 0 : -1;",
        "}",
        "",
        "void edgeemo_infer(const uint8_t in[EDGEEMO_INPUT_BYTES], int8_t out[EDGEEMO_LABEL_COUNT])",
        "{",
        "    int8_t *arena = memory.bytes;",
        f"    edgeemo_pixels(in, arena + {plan.offsets[network.input]}, EDGEEMO_INPUT_BYTES);",
    ]
    for i, layer in enumerate(network.layers):
        shape = "x".join(map(str, layer.out_shape))
        lines.append(
            f"    edgeemo_{layer.op.name.lower()}(&layers[{i}], arena); /* {c_text(layer.name)}: {shape} */"
        )
    lines += [
        f"    memcpy(out, arena + {plan.offsets[network.output]}, EDGEEMO_LABEL_COUNT);",
        "}",
        "",
        "void edgeemo_softmax_q15(const int8_t logits[EDGEEMO_LABEL_COUNT], uint16_t scores[EDGEEMO_LABEL_COUNT])",
        "{",
        "    edgeemo_scores_q15(exponentials, logits, scores, EDGEEMO_LABEL_COUNT);",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _tables(layer: Layer) -> dict[str, NDArray[np.generic]]:
    return {
        "weights": layer.table,
        "bias": layer.bias,
        "multiplier": layer.multiplier,
        "shift": layer.shift,
    }


def _layer(i: int, layer: Layer, plan: Plan, scratch: int) -> Iterator[str]:
    arrays = [f"{field}_{i}" if values.size else "NULL" for field, values in _tables(layer).items()]
    offsets = [
        plan.offsets[layer.inputs[0]],
        plan.offsets[layer.inputs[-1]],
        plan.offsets[layer.output],
        scratch,
    ]
    numbers = [
        layer.table.size, *offsets, *layer.in_shape, *layer.out_shape, layer.bias.size, f"EDGEEMO_{layer.op.name}",
        *layer.kernel, *layer.stride, *layer.pad, *layer.zeros, *layer.bounds,
    ]  # fmt: skip
    yield f"    {{{', '.join(arrays)},"
    yield f"     {', '.join(map(str, numbers))}}},"


def _model_header(network: Network, plan: Plan, vectors: int) -> str:
    text = (_C / "edgeemo_model.h.in").read_text(encoding="utf-8")
    return text.replace("@ARENA_BYTES@", str(plan.arena_bytes)).replace("@VECTORS@", str(vectors))


def _vectors_source(inputs: NDArray[np.uint8], logits: NDArray[np.int8]) -> str:
    lines = [
        "/* Generated by `python -m export firmware`; do not edit. Drawn patterns, no faces, and what they must give. */"
    ]
    lines += ['#include "edgeemo_model.h"', "", "#include <string.h>", ""]
    lines += _array(f"static const uint8_t inputs[{len(inputs)} * EDGEEMO_INPUT_BYTES]", inputs)
    lines += _array(f"static const int8_t outputs[{len(logits)} * EDGEEMO_LABEL_COUNT]", logits)
    lines += [
        "int edgeemo_selftest(void)",
        "{",
        f"    for (int i = 0; i < {len(inputs)}; ++i) {{",
        "        int8_t logits[EDGEEMO_LABEL_COUNT];",
        "        edgeemo_infer(inputs + i * EDGEEMO_INPUT_BYTES, logits);",
        "        if (memcmp(logits, outputs + i * EDGEEMO_LABEL_COUNT, sizeof logits) != 0) {",
        "            return i + 1;",
        "        }",
        "    }",
        "    return 0;",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _array(declaration: str, values: NDArray[np.generic]) -> Iterator[str]:
    yield f"{declaration} = {{"
    flat = values.ravel().tolist()
    # C has no literal for the lowest int32: it reads the minus of a number that does not fit.
    words = [str(n) if n != -(1 << 31) else "-2147483647 - 1" for n in flat]
    for start in range(0, len(words), 20):
        yield f"    {', '.join(words[start : start + 20])},"
    yield "};"
