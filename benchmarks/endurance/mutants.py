"""What becomes of tampered bundles whose hashes are right:

python -m benchmarks.endurance.mutants [--count N]

Each mutant of a shipped bundle is told from its seed: bits of a model turned, JSON values changed,
entries dropped, cut, emptied or exchanged; then sizes and hashes are made right again. For each,
`edgeemo doctor` and `edgeemo predict` of a drawn picture with the mutated model run as processes of
their own. Counted are what doctor says (sound, problem, or a crash that nobody caught) and what
predict does (same scores, other scores and the same label, other label, refused in one line,
crashed, hung). docs/bundle.md has the table.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import cv2  # noqa: F401  likewise
import numpy as np

from edgeemo.cli import bench, doctor, predict, shell  # noqa: F401  imported before the fork
from edgeemo.cli.main import main as edgeemo
from edgeemo.contract.checked import strict
from edgeemo.data.pictures import write_picture
from edgeemo.models import find_model

Entries = dict[str, bytes]
MODELS = ("int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx")
_PREDICT_SECONDS, _DOCTOR_SECONDS = 30.0, 120.0


def bits(entries: Entries, rng: np.random.Generator) -> str:
    """Turn 1 to 8 bits of one model."""
    return _turned(entries, _model(entries, rng), rng, 0.0)


def tail(entries: Entries, rng: np.random.Generator) -> str:
    """Turn 1 to 8 bits in the half of an ONNX model where its weights lie."""
    name = str(rng.choice([file for file in MODELS if file in entries and file.endswith("onnx")]))
    return _turned(entries, name, rng, 0.5)


def cut(entries: Entries, rng: np.random.Generator) -> str:
    """Cut one file of the bundle short, or empty it."""
    name = str(rng.choice([name for name in entries if name != "manifest.json"]))
    entries[name] = entries[name][: int(rng.integers(0, len(entries[name])) * rng.integers(0, 2))]
    return name


def exchanged(entries: Entries, rng: np.random.Generator) -> str:
    """Put one file in another's place."""
    names = [name for name in entries if name != "manifest.json"]
    one, other = rng.choice(names, 2, replace=False)
    entries[str(one)] = entries[str(other)]
    return str(one)


def report_value(entries: Entries, rng: np.random.Generator) -> str:
    """Change or drop a value anywhere in the report."""
    entries["report.json"] = _json_changed(entries["report.json"], rng)
    return "report.json"


def manifest_value(entries: Entries, rng: np.random.Generator) -> str:
    """Change or drop a value anywhere in the manifest."""
    entries["manifest.json"] = _json_changed(entries["manifest.json"], rng)
    return "manifest.json"


def selftest(entries: Entries, rng: np.random.Generator) -> str:
    """Turn 1 to 8 bits of the self-test."""
    return _turned(entries, "selftest.npz", rng, 0.0)


KINDS: tuple[Callable[[Entries, np.random.Generator], str], ...] = (
    bits, tail, cut, exchanged, report_value, manifest_value, selftest,
)  # fmt: skip


def mutant(base: Path, seed: int, out: Path) -> tuple[str, str]:
    """Write the mutant of that seed; its kind and the file that was changed."""
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(base) as archive:
        entries = {info.filename: archive.read(info) for info in archive.infolist()}
    kind = KINDS[seed % len(KINDS)]
    changed = kind(entries, rng)
    _matching_hashes(entries)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return kind.__name__, changed


