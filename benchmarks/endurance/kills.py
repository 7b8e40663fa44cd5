"""Kills every command that writes, at random moments, and looks at what it leaves behind:

python -m benchmarks.endurance.kills [--kills 350] [--only prepare,build] [--seed 1]

prepare, train, build, pull, evaluate and record run on drawn pictures, in turn. Each is timed once
undisturbed, then started on its own last state and killed with SIGKILL between a fifth and all of
that time after its start, every other time in its last fifth. After each kill the final files must
be whole (absent, old or new); after the last, a run to the end must succeed and leave no unfinished
file. Exit code 1 otherwise.
"""

import argparse
import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from edgeemo.cli.shell import say
from edgeemo.contract.run import CHECKPOINT, WEIGHTS, read_predictions, read_run_config
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import EdgeemoError, MissingFile
from edgeemo.models import find_model
from edgeemo.trust import read_bundle
from tests.support import write_drawn_archive

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Job:
    """One command that is killed."""

    name: str
    """What it is called in the table."""
    words: tuple[str, ...]
    """Arguments of Python."""
    out: Path
    """What it writes."""
    check: Callable[[Path], object]
    """Raises where that, which is there, is not whole."""
    patience: float = 0.0
    """Seconds after which it is ended where it does not end by itself; 0: it does."""
    fresh: tuple[Path, ...] = ()
    """What is removed before each start, as the command goes on in it or refuses it."""
    needs: tuple[str, ...] = ()
    """Commands whose results it reads."""


@dataclass
class Tally:
    """What one command's kills did."""

    killed: int = 0
    """Runs that were killed."""
    finished: int = 0
    """Runs that ended before their kill."""
    broken: int = 0
    """Runs after which a final file was not whole."""
    litter: int = 0
    """Unfinished files after the last, undisturbed run."""


def main() -> None:
    """Print a row a command; exit code 1 where a final file broke or litter was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=350, help="of all commands together")
    parser.add_argument("--only", default="", help="names of commands, with commas")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _served(find_model("small")) as url:
        jobs = list(_jobs(Path(folder), url))
        named = (
            given.only.split(",")
            if given.only
            else [job.name for job in jobs if job.name != "known"]
        )
        chosen = [job for job in jobs if job.name in named]
        rows = dict.fromkeys(job.name for job in chosen)
        say(f"{'command':<10}{'seconds':>9}{'killed':>8}{'finished':>10}{'broken':>8}{'litter':>8}")
        faults = 0
        needed = {*named, *(name for job in chosen for name in job.needs)}
        for number, job in enumerate(jobs):
            if job.name not in needed:
                continue
            kills = -(-given.kills // len(rows)) if job in chosen else 0
            seconds, tally = _kill(job, kills, random.Random(given.seed + number))
            if job in chosen:
                say(
                    f"{job.name:<10}{seconds:>9.2f}{tally.killed:>8}{tally.finished:>10}"
                    f"{tally.broken:>8}{tally.litter:>8}",
                )
            faults += tally.broken + tally.litter
    sys.exit(bool(faults))


def _jobs(folder: Path, url: str) -> Iterator[Job]:
    archive = write_drawn_archive(folder / "fer2013.zip")
    data, run, bundle = folder / "prepared", folder / "run", folder / "small.edgeemo"
    result, record, cache = folder / "result.json", folder / "day.jsonl", folder / "cache"
    frames = folder / "frames"
    _frames(frames)
    yield Job(
        "prepare",
        (
            "-m",
            "training",
            "prepare",
            "--source",
            f"fer2013={archive}",
            "--out",
            str(data),
            "--split",
            "official",
        ),
        data,
        lambda path: load_prepared(path).indices("train").sum(),
    )
    train = ("-m", "training", "train", "--data", str(data), "--out", str(run))
    yield Job(
        "train",
        (*train, "--model", "nano", "--epochs", "2", "--batch-size", "32"),
        run,
        _check_run,
        fresh=(run,),
        needs=("prepare",),
    )
    known = folder / "known"
    made = ("-c", _KNOWN, str(data), str(known))
    yield Job("known", made, known, _check_run, fresh=(known,), needs=("prepare",))
    build = ("-m", "export", "build", str(known), "--data", str(data), "--out", str(bundle),
             "--gate-min", "1")  # fmt: skip
    yield Job(
        "build",
        (*build, "--profile", "pi"),
        bundle,
        lambda path: read_bundle(path).report(),
        needs=("prepare", "known"),
    )
    fetched = cache / "edgeemo.bin"
    yield Job("pull", ("-c", _PULL, url, str(fetched)), fetched, _check_fetched, fresh=(fetched,))
    evaluate = ("-m", "edgeemo", "evaluate", "small", str(data), "--json", str(result))
    yield Job(
        "evaluate", evaluate, result, lambda path: json.loads(path.read_bytes()), needs=("prepare",)
    )
    watch = ("-m", "edgeemo", "watch", str(frames), "--detector", "whole", "--record", str(record))
    yield Job("record", watch, record, _check_record, patience=3.0)


_PULL = """
import hashlib, sys
from pathlib import Path
from edgeemo.downloads import fetch
from edgeemo.models import find_model
data = find_model("small").read_bytes()
fetch(sys.argv[1], Path(sys.argv[2]), size=len(data), sha256=hashlib.sha256(data).hexdigest())
"""


# A network of computed weights, which the gate passes on any processor.
_KNOWN = """
import sys
from pathlib import Path
from tests.networks import known_run
known_run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def _kill(job: Job, kills: int, chance: random.Random) -> tuple[float, Tally]:
    """Seconds of an undisturbed run, and what came of the kills after it."""
    tally = Tally()
    seconds = _undisturbed(job)
    for _ in range(kills):
        for path in job.fresh:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with _started(job) as process:
            try:
                # Every other kill in the last fifth, where files become final.
                process.wait(seconds * chance.uniform(chance.choice((0.2, 0.8)), 1.0))
                tally.finished += 1
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                tally.killed += 1
            process.wait()
        if job.out.exists():
            try:
                job.check(job.out)
            except (EdgeemoError, ValueError, OSError, AssertionError) as error:
                tally.broken += 1
                say(f"{job.name}: {error}", err=True)
    if kills:
        _undisturbed(job)
        tally.litter = len(_litter(job))
    return seconds, tally


