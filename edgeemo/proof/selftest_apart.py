"""The self-test in a process of its own, watched: a damaged model can hang or crash an interpreter,
and takes only that.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.text import printable
from edgeemo.errors import BackendError, BundleError
from edgeemo.proof.selftest import SelfTestResult, replays

TIME_LIMIT = 8.0
OVERALL_LIMIT = 300.0
# Longer lines are none of ours, and of what else the process writes only the end is kept.
_MAX_LINE, _MAX_TAIL = 16_384, 2_048
# One thread each: a library that makes one a core also reserves memory for each, of which the child
# has little.
_CHILD = "edgeemo.proof.selftest_child"
_ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "MALLOC_ARENA_MAX",
)


def run_selftest_apart(
    bundle: Bundle, *, time_limit: float = TIME_LIMIT, overall_limit: float = OVERALL_LIMIT
) -> list[SelfTestResult]:
    """`edgeemo.proof.selftest.run_selftest` in a fresh process, of which only its messages are
    used.

    A model that hangs, crashes or refuses is a result that has not passed and whose note says so;
    after a hang or crash it is the last one. The process is killed when this function is left,
    whatever the reason.

    Args:
        bundle: as read from its file, so that every hash is right; the process reads the file
            again.
        time_limit: seconds without a sign of life (a picture takes milliseconds) after which the
            process is killed.
        overall_limit: seconds for all of it.

    Raises:
        BackendError: no process can be started, or it ends before it opens a model.
        BundleError: it cannot read the bundle, which has changed meanwhile or needs more memory
            than it may have.
    """
    with _child(bundle.path, overall_limit) as process:
        story = _Story(
            {(plan.artifact.file, plan.kernels): plan.bound for plan in replays(bundle.manifest)}
        )
        end = _watch(process, story, time_limit, overall_limit)
    if story.refused:
        raise BundleError(story.refused)
    if story.done and len(story.results) == len(story.plans):
        return story.results
    if story.opened is None:
        raise BackendError(
            f"the self-test's process {end} before it opened a model; it wrote: {story.last_words}"
        )
    return [*story.results, _unfinished(story, story.opened, end)]


@dataclass
class _Story:
    """What the child has told so far."""

    plans: dict[tuple[str, str], float]
    """The bound of each (artifact, kernels) that is to be tried."""
    results: list[SelfTestResult] = field(default_factory=list)
    """Outcomes so far."""
    opened: tuple[str, str] | None = None
    """The (artifact, kernels) that it touched last."""
    refused: str = ""
    """Why the child refused to begin; empty where it did not."""
    done: bool = False
    """Whether the child came to its end."""
    tail: bytes = b""
    """The end of what it wrote that is no message."""
    _line: bytes = b""
    """The line that is being written."""

    def hear(self, data: bytes) -> bool:
        """Take bytes of the message pipe; whether a message was among them.

        What is no message is passed over.
        """
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[: _MAX_LINE + 1]  # so much that it cannot become a message
        heard = [
            self._take(line) for line in lines if len(line) <= _MAX_LINE
        ]  # all of them: any() stops at the first
        return any(heard)

    def overhear(self, data: bytes) -> None:
        """Take bytes of its standard error."""
        self.tail = (self.tail + data)[-_MAX_TAIL:]

    @property
    def last_words(self) -> str:
        lines = self.tail.decode(errors="replace").split("\n")
        return printable(" ".join(" ".join(lines[-3:]).split())[-300:]) or "nothing"

    def _take(self, line: bytes) -> bool:
        try:
            message = json.loads(line)
            ((kind, value),) = message.items()
            if kind == "opens":
                artifact, kernels = value
                if (artifact, kernels) not in self.plans:
                    return False
                self.opened = (artifact, kernels)
            elif kind == "result":
                result = strict.from_dict(SelfTestResult, value, "result")
                if (result.artifact, result.kernels) != self.opened or len(self.results) == len(
                    self.plans
                ):
                    return False
                self.results.append(
                    replace(result, note=printable(result.note), tensor=printable(result.tensor))
                )
            elif kind == "refused":
                self.refused = printable(str(value))
            elif kind == "done":
                self.done = True
            else:
                return bool(kind == "sign")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            return False
        return True


def _run() -> tuple[str, ...]:
    """The interpreter's arguments that run the child's module without the folder it starts in."""
    if sys.version_info >= (3, 11):
        return "-P", "-m", _CHILD
    return (
        "-c",
        f"import sys, runpy; del sys.path[0]; runpy.run_module('{_CHILD}', None, '__main__')",
    )


@contextlib.contextmanager
def _child(path: Path, overall_limit: float) -> Iterator[subprocess.Popen[bytes]]:
    """The process, in a group of its own, which is killed at the end."""
    environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
    # The same packages as here, but nothing from the folder that it happens to be started in.
    environment["PYTHONPATH"] = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    processor_seconds = str(int(overall_limit) + 60)
    command = [
        sys.executable,
        *_run(),
        os.fspath(path),
        processor_seconds,
    ]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise BackendError(
            f"the self-test's process cannot be started ({error}); expected a Python that"
            f" {sys.executable!r} starts"
        ) from None
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def _watch(
    process: subprocess.Popen[bytes], story: _Story, time_limit: float, overall_limit: float
) -> str:
    """Hear the child to its end; how it ended, in words that follow a subject."""
    assert process.stdout is not None
    assert process.stderr is not None
    start = sign = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            now = time.monotonic()
            if now - sign >= time_limit:
                return f"gave no sign of life for {time_limit:g} s"
            if now - start >= overall_limit:
                return f"was not done after {overall_limit:g} s"
            for key, _ in selector.select(min(sign + time_limit, start + overall_limit) - now):
                data = os.read(key.fd, 65_536)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    story.overhear(data)
                elif story.hear(data):
                    sign = time.monotonic()
    try:
        process.wait(time_limit)
    except subprocess.TimeoutExpired:
        return f"gave no sign of life for {time_limit:g} s"
    if process.returncode >= 0:
        return f"ended early with exit code {process.returncode}"
    if process.returncode == -signal.SIGKILL:
        return "was killed (SIGKILL), perhaps for want of memory,"
    return f"crashed ({_signal_name(-process.returncode)})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the numbered real-time signals
        return f"signal {number}"


def _unfinished(story: _Story, opened: tuple[str, str], end: str) -> SelfTestResult:
    file, kernels = opened
    note = f"the interpreter {end} on {file} under {kernels} kernels; do not use this bundle"
    if end.startswith(("gave", "was not")):
        note += ", or, where the machine is slow, allow it more seconds with --time-limit"
    elif end.startswith("ended"):
        note += f" (last words: {story.last_words})"
    return SelfTestResult(file, False, kernels, float("inf"), story.plans[opened], note)
