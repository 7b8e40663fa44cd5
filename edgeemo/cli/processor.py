"""This machine's processor, as /proc/cpuinfo names it."""

import os
import platform
from pathlib import Path

_NAMES = ("model name", "Model", "Hardware")


def processor_name() -> str:
    """What it is called."""
    fields = dict(_fields())
    known = (fields[key] for key in _NAMES if key in fields)
    return next(known, platform.processor() or "unknown processor")


def processor_features() -> set[str]:
    """Its instruction sets, as the kernel writes them: "avx2", "asimd"."""
    words: set[str] = set()
    for key, value in _fields():
        if key in ("flags", "Features"):
            words.update(value.split())
    return words


def cores() -> int:
    """How many of its cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fields() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    parted = (line.partition(":") for line in lines)
    return [(key.strip(), value.strip()) for key, _, value in parted]
