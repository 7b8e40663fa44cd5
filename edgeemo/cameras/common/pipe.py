"""Raw frames from a program through a pipe: GStreamer's and the Raspberry Pi's camera programs."""

import contextlib
import logging
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import FPS, Frame
from edgeemo.cameras.common.redact import redacted
from edgeemo.cameras.common.source import Source
from edgeemo.errors import CameraError, MissingDependency

PATIENCE = 10.0  # seconds without a frame after which a program counts as hanging
# Seconds that a program has to end by itself when it is interrupted; half of that when terminated.
_GRACE = 1.0
_OUTPUT_END = 4096  # bytes that are kept of what it says beside its frames

Pixels = NDArray[np.uint8]

log = logging.getLogger("edgeemo.camera")


@dataclass(frozen=True)
class FrameProgram:
    """A program that writes raw frames of a fixed size."""

    command: Sequence[str]
    """The program and its arguments; no shell sees them."""
    frame_bytes: int
    """Bytes of one frame."""
    to_rgb: Callable[[Pixels], Pixels]
    """Makes uint8 (H, W, 3) RGB of uint8 (frame_bytes,), which is not used again."""
    missing: str
    """What to say where the program is not installed, and how to install it."""
    sink: Callable[[int], list[str]] | None = None
    """The end of the command, which tells the program the number of the descriptor that takes its
    frames; without, they come on its standard output, on which nothing else may come then."""


class PipeCamera(Source["Program"]):
    """A program that writes frames of a fixed size.

    Args:
        program: what is run, and what it writes.
        name: for messages.
        live: frames come by themselves; a program that ends is then an error. Else it plays a
            recording.
        fps: of a recording, for `Frame.time`.
        patience: seconds without a frame after which the program counts as hanging.
    """

    def __init__(
        self,
        program: FrameProgram,
        *,
        name: str,
        live: bool,
        fps: float = FPS,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(name, fps=fps)
        self.live = live
        self._program, self._patience = program, patience
        self._number = 0

    def _start(self) -> "Program":
        self._number = 0
        name, *arguments = self._program.command
        path = shutil.which(name)
        if path is None:
            raise MissingDependency(self._program.missing)
        try:
            return Program([path, *arguments], self._program.sink)
        except OSError as error:
            raise CameraError(f"{self.name}: {path} cannot be started ({error.strerror})") from None

    def _take(self, program: "Program") -> Frame | None:
        raw = self._raw(program)
        if raw is None:
            return None
        number, self._number = self._number, self._number + 1
        timestamp = time.monotonic() if self.live else number / self._fps
        return Frame(self._program.to_rgb(raw), timestamp)

    def _interrupt(self, program: "Program") -> None:
        program.wake()

    def _release(self, program: "Program") -> None:
        program.end()

    def complaint(self, output: str) -> str:
        """What matters of all that the program said: its last line."""
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _raw(self, program: "Program") -> Pixels | None:
        raw = np.empty(self._program.frame_bytes, np.uint8)
        count = program.fill(raw.data, time.monotonic() + self._patience)
        if count == self._program.frame_bytes:
            return raw
        if program.woken:
            raise CameraError(f"{self.name} was closed")
        if count is None:
            raise self._failure(f"no frame for {self._patience:g} s", program)
        code = program.wait_for_end()
        if code == 0 and not count and not self.live:
            return None
        part = (
            f" within a frame ({count:,} of {self._program.frame_bytes:,} bytes)" if count else ""
        )
        raise self._failure(
            f"{os.path.basename(program.path)} ended{part} with exit code {code}", program
        )

    def _failure(self, what: str, program: "Program") -> CameraError:
        complaint = redacted(self.complaint(program.output()))[:300]
        return CameraError(f"{self.name}: {what}" + (f": {complaint}" if complaint else ""))


class Program:
    """A running child process, alone in its process group; its output is read without threads.

    Used by one thread; `wake` may be called from another.

    Args:
        command: what is run.
        sink: as of `FrameProgram`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], sink: Callable[[int], list[str]] | None = None
    ) -> None:
        self.path = command[0]
        self.woken = False
        self._output = bytearray()
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            self._frames, frames = _pipe(ours, childs)
            self._talk, talk = _pipe(ours, childs)
            self._alarm, self._bell = _pipe(ours, ours)
            self._process = subprocess.Popen(
                [*command, *(sink(frames) if sink else [])],
                stdin=subprocess.DEVNULL,
                stdout=talk if sink else frames,
                stderr=talk,
                pass_fds=[frames] if sink else [],
                start_new_session=True,
            )
            self._descriptors = ours.pop_all()
        self._selector = selectors.PollSelector()
        for descriptor in (self._frames, self._talk, self._alarm):
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)

    def fill(self, buffer: memoryview, deadline: float) -> int | None:
        """Fill `buffer` from its output, until `deadline`, a time of `time.monotonic()`.

        The number of bytes that came before it closed its output or we were woken; None too late.
        """
        count = 0
        while count < len(buffer):
            ready = [
                key.fd for key, _ in self._selector.select(max(0.0, deadline - time.monotonic()))
            ]
            if self._alarm in ready:
                self.woken = True
                break
            if self._talk in ready:
                self._listen()
            if self._frames in ready:
                got = os.readv(self._frames, [buffer[count:]])
                if not got:
                    break
                count += got
            elif time.monotonic() >= deadline:
                return None
        return count

    def wake(self) -> None:
        """End a `fill` that waits."""
        os.write(self._bell, b"!")

    def output(self) -> str:
        """The end of what it said beside its frames."""
        self._listen()
        return self._output.decode(errors="replace")

    def wait_for_end(self) -> int:
        """The exit code of a program that has closed its output, negative for a signal.

        It is killed if it does not end.
        """
        if self._process.returncode is None:
            self._has_ended(time.monotonic() + _GRACE)
            self._listen()
            self._reap()
        return self._process.returncode

    def end(self) -> None:
        """End it and all it started, and close what belongs to it."""
        if self._process.returncode is None:
            # Camera programs give their device back properly when they are interrupted.
            for number, grace in ((signal.SIGINT, _GRACE), (signal.SIGTERM, _GRACE / 2)):
                self._signal(number)
                if self._has_ended(time.monotonic() + grace):
                    break
            self._reap()
        self._selector.close()
        self._descriptors.close()

    def _listen(self) -> None:
        """Take what it said, so that it never waits for us to do so, and keep the end."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):  # a program that never stops talking must not keep us here
                some = os.read(self._talk, 65_536)
                if not some:
                    if self._talk in self._selector.get_map():
                        self._selector.unregister(self._talk)  # closed: it would be ready for ever
                    return
                self._output += some
                del self._output[:-_OUTPUT_END]

    def _has_ended(self, deadline: float) -> bool:
        """Wait for its end without reaping it.

        While it is a zombie, no other process can get its group's number.
        """
        wait = 0.001
        # A program that ignores SIGCHLD has its children reaped at once.
        with contextlib.suppress(ChildProcessError):
            while not os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(wait)
                wait = min(2 * wait, 0.02)
        return True

    def _reap(self) -> None:
        """Kill what is left of the group, and take the exit code."""
        self._signal(signal.SIGKILL)
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            log.warning(
                "%s (process %d) hangs in its driver and cannot be killed",
                self.path,
                self._process.pid,
            )
            self._process.returncode = -signal.SIGKILL  # not ours to wait for any more

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe, whose ends the two stacks will close."""
    out, into = os.pipe()
    reading.callback(os.close, out)
    writing.callback(os.close, into)
    return out, into