def _undisturbed(job: Job) -> float:
    for path in job.fresh:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    start = time.monotonic()
    with _started(job, subprocess.PIPE) as process:
        try:
            _, errors = process.communicate(timeout=job.patience or None)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate()
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(f"{job.name} fails undisturbed: {errors.decode()[-600:]}")
    job.check(job.out)
    return seconds


def _started(job: Job, errors: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, *job.words],
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=environment,
        start_new_session=True,
    )


def _litter(job: Job) -> set[Path]:
    beside = {path for path in job.out.parent.glob(".part-*") if job.out.stem in path.name}
    return beside | set(job.out.rglob(".part-*"))


def _check_run(path: Path) -> None:
    """Each final file of the run folder is whole by itself."""
    try:
        classes = len(read_run_config(path).labels)
    except MissingFile:
        return
    for name in (CHECKPOINT, "predictions_test.npz"):
        if (path / name).is_file():
            with np.load(path / name, allow_pickle=False) as arrays:
                assert all(arrays[key].size >= 0 for key in arrays.files)
    if (path / "predictions_test.npz").is_file():
        read_predictions(path, "test", classes)
    if (path / WEIGHTS).is_file():
        import h5py

        with h5py.File(path / WEIGHTS) as file:
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
    if (path / "model.keras").is_file():
        assert zipfile.ZipFile(path / "model.keras").testzip() is None


def _check_fetched(path: Path) -> None:
    expected = hashlib.sha256(find_model("small").read_bytes()).hexdigest()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == expected


def _check_record(path: Path) -> None:
    *lines, last = path.read_bytes().split(b"\n")
    for line in lines:
        json.loads(line)
    assert not last, f"torn: {last[:60]!r}"


def _frames(folder: Path) -> None:
    """A folder of so many pictures that nobody waits for its end."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    cv2.imwrite(str(folder / "a.png"), rng.integers(0, 255, (96, 96, 3), dtype=np.uint8))
    for number in range(20_000):
        (folder / f"b{number}.png").symlink_to(folder / "a.png")


@contextmanager
def _served(file: Path) -> Iterator[str]:
    """An address on loopback that serves `file`."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing: the table is what is printed."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Nothing: whoever fetches is killed."""

    handler = partial(Quiet, directory=str(file.parent))
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{file.name}"
        server.shutdown()


if __name__ == "__main__":
    main()
