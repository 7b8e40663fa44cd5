"""model.bin: a network as one flash image that firmware reads where it lies, checked by the CRC-32
of its header and the SHA-256 of its content.

All numbers are little-endian. The header (208 bytes) is followed by the layers (64 bytes each), the
tables, and self-test vectors, all at multiples of 16. `edgeemo_image.c` reads it;
docs/microcontrollers.md has the fields.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import tensor_values
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.reading import open_regular
from edgeemo.contract.container import MAX_BUNDLE_BYTES
from edgeemo.contract.manifest import Manifest
from edgeemo.contract.quantize import Quantization
from edgeemo.errors import BundleError
from edgeemo.firmware.image_rules import HEADER_BYTES, LAYER, Places, check_network
from edgeemo.firmware.layers import Layer, Network
from edgeemo.firmware.network import bundle_network, integer_artifact
from edgeemo.firmware.plan import Plan, plan_arena

MAGIC = b"edgeemo\0"
SCHEMA = 1
VECTORS = 4  # of the bundle's self-test: each has an input's bytes and a byte a label
ALIGNMENT = 16
# magic, schema, header and image bytes, arena bytes, layers (count, offset), offsets of the
# exponentials and the vectors, vectors, pixels and logits in the arena (offsets, bytes), labels'
# CRC-32, fingerprint of the input, SHA-256 of all that follows the header, version, smoothing
# (window ms, hold ms, floor Q15), name, tables of the pixels (offset, count), and the CRC-32 of all
# before it.
_HEADER = struct.Struct("<8s14I16s32s3Hxx3I64s2II")
_NAME = re.compile(rb"[ -~]{1,64}\0*")


@dataclass(frozen=True)
class ImageHeader:
    """What a checked model.bin says of itself."""

    name: str
    """The bundle's name."""
    version: str
    """The bundle's version, as 1.2.3."""
    image_bytes: int
    """Size of the image."""
    arena_bytes: int
    """RAM that its activations need."""
    layers: int
    """Number of layers."""
    vectors: int
    """Number of self-test patterns."""
    labels_crc32: int
    """`labels_crc32` of its labels; firmware runs only a model of its own labels."""
    input_fingerprint: str
    """Fingerprint of the input spec."""
    sha256: str
    """Hash of what follows the header, 64 hex digits."""


def labels_crc32(labels: Sequence[str]) -> int:
    """CRC-32 of the labels in order, joined by line feeds, which no label contains."""
    return zlib.crc32("\n".join(labels).encode())


def exponentials(logits: Quantization) -> NDArray[np.uint16]:
    """uint16 (256,): exp(-i * scale) in Q15, the softmax's numerators by distance from the largest
    logit."""
    return np.asarray(np.floor(np.exp(-np.arange(256) * logits.scale) * 32768 + 0.5), np.uint16)


def vectors(bundle: Bundle, network: Network) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """The first patterns of a bundle's self-test, uint8 (VECTORS, H, W, C), and the int8 logits
    (VECTORS, labels) that it promises."""
    selftest, file = bundle.selftest(), integer_artifact(bundle).file
    inputs = selftest.inputs[:VECTORS]
    if network.cut_off:  # what is promised is that of the whole file
        model, number = bundle.files[file], network.output
        return inputs, tensor_values(model, file, inputs, bundle.spec, number)
    return inputs, network.logits.quantize(selftest.logits[file][:VECTORS])


def layer_tables(layer: Layer) -> dict[str, NDArray[np.generic]]:
    """A layer's constants by their names in C, little-endian, in the order of images."""
    return {
        "weights": layer.table,
        "bias": layer.bias.astype("<i4"),
        "multiplier": layer.multiplier.astype("<i4"),
        "shift": layer.shift,
    }


def build_image(bundle: Bundle) -> bytes:
    """The flash image of a bundle's int8 model.

    Raises:
        BundleError: the bundle has none, or one that no firmware would run.
        BackendError: a layer that the C kernels do not cover.
    """
    network = bundle_network(bundle)
    image = network_image(network, *vectors(bundle, network), bundle.manifest)
    read_header(image)
    return image


