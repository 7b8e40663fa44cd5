"""Runs a fuzzing process and keeps the input on which it ended, however it ended."""

import hashlib
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.child import kept

_SLACK = 60  # seconds that a process may take beyond its time before it counts as hanging
_SHOWN = 4000  # bytes of its output


@dataclass(frozen=True)
class Ended:
    """How a fuzzing process ended."""

    why: str
    """In a few words; empty where nothing was wrong."""
    output: str
    """The end of what it wrote."""
    input: Path | None = None
    """The file of the input on which it ended."""


def watched(words: Sequence[str], seconds: int, folder: Path) -> Ended:
    """Run a process that keeps its input in `folder`/current (`tests.fuzz.child.Current`) or, as
    libFuzzer does, writes the last one to `folder`/ended-*; what it ended on becomes
    `folder`/crash-HASH."""
    for old in folder.glob("ended-*"):
        old.unlink()
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        try:
            code: int | None = process.wait(seconds + _SLACK)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            process.kill()
            process.wait()
    output = log.read_bytes()[-_SHOWN:].decode("utf-8", "replace")
    if code == 0:
        return Ended("", output)
    if code is None:
        why = f"it hung: {seconds + _SLACK} s were over"
    else:
        why = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    written = sorted(folder.glob("ended-*"))
    if not written and not (folder / "current").exists():
        return Ended(why, output)
    data = written[0].read_bytes() if written else kept(folder / "current")
    crash = folder / f"crash-{hashlib.sha256(data).hexdigest()[:12]}"
    crash.write_bytes(data)
    return Ended(why, output, crash)
