"""Espressif's esptool as a program of its own: it reads and writes a device's flash over a serial
port."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeemo.errors import FlashError, MissingDependency
from edgeemo.optional import is_installed

_SECONDS = 600  # 1 MB at 115,200 baud takes 100


@dataclass(frozen=True)
class Device:
    """How a device is reached."""

    port: str
    """The serial port, such as /dev/ttyACM0 or COM3."""
    baud: int = 460800
    """Bits a second."""
    chip: str = "esp32s3"
    """The chip's name as esptool knows it."""
    no_stub: bool = False
    """Talk to the chip's ROM alone: slower, for boards where esptool's stub does not start."""
    reset: bool = True
    """Reset the board before and after; else it is in download mode already."""
    show: bool = False
    """Hand esptool's own output to stderr."""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes of flash from `offset`. Raises FlashError, MissingDependency."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "read.bin")
            self._run("read-flash", hex(offset), hex(size), str(path))
            data = path.read_bytes() if path.exists() else b""
        if len(data) != size:
            raise FlashError(
                f"{self.port}: {len(data):,} of {size:,} bytes could be read; try a lower --baud"
            )
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Write `data` at `offset`; esptool compares the device's MD5.

        Raises:
            FlashError: the device does not answer, or refuses.
            MissingDependency: esptool is not installed.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.bin")
            path.write_bytes(data)
            self._run("write-flash", "--flash-size", "keep", hex(offset), str(path))

    def command(self, *words: str) -> list[str]:
        """The command line of one of esptool's verbs."""
        modes = () if self.reset else ("--before", "no-reset", "--after", "no-reset")
        stub = ("--no-stub",) if self.no_stub else ()
        where = ("--chip", self.chip, "--port", self.port, "--baud", str(self.baud))
        return [sys.executable, "-m", "esptool", *where, *modes, *stub, *words]

    def _run(self, *words: str) -> None:
        if not is_installed("esptool"):
            raise MissingDependency(
                "esptool is needed to write to a device and is not installed; run: "
                "pip install 'edgeemo[flash]'"
            )
        try:
            done = subprocess.run(
                self.command(*words),
                stdout=sys.stderr if self.show else subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise FlashError(
                f"{self.port}: the device did not answer for {_SECONDS} seconds"
            ) from None
        if done.returncode:
            output = ((done.stdout or b"") + done.stderr).decode("utf-8", "replace")
            raise FlashError(
                f"{self.port}: esptool {words[0]} failed: {_last_words(output.splitlines())}"
            )


def _last_words(lines: Sequence[str]) -> str:
    """What esptool says is wrong, or its last line."""
    words = [line.strip() for line in lines if line.strip()]
    errors = [line for line in words if "error" in line.lower()]
    return (errors or words or ["it said nothing"])[-1][:300]
