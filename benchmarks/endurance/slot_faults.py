"""Faults while models are installed, kept and rolled back: each system call of each step fails
once, and the process is killed at chance moments; after each, a verified model must run.

python -m benchmarks.endurance.slot_faults                    every call, every fault (minutes)
python -m benchmarks.endurance.slot_faults --kills 1000       kills at chance moments alone
python -m benchmarks.endurance.slot_faults --only put:fsync   one step and call

Each case runs in a forked process that strace (Debian package) is attached to. What a disk would
have lost in a power cut is another benchmark's: power_cuts.
"""

import argparse
import logging
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeemo.errors import EdgeemoError
from edgeemo.models import find_model
from edgeemo.slots import Slots
from edgeemo.trust import read_bundle

FAULTS = ("error=ENOSPC", "error=EIO", "error=EINTR", "signal=KILL")
# Calls that read or change files; the others are the interpreter's memory and signals.
CALLS = (
    "openat", "read", "write", "fsync", "rename", "unlink", "chmod", "close", "flock", "fstat",
    "newfstatat", "lseek", "readlink", "getdents64",
)  # fmt: skip
OLD, NEW = "nano", "nano-fer2013"


def put(slots: Slots) -> None:
    """Writes the new model and switches to it."""
    path = find_model(NEW)
    bundle, data = read_bundle(path), path.read_bytes()
    yield_to_strace()
    with slots._locked():
        slots._put(bundle, data, 10)


def start(slots: Slots) -> None:
    """Counts a start of the model on trial."""
    yield_to_strace()
    slots.begin()


def keep(slots: Slots) -> None:
    """Keeps the model on trial."""
    trial = slots.state().trial
    assert trial
    yield_to_strace()
    slots.end_trial(trial.id, "healthy", keep=True)


def rollback(slots: Slots) -> None:
    """Goes back to the old model."""
    yield_to_strace()
    slots.rollback()


STEPS: dict[str, Callable[[Slots], None]] = {
    "put": put,
    "start": start,
    "keep": keep,
    "rollback": rollback,
}
yield_to_strace: Callable[[], None] = lambda: None  # noqa: E731  set in the forked process


