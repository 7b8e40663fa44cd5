"""The process behind `edgeemo.isolated.backend`: python -m edgeemo.isolated.child

Arguments: descriptors of its socket, the bundle's bytes and the shared memory, the artifact's file
("" for the default), threads, and the seconds of one inference. It says one byte when the model is
open, then answers each byte N (N inputs lie in the shared memory) with a byte: N, or 0 and a text.
"""

import contextlib
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

_MAX_ADDRESS_SPACE = 2 << 30
_MAX_FILE = 16 << 20
_MAX_TEXT = 600


def main(arguments: list[str]) -> NoReturn:
    """Answer until the parent has gone."""
    control, bundle, pages = map(int, arguments[:3])
    _limit_self()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with socket.socket(fileno=control) as talk:
        try:
            _serve(talk, bundle, pages, arguments[3], int(arguments[4]), float(arguments[5]))
        except Exception as error:  # a refusal, or whatever a damaged model makes a runtime raise
            text = " ".join(f"{error}".split())[:_MAX_TEXT] or type(error).__name__
            with contextlib.suppress(OSError):
                talk.sendall(b"\0" + text.encode(errors="replace"))
    os._exit(0)


def _serve(
    talk: socket.socket, file: int, pages: int, artifact: str, threads: int, seconds: float
) -> None:
    from edgeemo.backends import open_backend
    from edgeemo.isolated.pages import Pages
    from edgeemo.trust.reading import parse_checked_before

    with os.fdopen(file, "rb") as source:
        source.seek(0)
        bundle = parse_checked_before(source.read(), Path("isolated.edgeemo"))
    backend = open_backend(bundle, artifact or None, threads=threads)
    memory = Pages(pages, backend.spec.shape, len(backend.labels))
    told = f"{backend.name}\n{backend.version}\n{backend.artifact}"
    talk.sendall(b"\1" + told.encode())
    while count := talk.recv(1):
        # Whatever the model does, and whether the parent lives or not: the kernel ends it then.
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds)
        memory.put_logits(backend.infer(memory.inputs[: count[0]]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        talk.sendall(count)


def _limit_self() -> None:
    """No core file, bounded memory and files, first to be killed, nothing on a terminal's Ctrl-C:
    the parent closes the socket.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for which, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _MAX_ADDRESS_SPACE),
        (resource.RLIMIT_FSIZE, _MAX_FILE),
    ):
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(which)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(which, (most, most))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main(sys.argv[1:])
