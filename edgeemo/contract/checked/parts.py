"""Names of unfinished files and folders, which say whose they are; those of dead processes are
swept.
"""

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from pathlib import Path

_NAME = re.compile(r"\.part-([0-9a-f]{8})-(\d+)-([0-9a-f]+-\d+)-[0-9a-f]{8}-(.*)", re.DOTALL)
_KEPT = 40  # characters of a target's name, its last: libraries choose formats by the ending
# Of another machine's process on a shared disk nobody can tell here whether it lives.
_STRANGERS_AGE = 7 * 24 * 3600.0  # seconds


def part_of(target: Path) -> Path:
    """A name beside `target` that nobody has: machine, process, its start, chance, and the end of
    the target's name.

    Not through tempfile, whose rights are the owner's alone: what the umask would have left is told
    only by setting it, for all threads.
    """
    return target.parent / (
        f".part-{_machine()}-{os.getpid()}-{_start_of(os.getpid())}-{secrets.token_hex(4)}-"
        f"{target.name[-_KEPT:]}"
    )


def is_part(path: Path) -> bool:
    """Whether a file or folder is an unfinished one."""
    return _NAME.fullmatch(path.name) is not None


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove from `folder` the parts of processes that no longer run: those of the target `name`,
    by default all. What cannot be removed stays.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            match = _NAME.fullmatch(entry.name)
            if not match or (name is not None and match[4] != name[-_KEPT:]):
                continue
            with contextlib.suppress(OSError):
                if _is_dead(match, entry.stat(follow_symlinks=False).st_mtime):
                    _remove(Path(entry.path))


def _is_dead(match: re.Match[str], modified: float) -> bool:
    if match[1] != _machine():
        return time.time() - modified > _STRANGERS_AGE
    return _start_of(int(match[2])) != match[3]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@functools.cache
def _machine() -> str:
    """Eight hex digits for this machine, or this container: process numbers mean something within
    it.
    """
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/etc/machine-id").read_text())
    with contextlib.suppress(OSError):
        words.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def _start_of(process: int) -> str:
    """When a process started, in the system's own words; "0-0" for one that is not there."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        # Field 22 of proc(5), counted behind the name, which may hold blanks and brackets.
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _start_without_proc(process)
    return "0-0" if state[0] in "ZX" else f"{boot}-{state[19]}"


def _start_without_proc(process: int) -> str:
    if Path("/proc/self/stat").exists():
        return "0-0"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "0-0"
    except OSError:
        pass
    return "0-1"