def prepared(folder: Path, step: str) -> Slots:
    """Slots as they are before a step: none before `first`, the old model kept before `put`, two
    kept ones before `replace`, and before the others the new one on trial."""
    slots = Slots(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in (OLD, NEW)[: {"first": 0, "put": 1}.get(step, 2)]:
        path = find_model(name)
        slots._put(read_bundle(path), path.read_bytes(), 0 if step == "replace" else 10)
    return slots


def check(slots: Slots, step: str) -> str:
    """Which model runs after a fault. Raises AssertionError, EdgeemoError."""
    models = [path for path in slots.folder.iterdir() if path.name.endswith(".edgeemo")]
    assert 1 <= len(models) <= 2, models
    bundle, _ = slots.begin()
    assert bundle.manifest.name in (OLD, NEW)
    assert bundle.files == read_bundle(find_model(bundle.manifest.name)).files
    path = find_model(NEW)  # it goes on from there
    slots._put(read_bundle(path), path.read_bytes(), 10)
    assert slots.state().trial
    assert slots.current().manifest.name == NEW
    return bundle.manifest.name


@dataclass(frozen=True)
class Step:
    """Something that is traced and broken off."""

    prepared: Callable[[Path], Slots]
    """Makes a folder as it is before."""
    run: Callable[[Slots], object]
    """Calls `yield_to_strace` once, before what counts."""


def step_of(name: str) -> Step:
    """One of STEPS, or an install by another name (`prepared`)."""
    return Step(lambda folder: prepared(folder, name), STEPS.get(name, put))


def forked(step: Step, slots: Slots, ready: tuple[int, int]) -> int:
    """The process of one case, which waits for a byte before its step."""
    process = os.fork()
    if process:
        return process
    code = 3
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        globals()["yield_to_strace"] = lambda: (
            os.write(ready[1], b"r"),
            select.select([ready[0]], [], []),  # and no read, which would be counted
        )
        step.run(slots)
        code = 0
    except EdgeemoError:
        code = 1
    except BaseException:
        code = 2
    finally:
        os._exit(code)


class Case:
    """A forked step with pipes to it, at the moment before its first call."""

    def __init__(self, step: Step, folder: Path) -> None:
        self.slots = step.prepared(folder)
        (hear, tell_ready), (wait, self.go) = os.pipe(), os.pipe()
        self.pid = forked(step, self.slots, (wait, tell_ready))
        os.close(wait)
        os.close(tell_ready)
        os.read(hear, 1)
        os.close(hear)

    def run(self) -> int:
        """Let it go; its exit code, or the negative number of the signal that ended it."""
        os.write(self.go, b"g")
        os.close(self.go)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def traced(
    step: str | Step, folder: Path, *options: str, before: Callable[[Path], None] = lambda _: None
) -> tuple[Slots, int, str]:
    """Run a step under strace; its slots, how it ended, and strace's lines. `before` is called with
    the folder before it goes."""
    log = folder.with_suffix(".log")
    case = Case(step_of(step) if isinstance(step, str) else step, folder)
    before(folder)
    tracer = subprocess.Popen(
        ["strace", "-p", str(case.pid), "-o", str(log), *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr
    while "attached" not in (line := tracer.stderr.readline()):
        if not line:
            raise SystemExit("strace cannot attach to a child: is ptrace allowed here?")
    end = case.run()
    tracer.communicate()
    return case.slots, end, log.read_text()


def calls_of(step: str, folder: Path) -> Counter[str]:
    """How often a step makes each of CALLS."""
    _, end, lines = traced(step, folder, "-e", f"trace={','.join(CALLS)}")
    assert end == 0, (step, end)
    return Counter(re.findall(r"^(\w+)\(", lines, re.MULTILINE))


def cases(folder: Path, only: str) -> Iterator[tuple[str, str, str, int]]:
    """Every (step, fault, call, which time)."""
    for step in STEPS:
        for call, count in sorted(calls_of(step, folder).items()):
            if only and only not in (step, call, f"{step}:{call}"):
                continue
            for fault in FAULTS:
                for when in range(1, count + 1):
                    yield step, fault, call, when


def faults(only: str, folder: Path) -> Counter[str]:
    """Run all cases; how often the old and the new model ran after them."""
    ran: Counter[str] = Counter()
    before = ""
    for step, fault, call, when in list(cases(folder, only)):
        if (group := f"{step}, {call}: {fault}") != before:
            sys.stderr.write(f"{sum(ran.values()):>6} cases done; {group}\n")
            before = group
        inject = f"inject={call}:{fault}:when={when}"
        slots, end, _ = traced(step, folder, "-e", f"trace={call}", "-e", inject)
        assert end in (0, 1, -signal.SIGKILL), (step, inject, end)
        try:
            name = check(slots, step)
        except (AssertionError, EdgeemoError) as error:
            raise SystemExit(f"{step}, {inject}: {type(error).__name__}: {error}") from error
        ran[f"{step}: {name}"] += 1
    return ran


def kills(count: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Kill steps at chance moments; which model ran after them."""
    rng = random.Random(seed)
    ran: Counter[str] = Counter()
    longest: dict[str, float] = {}
    for step in STEPS:
        case = Case(step_of(step), folder)
        began = time.perf_counter()
        assert case.run() == 0
        longest[step] = 1.2 * (time.perf_counter() - began)
    for _ in range(count):
        step = rng.choices(list(STEPS), [7, 1, 1, 1])[0]
        case = Case(step_of(step), folder)
        os.write(case.go, b"g")
        os.close(case.go)
        time.sleep(rng.uniform(0, longest[step]))
        os.kill(case.pid, signal.SIGKILL)
        os.waitpid(case.pid, 0)
        ran[f"{step}: {check(case.slots, step)}"] += 1
    return ran


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0, help="kill so often, at chance moments")
    parser.add_argument("--only", default="", help="STEP, CALL or STEP:CALL")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    logging.disable(logging.WARNING)  # what is told here of each way back
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder, "slots")
        ran = kills(words.kills, where, words.seed) if words.kills else faults(words.only, where)
    for what, count in sorted(ran.items()):
        sys.stdout.write(f"{what:<20}{count:>6}\n")
    seconds = time.perf_counter() - began
    sys.stdout.write(f"{sum(ran.values())} cases, each with a verified model, {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
