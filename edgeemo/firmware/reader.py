"""A .tflite on its way to layers (`Reader`): what its operators need to become one. Which operator
becomes which layer is in `edgeemo.firmware.operators`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import operator_answers
from edgeemo.errors import BackendError
from edgeemo.firmware.graph import Graph, text_of
from edgeemo.firmware.layers import SUM_LIMIT, Layer, Op


class Reader(Graph):
    """A graph and the layers that were made of it so far."""

    def __init__(self, model: Any, name: str) -> None:
        super().__init__(model, name)
        self.layers: list[Layer] = []

    def add_layer(self, op: Op, source: int, target: int, **more: Any) -> None:
        """Append a layer from tensor `source` to tensor `target`, with the fields `more`."""
        zeros = self.quantization(source).zero_point, self.quantization(target).zero_point
        inputs = tuple(self.origin(number) for number in more.pop("inputs", (source,)))
        layer = Layer(
            op,
            text_of(self.tensors[target].name),
            inputs,
            target,
            **{"in_shape": self.shape(source), "out_shape": self.shape(target), "zeros": zeros}
            | more,
        )
        made = {self.input} | {layer.output for layer in self.layers}
        if not set(inputs) <= made:
            raise self.refused("reads what no layer before it has made")
        if max(*layer.kernel, *layer.stride, *layer.pad) > 255:
            raise self.refused("has a kernel, stride or padding of more than 255 pixels")
        self.layers.append(layer)

    def padding(self, same: bool, kernel: Sequence[int], stride: Sequence[int]) -> tuple[int, ...]:
        """(top, left) zeros; TFLite puts the odd one at the bottom and at the right."""
        if not same:
            return 0, 0
        sides = zip(*map(self.shape, self.ends()), strict=True)
        spare = [(o - 1) * s + k - i for (i, o), k, s in zip(sides, kernel, stride, strict=False)]
        return tuple(max(0, n) // 2 for n in spare)

    def parameters(self, bias: Any, numbers: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """A layer's biases and fixed-point numbers as its fields."""
        return {
            "bias": np.array(bias, np.int32),
            "multiplier": np.array([multiplier for multiplier, _ in numbers], np.int32),
            "shift": np.array([shift for _, shift in numbers], np.int8),
        }

    def sums_fit(self, low: Any, high: Any, shifts: Sequence[int], limit: int = SUM_LIMIT) -> bool:
        """Whether sums from `low` to `high` stay below a kernel's limit when they are shifted
        left."""
        limits = limit >> np.maximum(0, np.asarray(shifts, np.int64))
        return bool((np.asarray(low) > -limits).all() and (np.asarray(high) < limits).all())

    def check_sums(
        self, low: Any, high: Any, shifts: Sequence[int], limit: int = SUM_LIMIT
    ) -> None:
        """Raises BackendError for sums that do not fit."""
        if not self.sums_fit(low, high, shifts, limit):
            raise self.refused("has sums that need more than 31 bits")

    def same_scale(self, source: int, target: int, what: str) -> None:
        """Raises BackendError for tensors of different scales or zero points."""
        if self.quantization(source) != self.quantization(target):
            raise self.refused(f"changes the scale while it {what}")

    def alias(self, source: int, target: int) -> None:
        """`target` has the bytes of `source`."""
        if self.quantization(source) != self.quantization(target) or self.size(source) != self.size(
            target
        ):
            raise self.refused("changes more than the shape")
        self.same[target] = source

    def table(self, source: int, target: int, table: NDArray[np.int8]) -> None:
        """A table of 256 answers.

        Two in a row become one where nobody else reads what lies between them, and one that changes
        nothing becomes none.
        """
        before = self.layers[-1] if self.layers else None
        readers = sum(source in operator.inputs for operator in self.operators)
        if (
            before is not None
            and (before.op, before.output) == (Op.LOOKUP, source)
            and readers == 1
            and source != self.output
        ):
            self.layers.pop()
            table = table[before.weights.astype(np.int64) + 128]
            source = before.inputs[0]
        if np.array_equal(table, np.arange(-128, 128)):
            self.same[target] = source
        else:
            self.add_layer(Op.LOOKUP, source, target, weights=table)

    def asked(self, source: int) -> NDArray[np.int8]:
        """What the interpreter itself answers to the 256 numbers for the operator at hand."""
        numbers = np.arange(-128, 128).astype(np.int8)
        try:
            return operator_answers(self.model, self.operator, source, numbers, self.name)
        except BackendError as error:
            raise self.refused(f"has no table of its answers ({error})") from None
