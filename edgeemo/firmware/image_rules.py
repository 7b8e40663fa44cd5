"""What the layers of a model.bin may say: the rules of the firmware's loader (edgeemo_image.c), in
its order and with its numbers.

A kernel trusts its layer, so the loader checks that all it touches lies within the image and the
arena, that no sum passes 31 bits, and that an inference ends.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import BundleError
from edgeemo.firmware.layers import (
    ADDITIONS,
    DEPTHWISE,
    IN_PLACE,
    PRODUCTS,
    SUM_LIMIT,
    WIDE_LIMIT,
    Op,
)

LAYER = struct.Struct("<9I6HH7B4b3x")
"""A layer: offsets of weights, biases, multipliers and shifts in the image, bytes of weights,
offsets of both inputs, the output and the scratch in the arena, (height, width, channels) of the
input and of the output, parameters, operator, kernel, stride, padding, zero points and bounds."""
HEADER_BYTES = 208
MAX_LAYERS = 128
MAX_VECTORS = 64
"""Patterns of a self-test."""
MAX_ARENA = 1 << 28
"""Bytes."""
MAX_WORK = 1 << 30
"""Numbers that one inference sums."""
MAX_SOFTMAX = 511
"""Channels of a softmax: TFLite's reference kernel stops the program at more."""
INT32_MAX = (1 << 31) - 1


@dataclass(frozen=True)
class Places:
    """What the header says of the network and of where its tables lie."""

    image_bytes: int
    """Size of the image."""
    arena_bytes: int
    """Size of the arena."""
    layers: int
    """Number of layers."""
    layers_at: int
    """Offset of the layers."""
    exponentials_at: int
    """Offset of the softmax's table; 0 where the network itself ends in a softmax."""
    vectors_at: int
    """Offset of the self-test."""
    vectors: int
    """Number of its patterns."""
    input_at: int
    """Offset of the pixels in the arena."""
    output_at: int
    """Offset of the logits in the arena."""
    input_bytes: int
    """Size of the pixels."""
    labels: int
    """Number of logits."""
    pixel_tables_at: int
    """Offset of the tables of the pixels."""
    pixel_tables: int
    """Number of them."""


@dataclass(frozen=True)
class _Layer:
    """A layer's fields; see `LAYER`."""

    offsets: tuple[int, int, int, int]
    """Of weights, biases, multipliers and shifts in the image."""
    weight_bytes: int
    """Size of the weights."""
    at: tuple[int, int, int, int]
    """Of both inputs, the output and the scratch in the arena."""
    in_shape: tuple[int, int, int]
    """(height, width, channels)."""
    out_shape: tuple[int, int, int]
    """(height, width, channels)."""
    parameters: int
    """Biases, multipliers and shifts."""
    op: int
    """An `Op`, or none."""
    kernel: tuple[int, int]
    """(vertical, horizontal) size in pixels."""
    stride: tuple[int, int]
    """(vertical, horizontal) steps in pixels."""
    pad: tuple[int, int]
    """Pixels at the top and at the left."""
    in_zero: int
    """Zero point of the first input."""
    bounds: tuple[int, int]
    """Lowest and highest output."""


@dataclass(frozen=True)
class _Needs:
    """What a layer's kernel will touch."""

    weights: int = 0
    """Bytes."""
    parameters: int = 0
    """Biases, multipliers and shifts."""
    first: int | None = None
    """Bytes of the first input; none: as its shape says."""
    second: int = 0
    """Bytes of a second input in the arena."""
    out: int | None = None
    """Bytes from the first that it writes to the last; none: as the output's shape says."""
    scratch: int = 0
    """Bytes beside the tensors."""
    terms: int = 1
    """Numbers that are summed for one of the output."""


def check_network(image: bytes, places: Places) -> None:
    """Check all of a model.bin that a kernel would trust, and that it has a self-test.

    Raises:
        BundleError: something that the firmware's loader refuses.
    """
    if not 1 <= places.vectors <= MAX_VECTORS:
        raise _refused(
            f"expected a self-test of 1 to {MAX_VECTORS} patterns, received {places.vectors}"
        )
    _check_places(places)
    _check_exponentials(image, places)
    _table(image, places, places.pixel_tables_at, 256 * places.pixel_tables)
    _table(image, places, places.vectors_at, places.vectors * (places.input_bytes + places.labels))
    work = 0
    for number in range(places.layers):
        layer = _layer(image, places.layers_at + number * LAYER.size)
        fault, more = _checked(image, places, layer)
        work += more
        if fault or work > MAX_WORK:
            fault = fault or f"and those before it sum {work:,} numbers, more than {MAX_WORK:,}"
            raise _refused(f"its layer {number} {fault}")


