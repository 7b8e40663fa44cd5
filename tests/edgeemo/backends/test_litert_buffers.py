"""Constants behind the flatbuffer of a .tflite, as ai-edge-quantizer writes larger models."""

from typing import Any

import flatbuffers
import numpy as np
import pytest

from edgeemo.backends.litert import parse_model
from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import BackendError
from edgeemo.models import find_model


def packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_kernels_behind(shift: int = 0) -> tuple[bytes, dict[int, bytes]]:
    """The shipped nano with its larger buffers behind the flatbuffer, and those by number."""
    model = parse_model(read_bundle(find_model("nano")).files["int8.tflite"], "nano")
    moved = {
        number: bytes(np.asarray(buffer.data, np.uint8))
        for number, buffer in enumerate(model.buffers)
        if buffer.data is not None and len(buffer.data) > 4096
    }
    for number in moved:
        model.buffers[number].data = None
        model.buffers[number].offset = model.buffers[number].size = 2**31  # room for any
    start = -(-len(packed(model)) // 16) * 16
    behind = bytearray()
    for number, data in moved.items():
        model.buffers[number].offset = start + len(behind) + shift
        model.buffers[number].size = len(data)
        behind += data + bytes(-len(data) % 16)
    head = packed(model)
    return head + bytes(start - len(head)) + bytes(behind), moved


def test_constants_behind_the_flatbuffer_are_read_as_those_inside() -> None:
    file, moved = with_kernels_behind()
    assert len(moved) >= 3
    model = parse_model(file, "nano")
    for number, data in moved.items():
        assert bytes(model.buffers[number].data) == data


def test_constants_outside_the_file_are_refused() -> None:
    with pytest.raises(BackendError):
        parse_model(with_kernels_behind(shift=1_000_000)[0], "nano")
