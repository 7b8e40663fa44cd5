"""The process that is watched: runs one target, with Atheris where it is installed.

python -m tests.fuzz.child TARGET SECONDS FOLDER: the input that runs is always in FOLDER/current.
"""

import importlib
import mmap
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutate import MAX_BYTES, mutated

_LENGTH = 8  # bytes of the length before the input


class Current:
    """The input that runs, in a file that outlives the process, however it ends."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_LENGTH + MAX_BYTES))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def keep(self, data: bytes) -> None:
        size = min(len(data), MAX_BYTES)
        self.map[:_LENGTH] = size.to_bytes(_LENGTH, "little")
        self.map[_LENGTH : _LENGTH + size] = data[:size]


def kept(path: Path) -> bytes:
    """What `Current` kept last."""
    data = path.read_bytes()
    return data[_LENGTH : _LENGTH + int.from_bytes(data[:_LENGTH], "little")]


def main(name: str, seconds: int, folder: Path) -> None:
    current = Current(folder / "current")
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        atheris = None
    if atheris is None:
        print("without coverage: no Atheris for this Python (pip install atheris)", flush=True)
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        _blind(_keeping(target.run, current), target.seeds(name), seconds)
        return
    with atheris.instrument_imports(include=["edgeemo", "zipfile", "json"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds(name)):
        (corpus / f"seed-{number:02}").write_bytes(seed)
    atheris.Setup(
        [
            *("fuzz", str(corpus), f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}"),
            *("-timeout=20", "-rss_limit_mb=3000", "-print_final_stats=1", "-verbosity=0"),
            f"-artifact_prefix={folder}/ended-",
        ],
        _keeping(target.run, current),
    )
    atheris.Fuzz()


def _keeping(run: Callable[[bytes], None], current: Current) -> Callable[[bytes], None]:
    def one(data: bytes) -> None:
        current.keep(data)
        run(data)

    return one


def _blind(run: Callable[[bytes], None], seeds: list[bytes], seconds: int) -> None:
    for seed in seeds:
        run(seed)
    rng, end, count = random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        run(mutated(rng, seeds))
        count += 1
    print(f"{count} inputs", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