def _check_exponentials(image: bytes, places: Places) -> None:
    """The table of the scores, where there is one. Raises BundleError."""
    if places.exponentials_at:
        table = _table(image, places, places.exponentials_at, 512, 2)
        softmax = np.frombuffer(table, "<u2").astype(np.int64)
        if softmax[0] != 1 << 15 or np.diff(softmax).max() > 0:
            raise _refused("its softmax table does not fall from 1")


def _refused(why: str) -> BundleError:
    return BundleError(f"model.bin: {why}; no firmware runs it, make it again")


def _check_places(places: Places) -> None:
    """All but the layers. Raises BundleError."""
    size, arena = places.image_bytes, places.arena_bytes
    if not 1 <= places.layers <= MAX_LAYERS:
        raise _refused(f"expected 1 to {MAX_LAYERS} layers, received {places.layers}")
    if arena > MAX_ARENA:
        raise _refused(f"expected an arena of at most {MAX_ARENA:,} bytes, received {arena:,}")
    ends = ((places.input_at, places.input_bytes), (places.output_at, places.labels))
    if not all(_fits(at, count, arena) for at, count in ends):
        raise _refused("its pixels or logits lie beyond the arena")
    if places.layers_at < HEADER_BYTES or not _fits(
        places.layers_at, places.layers * LAYER.size, size
    ):
        raise _refused("its layers lie beyond the image")
    if places.pixel_tables > 1 and (places.pixel_tables != 3 or places.input_bytes % 3):
        raise _refused(f"expected 0, 1 or 3 tables of pixels, received {places.pixel_tables}")


def _fits(offset: int, count: int, size: int) -> bool:
    return offset + count <= size


def _table(image: bytes, places: Places, offset: int, count: int, alignment: int = 1) -> bytes:
    """A table of the image. Raises BundleError for one that would lie elsewhere."""
    if not count:
        return b""
    if offset < HEADER_BYTES or offset % alignment or not _fits(offset, count, places.image_bytes):
        raise _refused("a table lies beyond the image or is not aligned")
    return image[offset : offset + count]


def _layer(image: bytes, at: int) -> _Layer:
    n = LAYER.unpack_from(image, at)
    return _Layer(n[:4], n[4], n[5:9], n[9:12], n[12:15], n[15], n[16], n[17:19], n[19:21],
                  n[21:23], n[23], n[25:27])  # fmt: skip


def _checked(image: bytes, places: Places, layer: _Layer) -> tuple[str, int]:
    """What is wrong with a layer, if anything, and how many numbers it sums."""
    needs = _needs(layer)
    if needs is None:
        return "has a shape that its kernel cannot run", 0
    if (layer.parameters, layer.weight_bytes) != (needs.parameters, needs.weights):
        return "has too many or too few weights or parameters", 0
    if layer.bounds[0] > layer.bounds[1]:
        return "has bounds that leave no output", 0
    if not _places_good(layer, needs, places.arena_bytes):
        return "reads or writes where it may not in the arena", 0
    work = _written(layer, needs) * needs.terms
    count = needs.parameters
    weights, bias, multiplier, shift = (
        _table(image, places, offset, size, alignment)
        for offset, size, alignment in zip(
            layer.offsets, (needs.weights, 4 * count, 4 * count, count), (1, 4, 4, 1), strict=True
        )
    )
    if work > MAX_WORK:
        return f"sums {work:,} numbers, more than {MAX_WORK:,}", work
    numbers = _Numbers(
        np.frombuffer(weights, np.int8),
        np.frombuffer(bias, "<i4").astype(np.int64),
        np.frombuffer(multiplier, "<i4").astype(np.int64),
        np.frombuffer(shift, np.int8).astype(np.int64),
    )
    return numbers.fault(layer, needs.terms), work


def _size(shape: tuple[int, int, int]) -> int:
    height, width, channels = shape
    return height * width * channels


def _written(layer: _Layer, needs: _Needs) -> int:
    return _size(layer.out_shape) if needs.out is None else needs.out


def _of_two(layer: _Layer, **needs: int) -> _Needs:
    """Of a kernel of two inputs: the second lies in the arena or, as its weights, in the image."""
    second = _size(layer.in_shape)
    where = {"weights": second} if layer.weight_bytes else {"second": second}
    return _Needs(first=_size(layer.out_shape), **where, **needs)


def _second_meets(layer: _Layer) -> bool:
    """A second input has the output's sides, or 1 where one value serves for all."""
    sides = zip(layer.in_shape, layer.out_shape, strict=True)
    return all(side in (1, out) for side, out in sides)


