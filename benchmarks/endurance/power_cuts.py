"""Power cuts while models are installed, kept and rolled back: what was written and not synced is
lost, and a verified model must run from what is left.

python -m benchmarks.endurance.power_cuts            every state that a file system may leave
python -m benchmarks.endurance.power_cuts --ext4     a real ext4, cut at every call (as root)

The first records the system calls of each step with strace and rebuilds what a disk may hold after
a cut behind each of them (Pillai et al. 2014, "All File Systems Are Not Created Equal"): of what no
fsync of the file or of its folder covers, any part may be there and any not, in any order; bytes
may be missing, cut in half, or zeros. A rename is there or not. The second runs the steps on a
loop device, kills at each call, and mounts what the device holds then: ext4's own memory is lost.
"""

import argparse
import ast
import contextlib
import itertools
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.endurance import slot_faults
from benchmarks.endurance.slot_faults import NEW, OLD, STEPS, calls_of, check, traced
from edgeemo.errors import EdgeemoError
from edgeemo.slots import Slots

RECORDED = "openat,close,write,fsync,rename,unlink,mkdir,ftruncate,pwrite64,fdatasync,renameat2"
CHANGING = ("openat", "close", "write", "fsync", "rename", "unlink", "chmod")
ALL = ("first", "replace", "again", *STEPS)
"""`replace` installs where both slots are full, `again` where one is on trial."""
Files = dict[str, bytes]
"""A folder's files by their names."""
Call = tuple[str, list[str], int]
"""A system call: its name, its arguments as strace writes them, what it returned."""


