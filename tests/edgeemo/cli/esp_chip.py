"""A stand-in for an ESP32-S3's ROM bootloader on a pseudo-terminal, so that the real esptool has
something to talk to.

It speaks the documented serial protocol (SLIP frames; ROM commands alone, esptool's --no-stub) and
keeps a flash in memory.
"""

import hashlib
import os
import pty
import struct
import threading
import tty
import zlib
from collections.abc import Callable

_FRAME, _ESCAPES = 0xC0, {0xDC: 0xC0, 0xDD: 0xDB}
_SPI_W0 = 0x60002058  # where the answer to a flash chip's RDID appears
_FLASH_ID = 0x16_40_20  # of 4 MB
_CHIP_ID = 9  # ESP32-S3


class EspChip:
    """A chip with `flash` behind the serial port `port`.

    `fails_at` answers that command with an error; `silent` never answers.
    """

    def __init__(
        self, flash: bytearray, *, fails_at: int | None = None, silent: bool = False
    ) -> None:
        self.flash, self.fails_at, self.silent = flash, fails_at, silent
        self.commands: list[int] = []
        self._controller, worker = pty.openpty()
        tty.setraw(worker)
        self.port = os.ttyname(worker)
        self._worker = worker
        self._at, self._left, self._inflate = 0, 0, zlib.decompressobj()
        self._handlers: dict[int, Callable[[bytes], tuple[int, bytes]]] = {
            0x02: self._begin,
            0x03: self._data,
            0x0A: self._read_register,
            0x0E: self._read_flash,
            0x10: self._begin,
            0x11: self._deflated,
            0x13: self._md5,
            0x14: self._security,
        }
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> "EspChip":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._worker)
        os.close(self._controller)
        self._thread.join(5)

    def _serve(self) -> None:
        frame: bytearray | None = None
        escaped = False
        while True:
            try:
                received = os.read(self._controller, 4096)
            except OSError:
                return
            for byte in received:
                if byte == _FRAME:
                    if frame:
                        self._answer(bytes(frame))
                        frame = None
                    else:
                        frame = bytearray()
                elif frame is not None:
                    if escaped:
                        frame.append(_ESCAPES[byte])
                        escaped = False
                    elif byte == 0xDB:
                        escaped = True
                    else:
                        frame.append(byte)

    def _answer(self, request: bytes) -> None:
        _, command, size, _ = struct.unpack_from("<BBHI", request)
        data = request[8 : 8 + size]
        self.commands.append(command)
        if self.silent:
            return
        if command == self.fails_at:
            self._send(command, 0, b"\x01\x06\0\0")
            return
        value, answer = self._handlers.get(command, lambda _: (0, b""))(data)
        for _ in range(8 if command == 0x08 else 1):  # the ROM answers SYNC eight times
            self._send(command, value or (0x20 if command == 0x08 else 0), answer + bytes(4))

    def _send(self, command: int, value: int, body: bytes) -> None:
        packet = struct.pack("<BBHI", 1, command, len(body), value) + body
        escaped = packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
        os.write(self._controller, b"\xc0" + escaped + b"\xc0")

    def _begin(self, data: bytes) -> tuple[int, bytes]:
        size, _, _, self._at = struct.unpack_from("<4I", data)
        self._left = size
        self._inflate = zlib.decompressobj()
        first = self._at - self._at % 4096
        last = -(-(self._at + size) // 4096) * 4096
        self.flash[first:last] = b"\xff" * (last - first)  # erased by sectors
        return 0, b""

    def _store(self, content: bytes) -> None:
        content = content[: self._left]  # the last block is padded
        for i, byte in enumerate(content):
            self.flash[self._at + i] &= byte  # a write clears bits and sets none
        self._at += len(content)
        self._left -= len(content)

    def _data(self, data: bytes) -> tuple[int, bytes]:
        size = struct.unpack_from("<I", data)[0]
        self._store(data[16 : 16 + size])
        return 0, b""

    def _deflated(self, data: bytes) -> tuple[int, bytes]:
        size = struct.unpack_from("<I", data)[0]
        self._store(self._inflate.decompress(data[16 : 16 + size]))
        return 0, b""

    def _read_register(self, data: bytes) -> tuple[int, bytes]:
        return (_FLASH_ID if struct.unpack_from("<I", data)[0] == _SPI_W0 else 0), b""

    def _read_flash(self, data: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack_from("<2I", data)
        return 0, bytes(self.flash[offset : offset + size]).ljust(64, b"\0")

    def _md5(self, data: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack_from("<2I", data)
        return 0, hashlib.md5(self.flash[offset : offset + size]).hexdigest().encode()

    def _security(self, data: bytes) -> tuple[int, bytes]:
        return 0, struct.pack("<IB7sII", 0, 0, bytes(7), _CHIP_ID, 0)