def judge(base: Path, seed: int, picture: Path, right: dict[str, Any]) -> tuple[str, str, str]:
    """A mutant's kind, what doctor says of it and what predict does with it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant.edgeemo")
        kind, changed = mutant(base, seed, path)
        # What tampers with more than a model is seen by the model that is used by default.
        artifact = changed if changed in MODELS else MODELS[0]
        doctor = _doctor(path)
        predict = _predict(path, artifact, picture, right[artifact])
    return kind, doctor, predict


def _judged(
    base: Path, picture: Path, right: dict[str, Any], end: float, seed: int
) -> tuple[int, tuple[str, str, str] | None]:
    """A seed and what became of its mutant; None once the time is over."""
    return seed, judge(base, seed, picture, right) if time.monotonic() < end else None


def _doctor(bundle: Path) -> str:
    done = _run(_DOCTOR_SECONDS, "doctor", "--model", bundle, "--detector", "whole")
    if done is None:
        return "hung"
    if done.returncode not in (0, 1) or "unexpected" in done.stderr or "Traceback" in done.stderr:
        return f"uncaught crash ({done.returncode})"
    return "sound" if done.returncode == 0 else "problem"


def _predict(bundle: Path, artifact: str, picture: Path, right: Any) -> str:
    words = ("--artifact", artifact, "--detector", "whole", "--json")
    done = _run(_PREDICT_SECONDS, "predict", picture, "--model", bundle, *words)
    if done is None:
        return "hung"
    if done.returncode == 0:
        scores = _scores(done.stdout)
        if scores == right:
            return "same scores"
        return "other scores" if _label(scores) == _label(right) else "other label"
    if done.returncode == 1 and "unexpected" not in done.stderr:
        return "refused"
    return f"crashed ({done.returncode})"


def _run(seconds: float, *words: object) -> subprocess.CompletedProcess[str] | None:
    """A verb in a process of its own, forked: nothing is imported again; None if it hangs."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            try:
                shell.run(edgeemo, "edgeemo", list(map(str, words)))
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))
            finally:
                os._exit(70)
        end = time.monotonic() + seconds
        while not (waited := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return None
            time.sleep(0.005)
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return subprocess.CompletedProcess([], os.waitstatus_to_exitcode(waited[1]), *texts)


def _scores(text: str) -> Any:
    return [face["scores"] for face in strict.loads(text)["faces"]]


def _label(scores: Any) -> str:
    return str(max(scores[0], key=scores[0].get))


def _model(entries: Entries, rng: np.random.Generator) -> str:
    return str(rng.choice([file for file in MODELS if file in entries]))


def _turned(entries: Entries, name: str, rng: np.random.Generator, start: float) -> str:
    data = bytearray(entries[name])
    for place in rng.integers(int(start * len(data)), len(data), rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))
    entries[name] = bytes(data)
    return name


def _json_changed(text: bytes, rng: np.random.Generator) -> bytes:
    value = json.loads(text)
    at = value
    while True:
        key: Any = str(rng.choice(list(at))) if isinstance(at, dict) else int(rng.integers(len(at)))
        if not (isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.8):
            break
        at = at[key]
    strange: list[Any] = [None, -1, 0, 1e300, "", "\x1b[31m", [], {}, True, 2**70, "\ud800"]
    if rng.random() < 0.2:
        del at[key]
    else:
        at[key] = strange[int(rng.integers(len(strange)))]
    return json.dumps(value).encode()


def _matching_hashes(entries: Entries) -> None:
    try:
        manifest = json.loads(entries["manifest.json"])
        for part in (*manifest["artifacts"], *manifest["companions"]):
            data = entries[part["file"]]
            part |= {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    except (KeyError, TypeError):
        return  # the manifest itself was changed there
    entries["manifest.json"] = json.dumps(manifest).encode()


@click.command()
@click.option("--bundle", default="nano", metavar="NAME", help="A shipped bundle.")
@click.option("--count", type=click.IntRange(1), default=3200, help="Mutants.")
@click.option("--first", type=click.IntRange(0), default=0, help="Seed of the first.")
@click.option("--seconds", type=float, default=float("inf"), help="Stop after so long.")
@click.option("--jobs", type=click.IntRange(1), default=2, help="Mutants at once.")
def main(bundle: str, count: int, first: int, seconds: float, jobs: int) -> None:
    """Make mutants of a bundle and count what becomes of them."""
    base, end = Path(find_model(bundle)), time.monotonic() + seconds
    tally: Counter[tuple[str, str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "drawn.png")
        drawn = np.random.default_rng(1).integers(0, 256, (6, 6, 3), np.uint8)
        write_picture(picture, np.kron(drawn, np.ones((16, 16, 1), np.uint8)))
        right: dict[str, Any] = {}
        for file in MODELS:
            words = ("--artifact", file, "--detector", "whole", "--json")
            done = _run(_PREDICT_SECONDS, "predict", picture, "--model", base, *words)
            right[file] = _scores(done.stdout) if done and done.returncode == 0 else None

        job = partial(_judged, base, picture, right, end)
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            for seed, outcome in pool.imap_unordered(job, range(first, first + count)):
                if outcome:
                    tally[outcome] += 1
                    if "crash" in outcome[1] or "hung" in outcome[1]:
                        shell.say(f"seed {seed}: {', '.join(outcome)}", err=True)
            pool.close()
            pool.join()  # leaving would terminate them
    shell.say(f"{tally.total():,} mutants of {bundle}", "", "| mutated | doctor | predict | n |")
    shell.say("|---|---|---|---|")
    for outcome, n in sorted(tally.items()):
        shell.say(f"| {' | '.join(outcome)} | {n:,} |")
    if any("crash" in outcome[1] or "hung" in outcome[1] for outcome in tally):
        sys.exit(1)


if __name__ == "__main__":
    shell.run(main, "python -m benchmarks.endurance.mutants")
