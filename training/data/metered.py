"""How much a tar archive may make a program read between its members."""

import tarfile
from typing import IO

MAX_HEADERS = 1024**2
"""Bytes between a member and the next: a name and its attributes."""


class Metered:
    """A stream that gives no more bytes than it is granted, so that no header of a tar archive
    fills the memory.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.granted = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.granted -= len(data)
        if self.granted < 0:
            raise tarfile.ReadError("a header of more than a megabyte")
        return data
