"""Finds references to files outside an ONNX model, by walking its protobuf: the device has no onnx
package.

Field numbers from onnx.proto (ONNX 1.23, IR version 13). An ONNX tensor may name any path for its
weights (`external_data`), which the runtime would open.
"""

from collections.abc import Iterator

from edgeemo.errors import BundleError

# The messages from the model down to its tensors: which field of which message holds which message.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_MAX_DEPTH = 64


def check_self_contained(model: bytes, where: str) -> None:
    """Raise BundleError when the ONNX model's bytes name external data or are no protobuf; `where`
    names it.
    """
    try:
        external = _has_external(memoryview(model), "model", 0)
    except (ValueError, IndexError):
        raise BundleError(
            f"{where}: not a readable ONNX model; build or copy the bundle again"
        ) from None
    if external:
        raise BundleError(
            f"{where}: keeps weights in external files, expected all of them inside; do not use"
            " this bundle"
        )


def _has_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    for field, value in fields(message):
        if kind == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
        elif field in _CHILDREN[kind]:
            if not isinstance(value, memoryview):
                raise ValueError("a message field of another wire type")
            if _has_external(value, _CHILDREN[kind][field], depth + 1):
                return True
    return False


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, value) of a protobuf message: bytes for length-delimited fields, an int for
    the others, 0 where it is of 32 or 64 bits.

    Raises ValueError, IndexError: it is no protobuf.
    """
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        if not 8 <= key < 1 << 32:
            # Some readers cut a longer key to 32 bits, and would see another field than this one
            # does.
            raise ValueError("a field number out of range")
        wire = key & 7
        if wire == 0:
            value, at = varint(message, at)
            yield key >> 3, value
        elif wire == 2:
            length, at = varint(message, at)
            if at + length > len(message):
                raise ValueError("a field reaches beyond its message")
            yield key >> 3, message[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            if at > len(message):
                raise ValueError("a field reaches beyond its message")
            yield key >> 3, 0
        else:
            raise ValueError(f"wire type {wire}")


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next thing does.

    Raises ValueError, IndexError: none ends within ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a varint of more than ten bytes")
