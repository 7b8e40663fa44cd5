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

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import FPS, Frame
from edgeemo.cameras.redact import masked
from edgeemo.cameras.shared import Held, not_open
from edgeemo.errors import CameraError, MissingDependency

_PATIENCE = 10.0  # seconds without a frame after which a program counts as hanging
_GRACE = 1.0  # seconds that a program has to end by itself when it is interrupted, and half of that when it is terminated
_KEPT = 4096  # bytes of the end of what it says beside its frames

Pixels = NDArray[np.uint8]

log = logging.getLogger("edgeemo.camera")


class PipeCamera:
    """A program that writes frames of a fixed size.

    Args:
        command: the program and its arguments; no shell sees them.
        name: for messages.
        frame_bytes: of one frame.
        to_rgb: makes uint8 (H, W, 3) RGB of uint8 (frame_bytes,), which is not used again.
        live: frames come by themselves; a program that ends is then an error. Else it plays a recording.
        missing: what to say where the program is not installed, and how to install it.
        sink: the end of the command, which tells the program the number of the descriptor that takes its frames; without,
            they come on its standard output, on which nothing else may come then.
        fps: of a recording, for `Frame.time`.
        patience: seconds without a frame after which the program counts as hanging.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        frame_bytes: int,
        to_rgb: Callable[[Pixels], Pixels],
        live: bool,
        missing: str,
        sink: Callable[[int], list[str]] | None = None,
        fps: float = FPS,
        patience: float = _PATIENCE,
    ) -> None:
        self.name, self.live = name, live
        self._command, self._sink, self._missing = list(command), sink, missing
        self._frame_bytes, self._to_rgb = frame_bytes, to_rgb
        self._fps, self._patience = fps, patience
        self._program: Held[Program] | None = None
        self._first: Frame | None = None
        self._number = 0

    def open(self) -> None:
        """Start the program, and wait for a first frame, which `read` will give.

        Raises:
            MissingDependency: the program is not installed.
            CameraError: it ends, or gives no frame within 10 s; with the last of what it said.
        """
        self.close()
        path = shutil.which(self._command[0])
        if path is None:
            raise MissingDependency(self._missing)
        try:
            program = Program([path, *self._command[1:]], self._sink)
        except OSError as error:
            raise CameraError(f"{self.name}: {path} cannot be started ({error.strerror})") from None
        self._program = Held(program, Program.end, self.name)
        self._number = 0
        try:
            self._first = self.read()
        except CameraError:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise CameraError(f"{self.name}: gives no frame; is it empty?")

    def read(self) -> Frame | None:
        """The next frame; None at the end of a recording.

        Raises:
            CameraError: the program has ended or hangs, with the last of what it said; or the camera was closed.
        """
        held = self._program
        if held is None:
            raise not_open(self.name)
        first, self._first = self._first, None
        if first:
            return first
        with held.use() as program:
            raw = self._raw(program)
            if held.closed:
                raise CameraError(f"{self.name} was closed")
        if raw is None:
            return None
        number, self._number = self._number, self._number + 1
        moment = time.monotonic() if self.live else number / self._fps
        return Frame(self._to_rgb(raw), moment)

    def close(self) -> None:
        """End the program and all that it started; ends a `read` that waits. Does no harm twice."""
        held, self._program, self._first = self._program, None, None
        if held:
            with contextlib.suppress(CameraError), held.use() as program:
                program.wake()
            held.close()

    def complaint(self, said: str) -> str:
        """What matters of all that the program said: its last line."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _raw(self, program: "Program") -> Pixels | None:
        raw = np.empty(self._frame_bytes, np.uint8)
        count = program.fill(raw.data, time.monotonic() + self._patience)
        if count == self._frame_bytes:
            return raw
        if program.woken:
            raise CameraError(f"{self.name} was closed")
        if count is None:
            raise self._failure(f"no frame for {self._patience:g} s", program)
        code = program.wait_for_end()
        if code == 0 and not count and not self.live:
            return None
        part = f" within a frame ({count:,} of {self._frame_bytes:,} bytes)" if count else ""
        raise self._failure(
            f"{os.path.basename(program.path)} ended{part} with exit code {code}", program
        )

    def _failure(self, what: str, program: "Program") -> CameraError:
        said = masked(self.complaint(program.said()))[:300]
        return CameraError(f"{self.name}: {what}" + (f": {said}" if said else ""))


class Program:
    """A running child process, alone in its process group; its output is read without threads.

    Used by one thread; `wake` may be called from another.

    Args:
        command: what is run.
        sink: as of `PipeCamera`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], sink: Callable[[int], list[str]] | None = None
    ) -> None:
        self.path = command[0]
        self.woken = False
        self._said = bytearray()
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
        """Fill `buffer` from its output. The bytes that came before it closed its output or we were woken; None too late.

        `deadline` is a time of `time.monotonic()`.
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

    def said(self) -> str:
        """The end of what it said beside its frames."""
        self._listen()
        return self._said.decode(errors="replace")

    def wait_for_end(self) -> int:
        """The exit code of a program that has closed its output, negative for a signal; killed if it does not end."""
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
                self._said += some
                del self._said[:-_KEPT]

    def _has_ended(self, deadline: float) -> bool:
        """Wait for its end without reaping it: while it is a zombie, no other process can get its group's number."""
        wait = 0.001
        with contextlib.suppress(
            ChildProcessError
        ):  # a program that ignores SIGCHLD has its children reaped at once
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
