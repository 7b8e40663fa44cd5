"""What is counted and timed: a process that does little but inference.

python child.py count RUNS MODEL.tflite...   RUNS inferences of each between two calls of getppid
python child.py time RUNS MODEL.tflite...    milliseconds a round and a model, as JSON

It needs NumPy, LiteRT and the package edgeemo alone, so that it runs in the aarch64 Python of
scripts/aarch64-root. At `getppid`, which nothing else here calls, valgrind and count.c take a
reading. Where HIDE names the compiled hide.c, and CPUID where `cpuid` stands in LITERT, AVX-512 and
VNNI are hidden from LiteRT.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeemo.backends.litert import installed_interpreter, open_interpreter

_BEFORE = 2
"""Inferences before each timed one, after which the caches are the model's own."""


def main(words: Sequence[str]) -> None:
    """Do what the command line says."""
    what, runs, models = words[0], int(words[1]), words[2:]
    if what == "count":
        count(runs, models)
        return
    hidden = hide() if "HIDE" in os.environ else None
    json.dump(
        {"rows": times(runs, models), "asked": hidden.asked() if hidden else None}, sys.stdout
    )


def opened(path: str) -> Any:
    """An interpreter on one thread with a drawn input, run once."""
    interpreter = open_interpreter(Path(path).read_bytes(), path)
    (source,) = interpreter.get_input_details()
    drawn = np.random.default_rng(0).integers(-100, 100, source["shape"])
    interpreter.set_tensor(source["index"], drawn.astype(source["dtype"]))
    interpreter.invoke()
    return interpreter


def count(runs: int, models: Sequence[str]) -> None:
    """Run each model `runs` times between two readings."""
    for model in models:
        interpreter = opened(model)
        os.getppid()
        for _ in range(runs):
            interpreter.invoke()
        os.getppid()


def times(runs: int, models: Sequence[str]) -> list[list[float]]:
    """Milliseconds, a row a round and a column a model; the models take turns.

    It is this thread's processor time: the clock on the wall counts what others do meanwhile.
    """
    interpreters = [opened(model) for model in models]
    rows = []
    for _ in range(runs):
        row = []
        for interpreter in interpreters:
            for _ in range(_BEFORE):
                interpreter.invoke()
            start = time.thread_time_ns()
            interpreter.invoke()
            row.append((time.thread_time_ns() - start) / 1e6)
        rows.append(row)
    return rows


def hide() -> Any:
    """Hide AVX-512 and VNNI from LiteRT, which looks at the processor with its first model."""
    installed_interpreter()  # its library is loaded with it
    maps = Path("/proc/self/maps").read_text().splitlines()
    start = next(int(line.split("-")[0], 16) for line in maps if os.environ["LITERT"] in line)
    offsets = [int(offset, 16) for offset in os.environ["CPUID"].split()]
    hidden = ctypes.CDLL(os.environ["HIDE"])
    hidden.hide.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    hidden.hide(start, (ctypes.c_long * len(offsets))(*offsets), len(offsets))
    return hidden


if __name__ == "__main__":
    main(sys.argv[1:])
