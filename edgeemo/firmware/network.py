"""An int8 .tflite as the layers that the C kernels know (`edgeemo.firmware.layers`)."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import parse_model
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.face_rows import ROW
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Artifact, Format
from edgeemo.contract.quantize import Quantization, input_table, pixels_to_int8
from edgeemo.errors import BackendError, BundleError
from edgeemo.firmware.ends import float_head, float_tail
from edgeemo.firmware.fixed_point import ScaleError
from edgeemo.firmware.layers import Network, Op
from edgeemo.firmware.operators import OPERATORS
from edgeemo.firmware.reader import Reader

MAX_BYTES = 1 << 24
"""Of a tensor and of all weights: what a microcontroller could ever hold."""


def integer_artifact(bundle: Bundle) -> Artifact:
    """The bundle's TFLite model of integers, which the generated C repeats.

    Raises:
        BundleError: the bundle has none.
    """
    artifacts = bundle.manifest.artifacts
    for artifact in artifacts:
        if artifact.format is Format.TFLITE and artifact.precision.is_integer:
            return artifact
    raise BundleError(
        f"{bundle.path}: holds no int8 TFLite model for a microcontroller (only "
        f"{', '.join(artifact.file for artifact in artifacts)}); build it with --profile mcu"
    )


def bundle_network(bundle: Bundle) -> Network:
    """The network of a bundle's TFLite model of integers.

    Raises:
        BundleError: the bundle has none.
        BackendError: a layer that the C kernels do not cover; the message names it.
    """
    file = integer_artifact(bundle).file
    where = f"{bundle.path}: {file}"
    return read_network(bundle.files[file], bundle.spec, len(bundle.labels), where)


def detector_network(bundle: DetectorBundle) -> Network:
    """The network of a detector's bundle; its "logits" are the rows.

    Raises:
        BackendError: a layer that the C kernels do not cover; the message names it.
    """
    manifest = bundle.manifest
    where = f"{bundle.path}: {manifest.artifact.file}"
    return read_network(bundle.model, manifest.input_spec, manifest.rows.cells * ROW, where)


def read_network(
    tflite: bytes, spec: InputSpec, classes: int, name: str = "int8.tflite"
) -> Network:
    """The layers of an int8 .tflite from uint8 pixels of `spec` to `classes` logits.

    Args:
        tflite: the model's file.
        spec: what the model takes; with its arithmetic it says what the input stores for a pixel.
        classes: how many logits are expected.
        name: stands in messages.

    Raises:
        BackendError: not an int8 model, another input or number of logits, or a layer that the C
            kernels do not cover, which is named.
    """
    return _network(Reader(parse_model(tflite, name), name), spec, classes)


def pixel_table(spec: InputSpec, quantization: Quantization) -> NDArray[np.int8]:
    """`input_table` as a network holds it: one row where all channels have the same, and none where
    it is pixel - 128."""
    return _short(input_table(spec, quantization))


def _short(table: NDArray[np.int8]) -> NDArray[np.int8]:
    if (table == table[0]).all():
        table = table[:1]
    plain = np.array_equal(table, pixels_to_int8(np.arange(256, dtype=np.uint8))[np.newaxis])
    return table[:0] if plain else table


def _network(r: Reader, spec: InputSpec, classes: int) -> Network:
    table = float_head(r, spec)
    cut_off = float_tail(r)
    for operator in r.operators:
        r.operator = operator
        if r.kind not in OPERATORS:
            raise r.refused("is none that the C kernels cover")
        for tensor in (*operator.inputs, *operator.outputs):
            r.check_type(int(tensor))
        try:
            OPERATORS[r.kind](r)
        except ScaleError as error:
            raise r.refused(f"has scales that do not fit ({error})") from None
    source, target = r.quantization(r.input), r.quantization(r.output)
    numbers = {layer.output for layer in r.layers} | {r.input}
    sizes = {number: r.size(number) for number in numbers}
    _check_ends(r, sizes, spec, classes)
    out = r.origin(r.output)
    made = [layer.op for layer in r.layers if layer.output == out]
    return Network(
        tuple(r.layers),
        sizes,
        r.input,
        out,
        target,
        probabilities=made[-1:] == [Op.SOFTMAX],
        cut_off=cut_off,
        pixel_table=pixel_table(spec, source) if table is None else _short(table),
    )


def _check_ends(r: Reader, sizes: dict[int, int], spec: InputSpec, classes: int) -> None:
    if r.shape(r.input) != spec.shape:
        raise BackendError(
            f"{r.name}: expected an input of {spec.shape}, received one of {r.shape(r.input)}"
        )
    out = r.origin(r.output)
    if sizes.get(out) != classes:
        raise BackendError(
            f"{r.name}: expected {classes} logits, received a tensor of shape {r.shape(out)}"
        )
    if not r.layers:
        raise BackendError(f"{r.name}: expected a network, received a file that computes nothing")
    weights = sum(layer.weights.nbytes for layer in r.layers)
    if weights > MAX_BYTES or max(sizes.values()) > MAX_BYTES:
        raise BackendError(
            f"{r.name}: larger than {MAX_BYTES:,} bytes, which no microcontroller holds"
        )