def network_image(
    network: Network, inputs: NDArray[np.uint8], logits: NDArray[np.int8], manifest: Manifest
) -> bytes:
    """The flash image of any network, unchecked.

    Args:
        network: the layers.
        inputs: uint8 (N, H, W, C), the patterns of its self-test.
        logits: int8 (N, labels), what it must answer to them.
        manifest: its name, version, labels, input and smoothing.
    """
    plan = plan_arena(network)
    layers_at = HEADER_BYTES
    body = _Body(layers_at + len(network.layers) * LAYER.size)
    layers = _layers(network, plan, body)
    softmax = np.empty(0) if network.probabilities else exponentials(network.logits)
    exponentials_at = body.add(softmax.astype("<u2").tobytes())
    vectors_at = body.add(inputs.tobytes() + logits.tobytes())
    pixels_at = body.add(network.pixel_table.tobytes())
    payload = layers + bytes(body.data)
    smoothing = manifest.smoothing
    head = _HEADER.pack(
        MAGIC,
        *(SCHEMA, HEADER_BYTES, HEADER_BYTES + len(payload), plan.arena_bytes),
        *(len(network.layers), layers_at, exponentials_at, vectors_at, len(inputs)),
        *(plan.offsets[network.input], plan.offsets[network.output]),
        *(network.tensor_bytes[network.input], network.tensor_bytes[network.output]),
        labels_crc32(manifest.labels),
        manifest.input_spec.fingerprint().encode(),
        hashlib.sha256(payload).digest(),
        *map(int, manifest.version.split(".")),
        *(round(smoothing.window * 1000), round(smoothing.hold_time * 1000)),
        round(smoothing.floor * 32768),
        manifest.name.encode(),
        *(pixels_at, len(network.pixel_table)),
        0,
    )[:-4]
    return head + struct.pack("<I", zlib.crc32(head)) + payload


def image_at(path: Path) -> bytes | None:
    """The bytes of a model.bin, unchecked; None where the file is something else. Raises OSError."""
    if not path.is_file() or path.stat().st_size > MAX_BUNDLE_BYTES:
        return None
    with open_regular(path) as file:
        return MAGIC + file.read() if file.read(len(MAGIC)) == MAGIC else None


def read_header(image: bytes) -> ImageHeader:
    """Check a model.bin as the firmware's loader does, but for its labels and input, which the
    caller compares with what it expects.

    Raises:
        BundleError: not a model.bin, cut off, damaged, of another schema, or with a name, a
            self-test or layers that the loader refuses.
    """
    fields = _checked_fields(image)
    check_network(image, Places(*fields[3:5], *fields[5:14], *fields[24:26]))
    return ImageHeader(
        name=_text(fields[23]),
        version=".".join(map(str, fields[17:20])),
        image_bytes=fields[3],
        arena_bytes=fields[4],
        layers=fields[5],
        vectors=fields[9],
        labels_crc32=fields[14],
        input_fingerprint=_text(fields[15]),
        sha256=fields[16].hex(),
    )


def _checked_fields(image: bytes) -> tuple[Any, ...]:
    """The header's fields, in the order of `_HEADER`. Raises BundleError like `read_header`."""
    if len(image) < HEADER_BYTES or not image.startswith(MAGIC):
        raise BundleError(
            "not a model.bin: make one with: python -m export flash-image BUNDLE --out model.bin"
        )
    fields = _HEADER.unpack_from(image)
    schema, header_bytes, image_bytes = fields[1:4]
    if schema != SCHEMA:
        raise BundleError(
            f"model.bin of schema {schema}, expected {SCHEMA}; make it again with this edgeemo"
        )
    if header_bytes != HEADER_BYTES or not HEADER_BYTES < image_bytes <= len(image):
        raise BundleError(
            f"model.bin of {len(image):,} bytes, its header says {image_bytes:,}; it is cut off or "
            "damaged"
        )
    if fields[-1] != zlib.crc32(image[: HEADER_BYTES - 4]):
        raise BundleError(
            "model.bin: the CRC-32 of its header does not match; it is damaged, make it again"
        )
    if hashlib.sha256(image[HEADER_BYTES:image_bytes]).digest() != fields[16]:
        raise BundleError(
            "model.bin: the SHA-256 of its content does not match; it is damaged, make it again"
        )
    if not _NAME.fullmatch(fields[23]):
        raise BundleError(
            "model.bin: expected a name of printable ASCII; its header is damaged, make it again"
        )
    return fields


def _text(field: bytes) -> str:
    text = field.partition(b"\0")[0].decode("ascii", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


class _Body:
    """What follows the layers; parts lie at multiples of ALIGNMENT from the image's first byte."""

    def __init__(self, start: int) -> None:
        self.start, self.data = start, bytearray()

    def add(self, part: bytes) -> int:
        """Append a part; its offset in the image, 0 for an empty one."""
        if not part:
            return 0
        self.data += bytes(-(self.start + len(self.data)) % ALIGNMENT)
        offset = self.start + len(self.data)
        self.data += part
        return offset


def _layers(network: Network, plan: Plan, body: _Body) -> bytes:
    packed = b""
    for layer, scratch in zip(network.layers, plan.scratch, strict=True):
        packed += LAYER.pack(
            *(body.add(table.tobytes()) for table in layer_tables(layer).values()),
            layer.table.size,
            *(plan.offsets[layer.inputs[0]], plan.offsets[layer.inputs[-1]]),
            *(plan.offsets[layer.output] + layer.start, scratch),
            *layer.in_shape,
            *layer.out_shape,
            *(layer.bias.size, layer.op),
            *layer.kernel,
            *layer.stride,
            *layer.pad,
            *layer.zeros,
            *layer.bounds,
        )
    return packed
