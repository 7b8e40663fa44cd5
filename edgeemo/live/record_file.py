"""The open file, pipe or device that a recording goes to: whole lines at its end, one writer."""

import contextlib
import errno
import json
import logging
import os
import re
import stat
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from edgeemo.contract.checked.files import check_parent, sync_folder
from edgeemo.errors import StorageError

_CHUNK = 64 * 1024
_MAX_LINE = 1 << 20  # bytes; ours are some hundreds
_KEYS = {"time", "frame"}  # every reading has them, and so every line of ours
_WAY_OUT = "choose another --record"

log = logging.getLogger("edgeemo.live.recorder")


@dataclass
class RecordFile:
    """One open target of lines."""

    path: Path
    """What it was opened as; of a regular file, where it really lies."""
    descriptor: int
    """Open for appending."""
    regular: bool
    """Whether it is a file, and no pipe or device."""
    day: date
    """The local day of its last line."""

    def append(self, line: bytes) -> None:
        """Write `line` at the end, whole or not at all. Raises OSError."""
        written = os.write(self.descriptor, line)
        if self.regular and written < len(line):
            os.ftruncate(self.descriptor, os.fstat(self.descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        while written < len(line):  # a pipe takes the rest when its reader is ready
            written += os.write(self.descriptor, line[written:])
        self.day = date.today()

    def size(self) -> int:
        """Bytes of a regular file."""
        return os.fstat(self.descriptor).st_size

    def sync(self) -> None:
        """Have a regular file's lines on the disk. Raises OSError."""
        if self.regular:
            os.fsync(self.descriptor)

    def was_moved(self) -> bool:
        """Whether the path leads to another file now, or to none: somebody has rotated or removed
        it.
        """
        if not self.regular:
            return False
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return True

    def number(self) -> Path:
        """Give the file the next number, NAME.000001.jsonl, and return that name. Raises
        OSError.
        """
        last = max(_numbers(self.path), default=0)
        target = self.path.with_name(f"{self.path.stem}.{last + 1:06}{self.path.suffix}")
        self.path.rename(target)
        return target

    def close(self) -> None:
        """Close it, which also unlocks it."""
        os.close(self.descriptor)


def numbered(path: Path) -> list[Path]:
    """The full files of the recording `path`, oldest first."""
    files = _numbers(path)
    return [files[number] for number in sorted(files) if files[number].is_file()]


def _numbers(path: Path) -> dict[int, Path]:
    pattern = re.compile(re.escape(path.stem) + r"\.(\d{6,9})" + re.escape(path.suffix))
    matches = map(pattern.fullmatch, os.listdir(path.parent))
    return {int(match[1]): path.with_name(match[0]) for match in matches if match}


def open_record(path: Path) -> RecordFile:
    """Open `path` for lines at its end: a new or recorded file, locked and with whole lines alone;
    a pipe or a character device as it is. Links are followed.

    Raises:
        StorageError: a folder, a socket or a disk; a file that is recorded already, or that holds
            something else than readings; a parent folder that is not there; no permission.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
        check_parent(path, _WAY_OUT)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    try:
        if stat.S_ISREG(mode):
            return _open_file(Path(os.path.realpath(path)))
        if stat.S_ISFIFO(mode):
            return RecordFile(path, _open_pipe(path), regular=False, day=date.today())
        if stat.S_ISCHR(mode):
            descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
            return RecordFile(path, descriptor, regular=False, day=date.today())
    except StorageError:
        raise
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    kind = "a folder" if stat.S_ISDIR(mode) else "a socket or a disk"
    raise _refused(path, f"expected a file, a pipe or a device, received {kind}")


def _open_pipe(path: Path) -> int:
    """A FIFO, without waiting for its reader: until one comes, the pipe keeps what it has room
    for.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def _open_file(path: Path) -> RecordFile:
    is_new = not path.exists()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o666)
    try:
        _lock(descriptor, path)
        if is_new:
            sync_folder(path.parent)
        _repair(descriptor, path)
        day = date.fromtimestamp(os.fstat(descriptor).st_mtime)
        return RecordFile(path, descriptor, regular=True, day=day)
    except BaseException:
        os.close(descriptor)
        raise


def _lock(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StorageError(
            f"{path}: another process records into it; {_WAY_OUT}, or end that one first"
        ) from None
    except OSError as error:
        log.warning("%s: cannot be locked there (%s); let nobody else record into it", path, error)


def _repair(descriptor: int, path: Path) -> None:
    """Let the file end in a whole line. Raises StorageError where it is no recording."""
    size = os.fstat(descriptor).st_size
    if not size:
        return
    start = _last_line(descriptor, size)
    tail = os.pread(descriptor, min(size - start, _MAX_LINE), start)
    if start and not _is_reading(os.pread(descriptor, min(start, _MAX_LINE), 0).split(b"\n")[0]):
        raise _refused(path, "it holds something else than readings")
    if not tail:
        return
    if _is_reading(tail):
        os.write(descriptor, b"\n")
        log.warning("%s: its last line had no end; it is whole and was kept", path)
    elif start or (tail.startswith(b'{"') and not _is_json(tail)) or not tail.strip(b"\0"):
        os.ftruncate(descriptor, start)
        log.warning("%s: its last line was torn; %d bytes were removed", path, size - start)
    else:
        raise _refused(path, "it holds something else than readings")
    os.fsync(descriptor)


def _last_line(descriptor: int, size: int) -> int:
    """Where the last line begins; `size` where the file ends in a line break."""
    end = size
    while end > 0:
        begin = max(0, end - _CHUNK)
        at = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def _is_reading(line: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(line)
        return isinstance(value, dict) and value.keys() >= _KEYS
    return False


def _is_json(text: bytes) -> bool:
    with contextlib.suppress(ValueError, RecursionError):
        json.loads(text)
        return True
    return False


def _refused(path: Path, reason: str) -> StorageError:
    return StorageError(f"{path}: cannot be recorded into ({reason}); {_WAY_OUT}")
