"""Memory that two processes share: pixels one way, logits the other."""

import mmap
import os
import tempfile

import numpy as np
from numpy.typing import NDArray

MOST_FACES = 16
"""Of one message; more go in several."""


def shared_file(size: int) -> int:
    """The descriptor of a file of `size` bytes that has no name on any disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("edgeemo", os.MFD_CLOEXEC)
    else:
        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    os.ftruncate(descriptor, size)
    return descriptor


def pages_size(shape: tuple[int, int, int], labels: int) -> int:
    """Bytes of shared memory for MOST_FACES inputs and their answers."""
    return MOST_FACES * (int(np.prod(shape)) + 4 * labels)


class Pages:
    """The shared memory as arrays.

    Args:
        descriptor: of `shared_file`.
        shape: of one input, (H, W, C).
        labels: how many logits one has.
    """

    def __init__(self, descriptor: int, shape: tuple[int, int, int], labels: int) -> None:
        self._memory = mmap.mmap(descriptor, pages_size(shape, labels))
        pixels = MOST_FACES * int(np.prod(shape))
        self.inputs: NDArray[np.uint8] = np.frombuffer(self._memory, np.uint8, pixels).reshape(
            MOST_FACES, *shape
        )
        # Bytes, because float32 may not start at any address.
        self._answers = np.frombuffer(self._memory, np.uint8, MOST_FACES * 4 * labels, pixels)
        self._labels = labels

    def put_logits(self, logits: NDArray[np.float32]) -> None:
        """Write float32 (N, labels)."""
        data = np.ascontiguousarray(logits, np.float32).reshape(-1).view(np.uint8)
        self._answers[: data.size] = data

    def logits(self, count: int) -> NDArray[np.float32]:
        """float32 (count, labels), a copy."""
        data = self._answers[: 4 * count * self._labels].copy()
        return data.view(np.float32).reshape(count, self._labels)
