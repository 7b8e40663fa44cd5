"""The nodes and constants of an ONNX model, read from its bytes: the device has no onnx package.

Field numbers and types of numbers from onnx.proto (ONNX 1.23). The main graph alone: none of ours
has one inside of a node.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.onnx_guard import fields, varint
from edgeemo.errors import BackendError

_NUMBERS: Mapping[int, str] = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8",
}  # fmt: skip
_FLOAT, _FLOAT_DATA, _INT32_DATA, _INT64_DATA, _RAW_DATA = 1, 4, 5, 7, 9
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class Node:
    """One operator of the graph."""

    operator: str
    """Its type, such as "Conv"."""
    domain: str
    """Whose operator it is; "" of ONNX's own."""
    name: str
    """What the model calls it; may be ""."""
    inputs: tuple[str, ...]
    """Names of the tensors that it reads; "" for one left out."""
    outputs: tuple[str, ...]
    """Names of the tensors that it makes."""
    integers: Mapping[str, int]
    """Its attributes of one integer each, by name."""


@dataclass(frozen=True)
class OnnxGraph:
    """What a model computes, in the order that it is stored in."""

    opset: int
    """Version of ONNX's own operators; 0 where the model states none."""
    nodes: tuple[Node, ...]
    """The operators."""
    constants: Mapping[str, NDArray[np.generic]]
    """The initializers and the tensors of Constant nodes, by name."""


def read_graph(model: bytes, where: str) -> OnnxGraph:
    """The graph of an ONNX model; `where` names it in the message.

    Raises BackendError: its bytes are no ONNX model, or a constant is stored in a way that no
    converter of ours uses.
    """
    opset, nodes, constants = 0, [], {}
    try:
        for field, value in fields(memoryview(model)):
            if field == 8:
                domain, version = _opset(_message(value))
                opset = version if domain in ("", "ai.onnx") else opset
            if field != 7:
                continue
            for inner, content in fields(_message(value)):
                if inner == 1:
                    node, constant = _node(_message(content))
                    nodes.append(node)
                    if constant is not None and node.operator == "Constant":
                        constants[node.outputs[0]] = constant
                elif inner == 5:
                    name, array = _tensor(_message(content))
                    constants[name] = array
    except (ValueError, IndexError) as error:
        raise BackendError(f"{where}: not a readable ONNX model ({error})") from None
    return OnnxGraph(opset, tuple(nodes), constants)


def _message(value: memoryview | int) -> memoryview:
    if not isinstance(value, memoryview):
        raise ValueError("a message field of another wire type")
    return value


def _text(value: memoryview | int) -> str:
    return bytes(_message(value)).decode()


def _number(value: memoryview | int) -> int:
    """A signed integer: protobuf writes negative ones as if they had 64 bits."""
    if not isinstance(value, int):
        raise ValueError("a number of another wire type")
    return value - (1 << 64) if value >> 63 else value


def _opset(message: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for field, value in fields(message):
        if field == 1:
            domain = _text(value)
        elif field == 2:
            version = _number(value)
    return domain, version


def _node(message: memoryview) -> tuple[Node, NDArray[np.generic] | None]:
    """A node, and the tensor among its attributes, if it has one."""
    words: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""], 7: [""]}
    integers: dict[str, int] = {}
    constant: NDArray[np.generic] | None = None
    for field, value in fields(message):
        if field in words:
            words[field].append(_text(value))
        elif field == 5:
            name, number, tensor = _attribute(_message(value))
            if number is not None:
                integers[name] = number
            constant = tensor if tensor is not None else constant
    inputs, outputs, (*_, name), (*_, operator), (*_, domain) = words.values()
    domain = "" if domain == "ai.onnx" else domain
    return Node(operator, domain, name, tuple(inputs), tuple(outputs), integers), constant


def _attribute(message: memoryview) -> tuple[str, int | None, NDArray[np.generic] | None]:
    name, number, tensor = "", None, None
    for field, value in fields(message):
        if field == 1:
            name = _text(value)
        elif field == 3:
            number = _number(value)
        elif field == 5:
            _, tensor = _tensor(_message(value))
    return name, number, tensor


def _tensor(message: memoryview) -> tuple[str, NDArray[np.generic]]:
    name, kind, shape, content = "", 0, [], None
    listed: list[int] = []
    for field, value in fields(message):
        if field == 1:
            shape += _numbers(value)
        elif field == 2:
            kind = _number(value)
        elif field == 8:
            name = _text(value)
        elif field in (_RAW_DATA, _FLOAT_DATA):
            content = bytes(_message(value))
        elif field in (_INT32_DATA, _INT64_DATA):
            listed += _numbers(value)
    if kind not in _NUMBERS or len(shape) > _MAX_DIMENSIONS or min(shape, default=1) < 0:
        raise ValueError(f"a constant of type {kind} and shape {shape[:9]}")
    if content is not None:
        array = np.frombuffer(content, _NUMBERS[kind])
    else:
        array = np.array(listed, np.int64).astype(_NUMBERS[kind])
    return name, array.reshape(shape)


def _numbers(value: memoryview | int) -> list[int]:
    """The integers of a repeated field, which may be packed."""
    if isinstance(value, int):
        return [_number(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        numbers.append(_number(number))
    return numbers
