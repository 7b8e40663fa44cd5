"""A bundle as plain C99: the network's tables and its memory plan, beside hand-written kernels; no
interpreter, no heap."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.folders import folder_written_beside
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.input_spec import CHANNELS
from edgeemo.errors import InvalidInput
from edgeemo.firmware.image import vectors
from edgeemo.firmware.layers import Network
from edgeemo.firmware.network import bundle_network, integer_artifact
from edgeemo.firmware.plan import Plan, plan_arena
from export.firmware import TARGETS
from export.firmware.find import find_files
from export.firmware.names import Prefix, c_text
from export.firmware.pages import filled, manifest_words, readme
from export.firmware.settings import settings_header
from export.firmware.source import model_source, vectors_source
from export.firmware.targets import C, Target

_KERNELS = (
    "edgeemo_kernels.c",
    "edgeemo_kernels.h",
    "edgeemo_avx2.h",
    "edgeemo_mve.h",
    "edgeemo_preprocess.c",
    "edgeemo_preprocess.h",
)


@dataclass(frozen=True)
class Firmware:
    """What was generated."""

    target: str
    """The target's name."""
    prefix: str
    """What its names begin with."""
    files: tuple[str, ...]
    """Paths of the files in the folder."""
    table_bytes: int
    """Size of the constant tables, the detector's too."""
    arena_bytes: int
    """Size of the arena, which the detector shares."""
    multiply_accumulates: int
    """Products that one inference sums."""
    detector_multiply_accumulates: int
    """Products of one look of the detector; 0 without one."""


def generate(
    bundle: Bundle,
    out: Path,
    *,
    target: str = "c99",
    prefix: str = "edgeemo",
    max_ram: int | None = None,
    detector: DetectorBundle | None = None,
) -> Firmware:
    """Write the C sources of a bundle's int8 model into the folder `out`, which is made or, if it
    is ours, replaced; or into the archive `out` where that ends in .zip. Functions, types and files
    begin with `prefix`, macros with it in capitals. With a `detector` there is `edgeemo_find` too.

    Raises:
        BundleError: no int8 TFLite model in the bundle.
        BackendError: a layer that the kernels do not cover; the message names it.
        InvalidInput: another target, a prefix that C cannot have, or an arena that is larger than
            `max_ram` bytes.
        StorageError: `out` cannot be written, or holds files of somebody else.
    """
    kind = TARGETS.get(target)
    called = Prefix(prefix)
    network, plan = check_ram(bundle, max_ram)
    found: dict[str, str] = {}
    memory, beside = plan.arena_bytes, None
    if detector is not None:
        found, beside = find_files(detector, called)
        memory = max(memory, beside.arena_bytes)
        if max_ram is not None and memory > max_ram:
            raise InvalidInput(
                f"{detector.path}: needs an arena of {memory:,} bytes, and --max-ram allows "
                f"{max_ram:,}; use a smaller detector"
            )
    texts = {"README.md": readme(bundle, network, plan, kind, called, beside)}
    sources = _generated(bundle, network, plan, called, memory, shared=detector is not None)
    sources |= found
    sources |= {called.named(n): called.named((C / n).read_text("utf-8")) for n in _KERNELS}
    texts |= {str(PurePosixPath(kind.sources, name)): text for name, text in sources.items()}
    texts |= _of_target(bundle, kind, called)
    if out.suffix == ".zip":
        _write_zip(out, called.word, texts)
    else:
        with folder_written_beside(out) as part:
            for name, text in texts.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_text(text, encoding="utf-8")
    return Firmware(
        target,
        called.word,
        tuple(sorted(texts)),
        network.weight_bytes + (beside.table_bytes if beside else 0),
        memory,
        sum(layer.multiply_accumulates for layer in network.layers),
        beside.multiply_accumulates if beside else 0,
    )


def check_ram(bundle: Bundle, max_ram: int | None) -> tuple[Network, Plan]:
    """A bundle's network and its plan.

    Raises:
        InvalidInput: the arena is larger than `max_ram` bytes.
        BundleError, BackendError: as `bundle_network`.
    """
    network = bundle_network(bundle)
    plan = plan_arena(network)
    if max_ram is not None and plan.arena_bytes > max_ram:
        raise InvalidInput(
            f"{bundle.path}: needs an arena of {plan.arena_bytes:,} bytes, most of it for the "
            f"layer {largest_layer(network, plan)}, and --max-ram allows {max_ram:,}; use a "
            "smaller model, such as nano"
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


def _of_target(bundle: Bundle, target: Target, prefix: Prefix) -> dict[str, str]:
    words, texts = manifest_words(bundle, prefix), {}
    for name, file in target.files:
        text = prefix.named((target.folder / file).read_text(encoding="utf-8"))
        texts[prefix.named(name)] = filled(text, words) if file.endswith(".in") else text
    return texts


def _write_zip(out: Path, folder: str, texts: Mapping[str, str]) -> None:
    """All in one `folder`, the same bytes each time."""
    with written_beside(out) as part, zipfile.ZipFile(part, "w") as archive:
        for name, text in sorted(texts.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}")  # of 1980-01-01
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            archive.writestr(entry, text)


def _generated(
    bundle: Bundle, network: Network, plan: Plan, prefix: Prefix, memory: int, *, shared: bool
) -> dict[str, str]:
    manifest = bundle.manifest
    model = bundle.files[integer_artifact(bundle).file]
    inputs, logits = vectors(bundle, network)
    title = f"{manifest.name} {manifest.version}"
    ours = {
        "edgeemo_model.h": _model_header(bundle, plan, len(inputs), memory),
        "edgeemo_model.c": model_source(network, plan, title, manifest.licence, shared=shared),
        "edgeemo_vectors.c": vectors_source(inputs, logits),
    }
    settings = settings_header(
        manifest, hashlib.sha256(model).hexdigest(), network.logits, len(inputs), prefix
    )
    return {
        **{prefix.named(name): prefix.named(text) for name, text in ours.items()},
        prefix.named("model_settings.h"): settings,
    }


def _model_header(bundle: Bundle, plan: Plan, patterns: int, memory: int) -> str:
    words = {
        "ARENA_BYTES": plan.arena_bytes,
        "MEMORY_BYTES": memory,
        "VECTORS": patterns,
        "HEIGHT": bundle.spec.height,
        "WIDTH": bundle.spec.width,
        "KIND": CHANNELS[bundle.spec.channels],
    }
    return filled((C / "edgeemo_model.h.in").read_text(encoding="utf-8"), words)
