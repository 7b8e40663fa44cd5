"""The C kernels as a library that runs any network's layers, so that a hundred small networks need
one compilation; and the same layers in Python's integers."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.firmware.layers import Layer, Network
from edgeemo.firmware.plan import Plan
from tests.export.firmware.firmware_support import STRICT, C, compile_c, program

_POINTERS = ("weights", "bias", "multiplier", "shift")
_WORDS = ("weight_bytes", "in", "in2", "out", "scratch")
_SIDES = ("in_height", "in_width", "in_channels", "out_height", "out_width", "out_channels")
_BYTES = (
    "op",
    "kernel_height",
    "kernel_width",
    "stride_height",
    "stride_width",
    "pad_top",
    "pad_left",
)
_SIGNED = ("in_zero", "out_zero", "low", "high")


class CLayer(ctypes.Structure):
    """edgeemo_layer."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in _POINTERS),
        *((name, ctypes.c_uint32) for name in _WORDS),
        *((name, ctypes.c_uint16) for name in (*_SIDES, "parameters")),
        *((name, ctypes.c_uint8) for name in _BYTES),
        *((name, ctypes.c_int8) for name in _SIGNED),
    )


class Kernels:
    """edgeemo_kernels.c with some flags."""

    def __init__(self, folder: Path, *flags: str) -> None:
        program("gcc")
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "kernels.so"
        sources = (C / "edgeemo_kernels.c",)
        compile_c("gcc", "-O2", *STRICT, *flags, "-shared", "-fPIC", "-o", library, *sources)
        self.c = ctypes.CDLL(str(library))

    def layers(
        self, network: Network, plan: Plan, pixels: NDArray[np.uint8]
    ) -> Iterator[tuple[Layer, NDArray[np.int8]]]:
        """Each layer and its whole output tensor."""
        arena = np.full(plan.arena_bytes // 4 + 1, 0x5A5A5A5A, np.int32)
        start = plan.offsets[network.input]
        stored = (pixels.astype(np.int16) - 128).astype(np.int8).ravel()
        arena.view(np.int8)[start : start + stored.size] = stored
        for layer, scratch in zip(network.layers, plan.scratch, strict=True):
            tables = [layer.table, layer.bias, layer.multiplier, layer.shift]
            pointers = [table.ctypes.data if table.size else None for table in tables]
            places = [plan.offsets[layer.inputs[0]], plan.offsets[layer.inputs[-1]]]
            out = plan.offsets[layer.output]
            packed = CLayer(
                *pointers, layer.table.size, *places, out + layer.start, scratch, *layer.in_shape,
                *layer.out_shape, layer.bias.size, layer.op, *layer.kernel, *layer.stride,
                *layer.pad, *layer.zeros, *layer.bounds,
            )  # fmt: skip
            self.c.edgeemo_run_layer(ctypes.byref(packed), ctypes.c_void_p(arena.ctypes.data))
            size = network.tensor_bytes[layer.output]
            yield layer, arena.view(np.int8)[out : out + size].copy()
