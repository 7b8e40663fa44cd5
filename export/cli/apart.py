"""A verb in a process of its own. Files of others go through native code (LiteRT, ONNX Runtime,
HDF5, TensorFlow's converter), which a damaged one can crash; somebody must be left to say so.
"""

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from edgeemo.errors import ModelError

_INSIDE = "EDGEEMO_EXPORT_CHILD"
_PATIENCE = 10.0  # seconds that an interrupted child has to clean up
_PR_SET_PDEATHSIG = 1


def is_child() -> bool:
    """Whether this process is the child; it then ends with its parent, and leaves no core file."""
    if os.environ.pop(_INSIDE, None) != str(os.getppid()):
        return False
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):  # of all processes, the one to end for want of memory
        Path("/proc/self/oom_score_adj").write_text("1000")
    return True


def run_apart(words: Sequence[str], model: str) -> NoReturn:
    """Run `python -m export WORDS` as a child, on this terminal, and exit with its code.

    Ctrl-C, a kill and a terminal that goes reach it once, through this process; what does not end
    on them is killed after a while, or at the second one.

    Raises:
        ModelError: it crashed; `model` is the file whose reading is to blame.
        KeyboardInterrupt: it was asked to end, and had to be killed.
    """
    command = [sys.executable, "-m", "export", *words]
    environment = os.environ | {_INSIDE: str(os.getpid())}
    asked = 0
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, env=environment, process_group=0
    ) as child:

        def pass_on(number: int, _: Any) -> None:
            nonlocal asked
            asked += 1
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number if asked == 1 else signal.SIGKILL)
            signal.alarm(int(_PATIENCE))

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        code = child.wait()
        signal.alarm(0)
    if code >= 0:
        sys.exit(code)
    if asked:
        raise KeyboardInterrupt
    raise ModelError(
        f"{model}: the process that read it {_ended(-code)}, as on a damaged or crafted file; do "
        "not use it, or export it again where it was trained"
    )


def _ended(number: int) -> str:
    if number == signal.SIGKILL:
        return "was killed (SIGKILL), perhaps for want of memory"
    with contextlib.suppress(ValueError):
        return f"crashed ({signal.Signals(number).name})"
    return f"crashed (signal {number})"
