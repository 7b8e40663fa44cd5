"""NVIDIA's GPUs of this machine as the driver sees them, whatever a backend sees: asked of
nvidia-smi, and of the device files.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST_DRIVER = 580
"""Major version of the driver that CUDA 13 needs (CUDA 13 release notes, table of drivers)."""
OLDEST_GPU = 7.5
"""Compute capability that CUDA 13 needs: Turing."""
_FIELDS = ("name", "driver_version", "memory.total", "memory.used", "compute_cap")
_PATIENCE = 30  # seconds; without persistence mode nvidia-smi wakes the driver first

# Tera floating-point operations a second, dense, in bfloat16 (T4: float16, it has no bfloat16), by
# a part of the name; NVIDIA's data sheets, which print the double of it for sparse matrices.
# GeForce: with sums in float32, from the white papers of GA102, AD102 and GB202.
_PEAKS = (
    (("B200",), 2250.0),
    (("H200", "NVL"), 836.0),
    (("H200",), 989.0),
    (("H100", "NVL"), 835.0),
    (("H100", "PCIe"), 756.0),
    (("H100",), 989.0),
    (("A100",), 312.0),
    (("A30",), 165.0),
    (("A10G",), 125.0),
    (("A10",), 125.0),
    (("L40S",), 362.0),
    (("L4",), 121.0),
    (("T4",), 65.0),
    (("RTX 5090",), 209.5),
    (("RTX 4090",), 165.2),
    (("RTX 3090",), 71.0),
)


@dataclass(frozen=True)
class Gpu:
    """One GPU, as nvidia-smi tells of it."""

    name: str
    """NVIDIA's, "NVIDIA H100 80GB HBM3"."""
    driver: str
    """The driver's version, "580.82.07"."""
    memory: int | None
    """Its memory in MiB; None where it has none of its own (Jetson, GB10)."""
    used: int | None
    """MiB of it that are in use."""
    capability: float | None
    """Compute capability, 9.0 for an H100; None from a driver that does not tell."""


@dataclass(frozen=True)
class Driver:
    """What NVIDIA's driver says of this machine."""

    gpus: tuple[Gpu, ...] = ()
    """Those that it can use."""
    fault: str = ""
    """What nvidia-smi said instead of naming any, on one line; empty where there is none."""
    nodes: tuple[str, ...] = ()
    """Device files of GPUs, as "/dev/nvidia0"."""

    @property
    def present(self) -> bool:
        """Whether there is reason to think that this machine has such a GPU."""
        return bool(self.gpus or self.nodes)


def ask_driver(devices: Path = Path("/dev")) -> Driver:
    """What nvidia-smi on the PATH and the files in `devices` say. Takes a second where there is a
    GPU; none of both is no error.
    """
    names = device_files(devices)
    code, text = _smi(_FIELDS)
    if "not a valid field" in text:  # drivers before 510 do not know compute_cap
        code, text = _smi(_FIELDS[:-1])
    if code is None:
        return Driver(nodes=names)
    gpus = tuple(gpu for line in text.splitlines() if (gpu := _gpu(line)))
    if code == 0 and gpus:
        return Driver(gpus, nodes=names)
    return Driver(fault=" ".join(text.split())[:200] or f"exit code {code}", nodes=names)


def device_files(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """The device files of NVIDIA's GPUs, in order; that of WSL, which other GPUs have too, where
    nvidia-smi came with it.
    """
    nodes = [str(node) for node in devices.glob("nvidia[0-9]*")]
    if not nodes and (devices / "dxg").exists() and shutil.which("nvidia-smi"):
        nodes = [str(devices / "dxg")]
    return tuple(sorted(nodes))


def peak(name: str) -> float | None:
    """Tera floating-point operations a second that a GPU of this name has at most in bfloat16, or
    in float16 where it has no other; None for one that is not listed.
    """
    words = re.split(r"[^A-Za-z0-9]+", name)
    joined = f" {' '.join(words)} "
    for parts, value in _PEAKS:
        # Not a Laptop GPU, which has less under the same name.
        if all(f" {part} " in joined for part in parts) and "Laptop" not in words:
            return value
    return None


def _smi(fields: tuple[str, ...]) -> tuple[int | None, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except OSError:
        return None, ""
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {_PATIENCE} s"
    # It writes its errors to standard output.
    return done.returncode, (done.stdout or done.stderr).decode(errors="replace")


def _gpu(line: str) -> Gpu | None:
    name, *values = [part.strip() for part in line.split(",")]
    if len(values) < 3:
        return None
    memory, used = (int(value) if value.isdecimal() else None for value in values[1:3])
    capability = re.fullmatch(r"\d+\.\d+", values[3]) if len(values) > 3 else None
    return Gpu(name, values[0], memory, used, float(capability[0]) if capability else None)
