"""Floats at the ends of an int8 .tflite: a QUANTIZE of the input becomes the table of the pixels,
and what stands behind the last int8 tensor is left to whoever reads the logits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import operator_answers
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import scaled_pixels
from edgeemo.firmware.reader import Reader

_TAIL = ("DEQUANTIZE", "RESHAPE", "SOFTMAX", "SQUEEZE")


def float_head(r: Reader, spec: InputSpec) -> NDArray[np.int8] | None:
    """Take the QUANTIZE of a float input away: int8 (channels, 256), what the interpreter itself
    makes of each pixel. None for an input that is no float.

    Raises:
        BackendError: somebody else reads the float input.
    """
    if r.type_of(r.input) != "float32":
        return None
    readers = [operator for operator in r.operators if r.input in operator.inputs]
    r.operator = readers[0] if readers else r.operators[0]
    target = int(r.operator.outputs[0])
    if len(readers) != 1 or r.kind != "QUANTIZE" or r.type_of(target) != "int8":
        raise r.refused("works on float32, expected int8 alone")
    rows = [
        operator_answers(r.model, r.operator, r.input, row, r.name) for row in scaled_pixels(spec)
    ]
    r.operators = [operator for operator in r.operators if operator is not r.operator]
    r.input = target
    return np.stack(rows)


def float_tail(r: Reader) -> bool:
    """Cut off what makes floats of the last int8 tensor: DEQUANTIZE, and a SOFTMAX, which the
    scores are computed with anyway. Whether there was such a SOFTMAX.

    Raises:
        BackendError: another operator on floats.
    """
    cut: list[Any] = []
    number, softmax = r.output, False
    while r.type_of(number) == "float32":
        r.operator = next((o for o in r.operators if number in o.outputs), r.operators[-1])
        circle = any(r.operator is operator for operator in cut)
        other = r.kind == "SOFTMAX" and (softmax or r.operator.builtinOptions.beta != 1)
        if r.kind not in _TAIL or other or circle:
            raise r.refused("works on float32, expected int8 alone")
        softmax = softmax or r.kind == "SOFTMAX"
        cut.append(r.operator)
        number = int(r.operator.inputs[0])
    r.operators = [operator for operator in r.operators if not any(operator is o for o in cut)]
    r.output = number
    return softmax
