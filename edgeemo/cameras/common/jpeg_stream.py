"""JPEG pictures out of bytes that come one after the other, whatever stands between them."""

import re

MOST = 16 * 1024 * 1024  # bytes of one picture
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_BEGIN = re.compile(rb"\xff\xd8\xff")
# In the coded data behind a scan's header 255 stands before 0 or a restart marker, or ends it.
_BEHIND_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class JpegStream:
    """Cuts pictures out of a stream by their own markers (ITU-T T.81, B.1).

    Boundaries, headers and lengths of HTTP's multipart are not needed, which cameras leave out or
    get wrong; nor can a thumbnail within a picture end it. A picture that breaks off is dropped.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next picture that is there as a whole; None: more bytes are needed."""
        while True:
            begin = _BEGIN.search(self._buffer)
            if begin is None:
                del self._buffer[:-2]
                return None
            del self._buffer[: begin.start()]
            whole, at = _end(self._buffer)
            if whole:
                picture = bytes(self._buffer[:at])
                del self._buffer[:at]
                return picture
            if not at and len(self._buffer) <= MOST:
                return None
            del self._buffer[: at or 2]


def _end(data: bytearray) -> tuple[bool, int]:
    """Whether the picture at the beginning is whole, and its bytes.

    Of one that is not: 0 where more bytes are needed, else from where on to look for another.
    """
    at = 2
    while at + 4 <= len(data) or data[at : at + 2] == b"\xff\xd9":
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0:
            return False, 2
        if marker == _EOI:
            return True, at + 2
        if marker == _SOI:
            return False, at
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            behind = _BEHIND_SCAN.search(data, at)
            if behind is None:
                return False, 0
            at = behind.start()
    return False, 0
