"""Templates and what stands in them: the README beside the generated C, and manifests."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import CHANNELS
from edgeemo.firmware.image import layer_tables
from edgeemo.firmware.layers import Network
from edgeemo.firmware.plan import Plan
from export.firmware.licence import listed
from export.firmware.names import EDGEEMO, Prefix, c_text
from export.firmware.targets import C, Target


@dataclass(frozen=True)
class Beside:
    """What a face detector takes beside the emotion network."""

    table_bytes: int
    """Of flash."""
    arena_bytes: int
    """Of the arena that both work in, one after the other."""
    multiply_accumulates: int
    """Of one look."""


def filled(text: str, words: Mapping[str, object]) -> str:
    """A template with the values of its @WORDS@. A line goes whose word has no value."""
    for word, value in words.items():
        if value == "":
            lines = text.splitlines(keepends=True)
            text = "".join(line for line in lines if f"@{word}@" not in line)
        text = text.replace(f"@{word}@", str(value))
    return text


def manifest_words(bundle: Bundle, prefix: Prefix) -> dict[str, str]:
    """What a target's .in files take of a bundle; its name and version are of a-z 0-9 . _ - + ."""
    return {
        "PREFIX": prefix.word,
        "MACRO": prefix.macro,
        "NAME": bundle.manifest.name,
        "VERSION": bundle.manifest.version,
        "LICENCE": listed(bundle.manifest.licence),
    }


_FIND = """\
if (edgeemo_find_init() != 0) { /* the detector's part of flash is damaged */ }
edgeemo_face faces[EDGEEMO_FIND_MOST]; /* largest first; faces[i].box is a box */
const edgeemo_crop crop = EDGEEMO_FIND_CROP;
const int32_t count = edgeemo_find(&frame, faces, EDGEEMO_FIND_MOST);"""
_EACH_FACE = """\
for (int32_t i = 0; i < count; ++i) {
    if (edgeemo_face_to_input(&frame, &faces[i].box, &crop, pixels) != 0) {
        continue; /* its box lies outside of the frame */
    }
    edgeemo_infer(pixels, logits);
    edgeemo_softmax_q15(logits, scores);
}"""
_FACE = """\
if (edgeemo_face_to_input(&frame, &box, &crop, pixels) == 0) {
    edgeemo_infer(pixels, logits);
    edgeemo_softmax_q15(logits, scores);
}"""
_FIND_FILES = """\
| `edgeemo_find.c/.h`, `edgeemo_find_model.c` | `edgeemo_find`: faces in a frame, by the detector |
| `edgeemo_find_settings.h` | the detector's input, thresholds and crop |"""


def readme(
    bundle: Bundle,
    network: Network,
    plan: Plan,
    target: Target,
    prefix: Prefix = EDGEEMO,
    beside: Beside | None = None,
) -> str:
    """What lies in the folder, how it is built and called, and what each layer takes; `beside` is a
    face detector that is there too."""
    manifest, spec = bundle.manifest, bundle.spec
    text = prefix.named((C / "README.md.in").read_text(encoding="utf-8"))
    words = {
        "NAME": manifest.name,
        "VERSION": manifest.version,
        "BUILD": prefix.named(target.build),
        "MORE": prefix.named(target.readme) + "\n",
        "INPUT": f"{spec.height}x{spec.width} {CHANNELS[spec.channels]}",
        "INCLUDE_FIND": prefix.named('#include "edgeemo_find.h"') if beside else "",
        "FIND": prefix.named(_FIND) if beside else "",
        "FACE": prefix.named(_EACH_FACE if beside else _FACE),
        "FIND_FILES": prefix.named(_FIND_FILES) if beside else "",
        "TABLE_BYTES": f"{network.weight_bytes + (beside.table_bytes if beside else 0):,}",
        "ARENA_BYTES": f"{max(plan.arena_bytes, beside.arena_bytes if beside else 0):,}",
        "ARENA": f"{prefix.macro}_{'MEMORY' if beside else 'ARENA'}_BYTES",
        "LAYERS": "\n".join(_rows(network, plan)),
    }
    return filled(text, words)


def _rows(network: Network, plan: Plan) -> list[str]:
    rows = []
    for i, layer in enumerate(network.layers):
        place = plan.offsets[layer.output]
        tables = sum(table.nbytes for table in layer_tables(layer).values())
        shape = "x".join(map(str, layer.out_shape))
        stop = place + network.tensor_bytes[layer.output]
        rows.append(
            f"| {i} | {c_text(layer.name)} | {layer.op.name} | {shape} | "
            f"{layer.multiply_accumulates:,} | {tables:,} | {place:,} to {stop:,} |"
        )
    return rows
