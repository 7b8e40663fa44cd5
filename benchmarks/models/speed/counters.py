"""Instructions of one inference on processors that need not be here, and time on this one."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[2]
_CHILD = _HERE / "child.py"
_LITERT = "libpywrap_litert_common.so"
"""The library of ai-edge-litert with XNNPACK in it."""
_AARCH64_FILES = ("proc", "sys/devices/system/cpu")


@dataclass(frozen=True)
class Arm:
    """A core as qemu-aarch64 and /proc/cpuinfo name it."""

    name: str
    """qemu's name."""
    part: str
    """Arm's number of the core, which XNNPACK knows its kernels by."""
    features: str
    """What its Linux says that it can."""


ARMS = (
    Arm("cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid"),
    Arm(
        "cortex-a76",
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp",
    ),
)
"""A Raspberry Pi 4's, and a Pi 5's with dot products."""


class Missing(click.ClickException):
    """What is not installed."""


def avx2(models: Sequence[Path], runs: int) -> list[float]:
    """Instructions of one inference by LiteRT on x86-64 with AVX2, as valgrind shows itself.

    A call from Python is in it, some thousand.
    """
    require("valgrind")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        words = ["--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
        _run(["valgrind", *words, sys.executable, _CHILD, "count", runs, *models])
        # A part begins at each reading: what came before the first, a model, between models, ...
        parts = [Path(f"{out}.{2 + 2 * i}").read_text() for i in range(len(models))]
    found = [re.search(r"^totals: (\d+)", part, re.MULTILINE) for part in parts]
    return [int(total[1]) / runs for total in found if total]


def aarch64(
    arm: Arm, root: Path, models: Sequence[Path], runs: int
) -> tuple[list[float], list[float]]:
    """Instructions of one inference by LiteRT on that core, and how many of them are dot products.

    `root` is the folder that scripts/aarch64-root made.
    """
    require("qemu-aarch64", "gcc")
    python = root / "usr/bin/python3.11"
    if not python.exists():
        raise click.ClickException(
            f"{root}: no aarch64 Python; make it: ./scripts/aarch64-root DIR"
        )
    _as_core(arm, root)
    with tempfile.TemporaryDirectory() as folder:
        plugin = _compiled("count.c", Path(folder))
        environment = {
            "PYTHONPATH": f"{root / 'site'}:{_REPOSITORY}",
            "PYTHONHOME": str(root / "usr"),
        }
        words = ["qemu-aarch64", "-cpu", arm.name, "-plugin", plugin, "-L", root]
        for name, value in environment.items():
            words += ["-E", f"{name}={value}"]
        printed = _run([*words, python, "-B", _CHILD, "count", runs, *models]).stderr
    readings = np.array(re.findall(r"^counted (\d+) (\d+)$", printed, re.MULTILINE), np.int64)
    instructions, products = (readings[1::2] - readings[::2]).T / runs
    return instructions.tolist(), products.tolist()


def times(models: Sequence[Path], runs: int, *, hidden: bool = False) -> list[list[float]]:
    """Milliseconds of one inference here on one thread, a row a round in which all take turns.

    With `hidden`, XNNPACK takes the kernels of a processor with AVX2 and without AVX-512 and VNNI.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = _hiding(Path(folder)) if hidden else {}
        done = json.loads(_run([sys.executable, _CHILD, "time", runs, *models], environment).stdout)
    if hidden and not done["asked"]:
        raise click.ClickException(f"{_LITERT} did not ask for the processor where expected")
    rows: list[list[float]] = done["rows"]
    return rows


def _hiding(folder: Path) -> dict[str, str]:
    """What child.py is told to hide AVX-512 and VNNI with."""
    require("gcc", "objdump")
    package = importlib.util.find_spec("ai_edge_litert")
    library = Path(str(package and package.origin)).parent / _LITERT
    code = _run(["objdump", "-d", "--no-show-raw-insn", library]).stdout
    offsets = re.findall(r"^ +([0-9a-f]+):\s+cpuid", code, re.MULTILINE)
    return {
        "HIDE": str(_compiled("hide.c", folder)),
        "LITERT": _LITERT,
        "CPUID": " ".join(offsets),
    }


def _as_core(arm: Arm, root: Path) -> None:
    """One core of that kind in the files that XNNPACK reads; qemu opens those below its root."""
    fields = {
        "processor": "0",
        "Features": arm.features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x0",
        "CPU part": arm.part,
        "CPU revision": "3",
    }
    processors, kernel = (root / name for name in _AARCH64_FILES)
    for folder in (processors, kernel):
        folder.mkdir(parents=True, exist_ok=True)
    (processors / "cpuinfo").write_text(
        "".join(f"{name}\t: {value}\n" for name, value in fields.items()) + "\n"
    )
    for name in ("possible", "present"):
        (kernel / name).write_text("0\n")


def _compiled(source: str, folder: Path) -> Path:
    library = folder / Path(source).with_suffix(".so").name
    _run(["gcc", "-O2", "-shared", "-fPIC", _HERE / source, "-o", library])
    return library


def require(*programs: str) -> None:
    """Raises Missing where one of these programs is."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Missing(f"not installed: {', '.join(missing)}")


def _run(
    words: Sequence[object], environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join(filter(None, (str(_REPOSITORY), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
    )
    if done.returncode:
        raise click.ClickException(f"{words[0]} failed: {done.stderr.strip()[-500:]}")
    return done
