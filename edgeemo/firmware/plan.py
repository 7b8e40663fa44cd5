"""Where each tensor lies in the arena: buffers whose lifetimes do not touch share bytes."""

import random
from dataclasses import dataclass

from edgeemo.firmware.layers import Network

ALIGNMENT = 4  # bytes: the widest load of the C kernels
_TRIES, _SEED = 400, 1


@dataclass(frozen=True)
class Plan:
    """Where everything lies in the arena."""

    offsets: dict[int, int]
    """Of each tensor by its number, in bytes."""
    scratch: tuple[int, ...]
    """Offset of each layer's scratch, in bytes."""
    arena_bytes: int
    """Size of the arena."""
    least_bytes: int
    """What no plan can go below: the most that is alive at one layer."""


@dataclass(frozen=True)
class _Buffer:
    """Tensors that share their place, or a layer's scratch."""

    members: tuple[int, ...]
    """Numbers of the tensors; -1 - layer for a scratch."""
    size: int
    """Bytes."""
    first: int
    """The layer from which on it is alive."""
    last: int
    """The last layer at which it is alive."""


def plan_arena(network: Network) -> Plan:
    """The smallest plan that is found: largest buffers first, then drawn orders (of a fixed seed)
    until one is the least possible.

    A layer that may work in place does, where its input is not read again.
    """
    buffers = _buffers(network)
    steps = range(len(network.layers))
    least = max(sum(b.size for b in buffers if b.first <= step <= b.last) for step in steps)
    order = sorted(buffers, key=lambda b: (-b.size, b.first))
    rng = random.Random(_SEED)
    best: dict[_Buffer, int] = {}
    size = 1 << 62
    for _ in range(_TRIES):
        placed = _placed(order)
        end = max(offset + buffer.size for buffer, offset in placed.items())
        if end < size:
            best, size = placed, end
        if size == least:
            break
        order = sorted(buffers, key=lambda b: -b.size * rng.uniform(0.3, 1.0))
    offsets = {member: offset for buffer, offset in best.items() for member in buffer.members}
    scratch = tuple(offsets.pop(-1 - step, 0) for step in steps)
    return Plan(offsets, scratch, size, least)


def _buffers(network: Network) -> list[_Buffer]:
    first, last = {network.input: 0}, {network.input: 0}
    for step, layer in enumerate(network.layers):
        first.setdefault(layer.output, step)
        for number in (*layer.inputs, layer.output):
            last[number] = step
    last[network.output] = len(network.layers)
    shared = {number: [number] for number in first}
    for step, layer in enumerate(network.layers):
        for source in layer.inputs if layer.in_place else ():
            same_size = network.tensor_bytes[source] == network.tensor_bytes[layer.output]
            if last[source] == step and same_size and shared[source] is not shared[layer.output]:
                shared[source] += shared[layer.output]
                shared[layer.output] = shared[source]
                break
    groups = {tuple(members) for members in shared.values()}
    buffers = [
        _Buffer(
            g,
            _aligned(network.tensor_bytes[g[0]]),
            min(first[n] for n in g),
            max(last[n] for n in g),
        )
        for g in sorted(groups)
    ]
    scratch = (
        (step, layer.scratch_bytes)
        for step, layer in enumerate(network.layers)
        if layer.scratch_bytes
    )
    return buffers + [_Buffer((-1 - step,), _aligned(size), step, step) for step, size in scratch]


def _placed(order: list[_Buffer]) -> dict[_Buffer, int]:
    """Each buffer at the lowest offset that is free while it lives."""
    placed: dict[_Buffer, int] = {}
    for buffer in order:
        taken = sorted(
            (offset, offset + other.size)
            for other, offset in placed.items()
            if other.first <= buffer.last and buffer.first <= other.last
        )
        offset = 0
        for start, stop in taken:
            if start - offset >= buffer.size:
                break
            offset = max(offset, stop)
        placed[buffer] = offset
    return placed


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
