"""A backend whose interpreter lives in a child process, with a deadline for each inference."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
import weakref

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.text import printable
from edgeemo.contract.container import packed
from edgeemo.errors import BackendError
from edgeemo.isolated.pages import MOST_FACES, Pages, pages_size, shared_file

DEADLINE = 2.0
"""Seconds of one inference, of a face or of MOST_FACES."""
START = 30.0
"""Seconds until the model is open."""
_MAX_RESTARTS = 20  # over the life of a recognizer; a model that needs more is no model
_CHILD = "edgeemo.isolated.child"


class IsolatedBackend:
    """As the backend of `edgeemo.backends.open_backend`, in a process of its own.

    Pixels and logits lie in memory that both share; a byte each way says that they are there. Where
    the child crashes, or takes longer than the deadline, it is killed, the inference fails, and the
    next one starts another child.

    Args:
        bundle: as it was read; the child gets its bytes, not its path.
        artifact: which model file; None for the default.
        threads: of one inference.
        deadline: seconds of one inference.

    Raises:
        BackendError: no process can be started, or the model is refused.
    """

    def __init__(
        self,
        bundle: Bundle,
        artifact: str | None = None,
        *,
        threads: int = 1,
        deadline: float = DEADLINE,
    ) -> None:
        self.threads, self.labels, self.spec = threads, bundle.labels, bundle.spec
        self._artifact, self._deadline = artifact or "", deadline
        self._file = _filled(packed(bundle.manifest.to_json().encode(), bundle.files))
        self._memory = shared_file(pages_size(self.spec.shape, len(self.labels)))
        self._pages = Pages(self._memory, self.spec.shape, len(self.labels))
        self._held: list[object] = []  # the process and the socket of now, for the finalizer
        self.restarts = 0
        self._finalizer = weakref.finalize(self, _end, self._held, (self._file, self._memory))
        self.name, self.version, self.artifact = self._start()

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C).

        Raises:
            BackendError: the child crashed, hung or refused; another one is started next time.
        """
        check_inputs(inputs, self.spec.shape)
        if not self._held:
            self.restarts += 1
            if self.restarts > _MAX_RESTARTS:
                raise BackendError(
                    f"{self.artifact}: its process has failed {_MAX_RESTARTS} times; do not use "
                    "this model"
                )
            self._start()
        parts = [
            self._ask(inputs[start : start + MOST_FACES])
            for start in range(0, len(inputs), MOST_FACES)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), np.float32)

    def close(self) -> None:
        """End the child; more than once does no harm."""
        self._finalizer()

    def _ask(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(inputs)
        self._pages.inputs[:count] = inputs
        reply = self._talk(bytes([count]), self._deadline, "inference")
        if reply[0] != count:
            self._fail(printable(reply[1:].decode(errors="replace")) or "answers out of turn")
        return self._pages.logits(count)

    def _talk(self, words: bytes, seconds: float, what: str) -> bytes:
        """Send, and the reply. Raises BackendError, with the child dead."""
        talk = self._held[1]
        assert isinstance(talk, socket.socket)
        try:
            if words:
                talk.sendall(words)
            if not select.select([talk], [], [], seconds)[0]:
                self._fail(f"no answer within {seconds:g} s of {what}; it was killed")
            reply = talk.recv(4096)
        except OSError as error:
            self._fail(f"its process has gone ({error.strerror})")
        if not reply:
            self._fail(f"its process {_how_ended(self._held[0])} during {what}")
        return reply

    def _fail(self, why: str) -> None:
        _kill(self._held)
        name = getattr(self, "artifact", "") or self._artifact or "the model"
        raise BackendError(f"{name}, isolated: {why}")

    def _start(self) -> tuple[str, str, str]:
        """A child with the model open: its runtime's name and version, and the artifact."""
        ours, theirs = socket.socketpair()
        passed = (theirs.fileno(), self._file, self._memory)
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        words = [*map(str, passed), self._artifact, str(self.threads), str(self._deadline)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", _CHILD, *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=passed, env=environment, start_new_session=True, cwd="/",
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise BackendError(f"the model's process cannot be started ({error})") from None
        finally:
            theirs.close()
        self._held[:] = [process, ours]
        reply = self._talk(b"", START, "opening it")
        if reply[0] != 1:
            self._fail(printable(reply[1:].decode(errors="replace")))
        name, version, artifact = reply[1:].decode().split("\n")
        return name, version, artifact


def _filled(data: bytes) -> int:
    descriptor = shared_file(0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor


def _how_ended(process: object) -> str:
    assert isinstance(process, subprocess.Popen)
    for _ in range(50):
        if (code := process.poll()) is not None:
            break
        time.sleep(0.01)
    if code is None or code >= 0:
        return "ended"
    with contextlib.suppress(ValueError):
        return f"crashed ({signal.Signals(-code).name})"
    return "crashed"


def _kill(held: list[object]) -> None:
    for thing in held:
        if isinstance(thing, subprocess.Popen):
            thing.kill()
            thing.wait()
        elif isinstance(thing, socket.socket):
            thing.close()
    held.clear()


def _end(held: list[object], descriptors: tuple[int, ...]) -> None:
    _kill(held)
    for descriptor in descriptors:
        os.close(descriptor)