def _windows_meet(layer: _Layer) -> bool:
    """Every window of a kernel must meet the picture."""
    return all(
        kernel > pad and (out - 1) * stride < size + pad
        for kernel, pad, out, stride, size in zip(
            layer.kernel, layer.pad, layer.out_shape, layer.stride, layer.in_shape, strict=False
        )
    )


def _needs(layer: _Layer) -> _Needs | None:
    """What the layer's kernel will touch; None for a shape that it cannot run."""
    inputs, outputs, channels = layer.in_shape[2], _size(layer.out_shape), layer.out_shape[2]
    area = layer.kernel[0] * layer.kernel[1]
    size = area * inputs
    pixels = layer.in_shape[0] * layer.in_shape[1]
    if not (_size(layer.in_shape) and outputs and area and all(layer.stride)):
        return None
    good, needs = False, _Needs()
    match layer.op:
        case Op.LOOKUP:
            good, needs = _size(layer.in_shape) == outputs, _Needs(256)
        case Op.CONV_2D | Op.WIDE_CONV_2D:
            scratch = 4 * (-(-size // 16) * 16) + 8 * channels
            needs = _Needs(size * channels + -size % 16, channels, scratch=scratch, terms=size)
            good = _windows_meet(layer)
        case Op.DEPTHWISE_CONV_2D | Op.WIDE_DEPTHWISE_CONV_2D:
            needs = _Needs(area * channels, channels, scratch=4 * channels, terms=area)
            good = channels % inputs == 0 and _windows_meet(layer)
        case Op.FULLY_CONNECTED:
            needs = _Needs(inputs * channels, channels, terms=inputs)
            good = pixels == 1 and outputs == channels
        case Op.ADD:
            needs = _Needs(parameters=3, second=_size(layer.in_shape), scratch=2048)
            good = layer.in_shape == layer.out_shape
        case Op.BROADCAST_ADD:
            good, needs = _second_meets(layer), _of_two(layer, parameters=3, scratch=2048)
        case Op.MUL:
            good, needs = _second_meets(layer), _of_two(layer, parameters=1)
        case Op.AVERAGE_POOL_2D | Op.MAX_POOL_2D:
            good, needs = inputs == channels and _windows_meet(layer), _Needs(terms=area)
        case Op.MEAN:
            good, needs = outputs == channels == inputs, _Needs(parameters=1, terms=pixels)
        case Op.PAD:
            good = inputs == channels and all(
                side + pad <= out
                for side, pad, out in zip(layer.in_shape, layer.pad, layer.out_shape, strict=False)
            )
        case _:
            good, needs = _moving_needs(layer)
    return needs if good else None


def _moving_needs(layer: _Layer) -> tuple[bool, _Needs]:
    """As `_needs`, of the kernels whose numbers are not summed."""
    (height, width, inputs), channels = layer.in_shape, layer.out_shape[2]
    match layer.op:
        case Op.SOFTMAX:
            good = layer.in_shape == layer.out_shape and channels <= MAX_SOFTMAX
            return good, _Needs(4 * 256, terms=4)
        case Op.RESIZE_NEAREST | Op.RESIZE_BILINEAR:
            needs = _Needs(_source_bytes(layer) * sum(layer.out_shape[:2]), terms=_taken(layer))
            return inputs == channels, needs
        case Op.CONCATENATION:
            good = all(
                side <= out for side, out in zip(layer.in_shape, layer.out_shape, strict=True)
            )
            last = (height - 1) * layer.out_shape[1] + width - 1
            return good, _Needs(out=last * channels + inputs)
    return False, _Needs()


def _source_bytes(layer: _Layer) -> int:
    """Of a table of a resize: for a row or a column."""
    return 6 if layer.op == Op.RESIZE_BILINEAR else 2


def _taken(layer: _Layer) -> int:
    """Pixels that a resize looks at for one."""
    return 4 if layer.op == Op.RESIZE_BILINEAR else 1


def _places_good(layer: _Layer, needs: _Needs, arena: int) -> bool:
    """A kernel's parts of the arena lie within it and apart, but for outputs in the place of an
    input of a kernel that can work so."""
    first, second, out, scratch = layer.at
    source = _size(layer.in_shape) if needs.first is None else needs.first
    sizes = source, needs.second, _written(layer, needs), needs.scratch
    (a, b, to, rest) = zip(layer.at, sizes, strict=True)
    in_place = layer.op in IN_PLACE
    whole = in_place and needs.second == sizes[2]
    return (
        all(_fits(at, size, arena) for at, size in zip(layer.at, sizes, strict=True))
        and scratch % 4 == 0
        and all(_apart(rest, other) for other in (a, b, to))
        and ((in_place and out == first) or _apart(to, a))
        and ((whole and out == second) or _apart(to, b))
    )


def _apart(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (offset, bytes) share no byte."""
    (a, a_bytes), (b, b_bytes) = one, other
    return not a_bytes or not b_bytes or a + a_bytes <= b or b + b_bytes <= a


@dataclass(frozen=True)
class _Numbers:
    """A layer's tables, its parameters widened to int64."""

    weights: NDArray[np.int8]
    """As the image holds them."""
    bias: NDArray[np.int64]
    """One a parameter."""
    multiplier: NDArray[np.int64]
    """One a parameter."""
    shift: NDArray[np.int64]
    """One a parameter; left if positive."""

    def fault(self, layer: _Layer, terms: int) -> str:
        """What is wrong with them, if anything."""
        subtracts = np.arange(self.multiplier.size) < 2 if layer.op in ADDITIONS else False
        lowest = np.where(subtracts, 1 - (1 << 31), 0)  # of what is subtracted
        if ((self.multiplier < lowest) | (self.shift < -31) | (self.shift > 29)).any():
            return "has multipliers or shifts out of range"
        if not self._table_good(layer):
            return "has a table that its kernel cannot use"
        return "" if all(self._ends_good(layer, terms)) else "has sums that need more than 31 bits"

    def _table_good(self, layer: _Layer) -> bool:
        """The exponentials of a softmax fall from 1; a resize takes rows and columns that there
        are, and 0 to 1024 of 1024 of the second of two."""
        if layer.op == Op.SOFTMAX:
            table = self.weights.view("<i4").astype(np.int64)
            return bool(table[0] == INT32_MAX and table.min() >= 0 and np.diff(table).max() <= 0)
        if layer.op not in (Op.RESIZE_NEAREST, Op.RESIZE_BILINEAR):
            return True
        sides = np.repeat(layer.in_shape[:2], layer.out_shape[:2])
        table = self.weights.view("<u2").reshape(len(sides), -1)
        good = (table[:, :2] < sides[:, np.newaxis]).all()
        return bool(good and (layer.op == Op.RESIZE_NEAREST or table[:, 2].max() <= 1024))

    def _ends_good(self, layer: _Layer, terms: int) -> Iterator[bool]:
        """Whether each sum stays within 31 bits for all inputs that there can be."""
        match layer.op:
            case op if op in PRODUCTS:
                yield self._products_good(layer, terms)
            case Op.ADD | Op.BROADCAST_ADD:
                yield from self._addition_good()
            case Op.MUL:
                first = max(127 - layer.in_zero, 128 + layer.in_zero)
                largest = first * np.maximum(127 + self.bias, 128 - self.bias)
                yield bool((self.bias >= -127).all() and (self.bias <= 128).all())
                yield _below_limit(-largest, largest, self.shift)
            case Op.MEAN:
                ends = self.bias - 128 * terms, self.bias + 127 * terms
                yield _below_limit(*ends, self.shift)

    def _products_good(self, layer: _Layer, terms: int) -> bool:
        table = self.weights[: terms * self.bias.size]
        rows = table.reshape(terms, -1).T if layer.op in DEPTHWISE else table.reshape(-1, terms)
        above = np.maximum(rows, 0).sum(1, dtype=np.int64)
        below = np.minimum(rows, 0).sum(1, dtype=np.int64)
        low = self.bias + 127 * below - 128 * above
        high = self.bias + 127 * above - 128 * below
        doubles = layer.op in (Op.CONV_2D, Op.DEPTHWISE_CONV_2D)
        return _below_limit(low, high, self.shift, SUM_LIMIT if doubles else WIDE_LIMIT)

    def _addition_good(self) -> Iterator[bool]:
        total = np.int64(0)
        yield bool((self.bias[:2] >= -127).all() and (self.bias[:2] <= 128).all())
        for bias, multiplier, shift in zip(
            self.bias[:2], self.multiplier[:2], self.shift[:2], strict=True
        ):
            largest = np.maximum(127 + bias, 128 - bias) << 20
            yield _below_limit(np.int64(0), largest, shift)
            largest = (largest << np.maximum(0, shift)) * np.abs(multiplier) >> 31
            total += (largest >> np.maximum(0, -shift)) + 2  # it is rounded twice
        yield _below_limit(-total, total, self.shift[2])


def _below_limit(
    low: NDArray[np.int64] | np.int64,
    high: NDArray[np.int64] | np.int64,
    shift: NDArray[np.int64] | np.int64,
    limit: int = SUM_LIMIT,
) -> bool:
    """Whether all numbers from `low` to `high` stay below a limit when they are shifted left."""
    limits = np.int64(limit) >> np.maximum(0, shift)
    return bool(((low > -limits) & (high < limits)).all())