@dataclass
class Inode:
    """A file's bytes, whatever its names."""

    synced: bytes = b""
    """What is on the disk for sure."""
    now: bytes = b""
    """What readers see."""

    def left(self) -> list[bytes]:
        """What a cut may leave of it."""
        if self.synced == self.now:
            return [self.now]
        size = len(self.now)
        return [self.synced, self.now, self.now[: size // 2], bytes(size)]


@dataclass
class Folder:
    """One folder as a disk may hold it."""

    inodes: list[Inode] = field(default_factory=list)
    """Every file that there was."""
    synced: dict[str, int] = field(default_factory=dict)
    """Names and their inodes that are on the disk for sure."""
    pending: list[dict[str, int | None]] = field(default_factory=list)
    """Changes of names since the folder's last fsync, each of which is there whole or not; None:
    no such name."""

    @classmethod
    def of(cls, files: Files) -> "Folder":
        """All of it on the disk."""
        inodes = [Inode(data, data) for data in files.values()]
        return cls(inodes, {name: i for i, name in enumerate(files)})

    def now(self) -> dict[str, int]:
        """Names as readers see them."""
        return _applied(self.synced, self.pending)

    def states(self) -> Iterator[Files]:
        """Everything that a cut may leave now."""
        for kept in itertools.product((False, True), repeat=len(self.pending)):
            names = _applied(self.synced, itertools.compress(self.pending, kept))
            contents = [self.inodes[i].left() for i in names.values()]
            for left in itertools.product(*contents):
                yield dict(zip(names, left, strict=True))


def _applied(names: dict[str, int], changes: Iterable[dict[str, int | None]]) -> dict[str, int]:
    after: dict[str, int | None] = dict(names)
    for change in changes:
        after |= change
    return {name: inode for name, inode in after.items() if inode is not None}


def parse_calls(lines: str) -> list[Call]:
    """The calls that did not fail, from strace -xx."""
    found = re.findall(r"^(\w+)\((.*)\)\s+= (\d+)", lines, re.MULTILINE)
    return [(name, re.split(r", (?=\"|[A-Z0-9])", rest), int(end)) for name, rest, end in found]


def cuts(calls: list[Call], root: Path, files: Files) -> Iterator[tuple[bool, Files]]:
    """What a cut behind each call may leave of the folder `root`, which held `files`: whether it is
    a cut after the last call, and the files; each once, those after the last call in any case.

    Raises ValueError for a call that changes files and is not known here.
    """
    folder, opened = Folder.of(files), dict[str, int | str]()
    seen: set[frozenset[tuple[str, bytes]]] = set()
    for call in calls:
        _follow(folder, opened, root, call)
        for state in folder.states():
            if (key := frozenset(state.items())) not in seen:
                seen.add(key)
                yield False, state
    for state in folder.states():
        yield True, state


def _follow(folder: Folder, opened: dict[str, int | str], root: Path, call: Call) -> None:
    """What one call changes; `opened` maps descriptors to inodes, or to the folder."""
    name, arguments, result = call
    if name == "openat":
        _open(folder, opened, root, arguments, str(result))
    elif name == "close":
        opened.pop(arguments[0], None)
    elif name in ("rename", "unlink"):
        old, *new = (_name(text, root) for text in arguments)
        if old is not None:
            moved = folder.now()[old]
            folder.pending.append({old: None} | ({new[0]: moved} if new and new[0] else {}))
    elif name == "write" and isinstance(inode := opened.get(arguments[0]), int):
        file = folder.inodes[inode]
        file.now += _text(arguments[1])[:result]
    elif name == "fsync":
        what = opened.get(arguments[0])
        if isinstance(what, int):
            folder.inodes[what].synced = folder.inodes[what].now
        elif what is not None:
            folder.synced, folder.pending = folder.now(), []
    elif name != "write":
        raise ValueError(f"{name}: a change that the model of a disk does not know")


def _open(
    folder: Folder, opened: dict[str, int | str], root: Path, arguments: list[str], number: str
) -> None:
    path, flags = Path(_text(arguments[1]).decode()), arguments[2]
    if path == root:
        opened[number] = "folder"
    elif (name := _name(arguments[1], root)) is not None:
        names = folder.now()
        if name not in names:
            folder.inodes.append(Inode())
            folder.pending.append({name: len(folder.inodes) - 1})
            names = folder.now()
        if "O_TRUNC" in flags:
            folder.inodes[names[name]].now = b""
        opened[number] = names[name]


def _name(text: str, root: Path) -> str | None:
    """A file's name in `root`; None for what lies elsewhere."""
    path = Path(_text(text).decode())
    return path.name if path.parent == root else None


def _text(argument: str) -> bytes:
    value = ast.literal_eval(f"b{argument}")
    assert isinstance(value, bytes)
    return value


def recorded(step: str, folder: Path) -> tuple[list[Call], Files]:
    """A step's calls, and the files that were there before."""
    slot_faults.prepared(folder, step)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _, end, lines = traced(step, folder, "-xx", "-s", "100000000", "-e", f"trace={RECORDED}")
    assert end == 0, (step, end)
    return parse_calls(lines), before


def modelled(step: str, folder: Path, *, install: bool = True) -> Counter[str]:
    """Run what is left after each cut of a step; which model ran, how often.

    Args:
        step: one of ALL.
        folder: of the slots.
        install: whether the next install is tried each time too.

    Raises AssertionError, EdgeemoError.
    """
    calls, before = recorded(step, folder)
    ran: Counter[str] = Counter()
    for done, files in cuts(calls, folder, before):
        shutil.rmtree(folder)
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        model = _runs(step, Slots(folder), done=done, install=install)
        ran[f"{step}: {model}"] += 1
    return ran


def _runs(step: str, slots: Slots, *, done: bool, install: bool) -> str:
    """Which model runs. After the last call the step has happened."""
    if step == "first":
        if not done and not (slots.folder / "a.edgeemo").exists():
            return "none yet"
        return slots.begin()[0].manifest.name
    name = check(slots, step) if install else slots.begin()[0].manifest.name
    assert not done or name == (OLD if step == "rollback" else NEW), (step, name)
    return name


def on_ext4(place: Path) -> Counter[str]:
    """Cut each step at each changing call, on a loop device; which model ran, how often."""
    ran: Counter[str] = Counter()
    disk, copy = place / "disk", place / "copy"
    loop_disk(disk)
    with mounted(disk, place / "mounted", careless=True) as folder:
        slots = folder / "slots"
        for step in STEPS:
            for call, count in sorted(calls_of(step, slots).items()):
                for when in range(1, count + 1) if call in CHANGING else ():
                    kill = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}")
                    traced(step, slots, *kill, before=synced)
                    shutil.copyfile(disk, copy)
                    with mounted(copy, place / "other") as left:
                        ran[f"{step}: {check(Slots(left / 'slots'), step)}"] += 1
    return ran


def loop_disk(file: Path) -> None:
    """Make a file of 32 MB that holds an empty ext4."""
    with file.open("wb") as disk:
        disk.truncate(32 << 20)
    _run("mkfs.ext4", "-q", file)


@contextlib.contextmanager
def mounted(disk: Path, folder: Path, *, careless: bool = False) -> Iterator[Path]:
    """The folder with a disk's file mounted. `careless`: nothing is written back early, and no
    rename waits for the bytes, as programs need it that do not sync."""
    options = "loop,noauto_da_alloc,data=writeback,commit=300" if careless else "loop"
    folder.mkdir(exist_ok=True)
    _run("mount", "-o", options, disk, folder)
    try:
        yield folder
    finally:
        _run("umount", folder)


def synced(folder: Path) -> None:
    """Have all on the disk that a folder is on."""
    _run("sync", "-f", folder)


def _run(*words: object) -> None:
    subprocess.run([*map(str, words)], check=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ext4", action="store_true", help="a real file system; needs root")
    words = parser.parse_args()
    logging.disable(logging.WARNING)  # what is told of each way back
    ran: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if words.ext4:
                ran = on_ext4(Path(folder))
            else:
                for step in ALL:
                    ran += modelled(step, Path(folder, "slots"))
        except (AssertionError, EdgeemoError) as error:
            raise SystemExit(f"{type(error).__name__}: {error}") from error
    for what, count in sorted(ran.items()):
        sys.stdout.write(f"{what:<24}{count:>6}\n")
    sys.stdout.write(f"{sum(ran.values())} cuts, each with a verified model\n")


if __name__ == "__main__":
    main()
