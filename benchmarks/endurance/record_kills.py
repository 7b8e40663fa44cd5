"""Kills a process that records, at random moments:

python -m benchmarks.endurance.record_kills [--kills 1000]

Each is started on the same file, tells through a pipe which lines it has handed to the recorder
and when, and gets SIGKILL. Lines that were told and are not in the file are lost; the age of the
oldest at the kill must stay below a second, and no line may be torn or out of order.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from edgeemo.cli.shell import say

_WRITER = """
import os, sys, time
from edgeemo.contract.checked import strict
from edgeemo.live.record.recorder import Recorder, Rotation
from edgeemo.results import Box, Reading
scores, box = {"label %d" % number: 0.1 for number in range(10)}, Box(1, 2, 30, 40)
reading = Reading(123.0, 456, 1, "label 1", 0.1, scores, box)
line = strict.dumps_line(reading.to_dict()).replace("123.0", "%r").replace("456", "%d")
number, rotation = int(sys.argv[2]), Rotation(max_bytes=1 << 20)
with Recorder(sys.argv[1], rotation) as recorder:
    os.write(1, b"ready\\n")
    while True:
        recorder.write(line % (time.time(), number))
        os.write(1, b"%d %r\\n" % (number, time.monotonic()))
        number += 1
        time.sleep(0.001)
"""


@dataclass(frozen=True)
class Result:
    """What the kills have cost."""

    kills: int
    """Processes that were killed."""
    written: int
    """Lines in the file and its full ones, in the end."""
    lost: int
    """Lines that were handed to a recorder and are in no file."""
    oldest_lost: float
    """Seconds between the oldest lost line and the kill, at most."""
    torn: int
    """Lines that are no JSON, or out of order, after the repair at the last start."""


def measure(out: Path, *, kills: int, seed: int, longest: float, lines: int = 0) -> Result:
    """Record into `out`, which is new, and kill after 0 to `longest` seconds, so many times, and
    more often where a slow machine has not written so many lines by then.
    """
    random_time = random.Random(seed)
    told: dict[int, float] = {}
    ends: dict[int, float] = {}
    done = 0
    while done < kills or len(told) < lines:
        first = max(told, default=-2) + 2  # a line may be written and not yet told
        of_one, killed = _killed(out, first, random_time.uniform(0, longest))
        told |= of_one
        ends |= dict.fromkeys(of_one, killed)
        done += 1
    from edgeemo.live.record.recorder import Recorder

    Recorder(out).close()  # repairs the last line
    kept, torn = _kept(out)
    lost = told.keys() - kept
    oldest = max((ends[number] - told[number] for number in lost), default=0.0)
    return Result(done, len(kept), len(lost), oldest, torn)


def _killed(out: Path, first: int, seconds: float) -> tuple[dict[int, float], float]:
    """The lines that one process has told, with their times, and when it was killed."""
    command = [sys.executable, "-c", _WRITER, str(out), str(first)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the recorder does not start"
        time.sleep(seconds)
        killed = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        words = [line.split() for line in process.stdout.read().splitlines(keepends=True)]
    return {int(line[0]): float(line[1]) for line in words if len(line) == 2}, killed


def _kept(out: Path) -> tuple[set[int], int]:
    """Numbers of the lines in all files, and how many lines are broken or out of order."""
    from edgeemo.live.record.file import numbered

    kept: set[int] = set()
    torn, last = 0, -1
    for file in (*numbered(out), out):
        for line in file.read_bytes().splitlines():
            try:
                number = int(json.loads(line)["frame"])
            except (ValueError, KeyError):
                torn += 1
                continue
            torn += number <= last
            last = number
            kept.add(number)
    return kept, torn


def main() -> None:
    """Print what was lost; exit code 1 where it is more than the last second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=0.5, help="seconds until a kill, at most")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(
            Path(folder, "day.jsonl"), kills=given.kills, seed=given.seed, longest=given.longest
        )
    say(
        f"{result.kills:,} kills: {result.written:,} lines kept, {result.lost:,} lost, the oldest"
        f" {1000 * result.oldest_lost:.1f} ms before its kill; {result.torn} torn"
    )
    sys.exit(bool(result.torn or result.oldest_lost >= 1))


if __name__ == "__main__":
    main()
