"""The open file, pipe or device that a recording goes to: whole lines at its end, one writer."""

import errno
import logging
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from edgeemo.contract.checked.files import check_parent, sync_folder
from edgeemo.errors import StorageError, worded
from edgeemo.live.record.lines import MAX_LINE, is_begun, is_reading

_CHUNK = 64 * 1024
_LAST_NUMBER = 999_999
# What leads to a descriptor of this very process.
_DESCRIPTOR = re.compile(r"/(?:dev/fd|proc/self/fd)/(\d{1,6})")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}

log = logging.getLogger("edgeemo.live.record.recorder")


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
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return True

    def is_lost(self) -> bool:
        """Whether no name leads to the file any more: its lines go when it is closed."""
        return self.regular and os.fstat(self.descriptor).st_nlink == 0

    def number(self) -> Path:
        """Give the file the next free number, NAME.000001.jsonl, and return that name; no file is
        replaced. Raises OSError.
        """
        last = next((number for number, _ in _newest_first(self.path)), 0)
        for number in range(last + 1, _LAST_NUMBER + 1):
            target = self.path.with_name(f"{self.path.stem}.{number:06}{self.path.suffix}")
            try:
                move_to_free(self.path, target)
            except FileExistsError:
                continue
            return target
        raise OSError(errno.EEXIST, f"no number up to {_LAST_NUMBER:,} is free")

    def close(self) -> None:
        """Close it, which also unlocks it."""
        os.close(self.descriptor)


def numbered(path: Path) -> list[Path]:
    """The full files of the recording `path`, oldest first: six digits in the name and a reading in
    the first line. Whatever else is called like that is somebody else's.
    """
    return [file for _, file in _newest_first(path)][::-1]


def move_to_free(source: Path, target: Path) -> None:
    """Rename a file to a name that is free. Raises FileExistsError and OSError."""
    # Taking the name first works on file systems, as of USB sticks, that know no hard links.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    try:
        source.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise


def _newest_first(path: Path) -> Iterator[tuple[int, Path]]:
    pattern = re.compile(re.escape(path.stem) + r"\.([0-9]{6})" + re.escape(path.suffix))
    matches = map(pattern.fullmatch, os.listdir(path.parent))
    files = {int(match[1]): path.with_name(match[0]) for match in matches if match}
    for number in sorted(files, reverse=True):
        if _is_recording(files[number]):
            yield number, files[number]


def _is_recording(path: Path) -> bool:
    """Whether `path` is a regular file, and no link, whose first line is a reading."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return False
    try:
        state = os.fstat(descriptor)
        return stat.S_ISREG(state.st_mode) and is_reading(_first_line(descriptor, state.st_size))
    finally:
        os.close(descriptor)


def open_record(path: Path) -> RecordFile:
    """Open `path` for lines at its end: a new or recorded file, locked and with whole lines alone;
    a pipe or a character device as it is. Links are followed.

    Raises:
        StorageError: a folder, a socket or a disk; a file that is recorded already, or that holds
            something else than readings; a parent folder that is not there; no permission.
    """
    own = _own_descriptor(path)
    try:
        mode = path.stat().st_mode
        if own is not None and stat.S_ISREG(mode):
            return RecordFile(path, _shared(own), regular=False, day=date.today())
    except FileNotFoundError:
        mode = stat.S_IFREG
        check_parent(path, _way_out())
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


def _own_descriptor(path: Path) -> int | None:
    """The number of this process's descriptor that `path` leads to, as /dev/stdout does."""
    place = os.path.abspath(path)
    for _ in range(40):
        if place in _STANDARD:
            return _STANDARD[place]
        if match := _DESCRIPTOR.fullmatch(place.replace(f"/proc/{os.getpid()}/", "/proc/self/")):
            return int(match[1])
        if not os.path.islink(place):
            return None
        place = os.path.abspath(os.path.join(os.path.dirname(place), os.readlink(place)))
    return None


def _shared(own: int) -> int:
    """A file that this process has open, at the offset which the process shares with it: opened
    anew, the two would write over each other.
    """
    os.write(own, b"")  # refused where it is open for reading alone
    return os.dup(own)


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
            f"{path}: another process records into it; {_way_out()}, or end that one first"
        ) from None
    except OSError as error:
        log.warning("%s: cannot be locked there (%s); let nobody else record into it", path, error)


def _repair(descriptor: int, path: Path) -> None:
    """Let the file end in a whole line. Raises StorageError where it is no recording, or its end no
    line of ours that was torn.
    """
    size = os.fstat(descriptor).st_size
    start = _line_start(descriptor, size)
    if start and not (
        is_reading(_first_line(descriptor, start))
        and is_reading(_pread(descriptor, _line_start(descriptor, start - 1), start - 1))
    ):
        raise _refused(path, "it holds something else than readings")
    if start == size:
        return
    tail = _pread(descriptor, start, size).rstrip(b"\0")  # which a power cut leaves
    if not _is_zero(descriptor, start + len(tail), size):
        raise _refused(path, "it holds something else than readings")
    if is_reading(tail):
        os.ftruncate(descriptor, start + len(tail))
        os.write(descriptor, b"\n")
        log.warning("%s: its last line had no end; it is whole and was kept", path)
    elif is_begun(tail, alone=not start):
        os.ftruncate(descriptor, start)
        log.warning("%s: its last line was torn; %d bytes were removed", path, size - start)
    else:
        raise _refused(path, "it holds something else than readings")
    os.fsync(descriptor)


def _pread(descriptor: int, start: int, end: int) -> bytes:
    """The bytes from `start` to `end`; of more than a line may have, one more than that."""
    return os.pread(descriptor, min(end - start, MAX_LINE + 1), start)


def _first_line(descriptor: int, size: int) -> bytes:
    return _pread(descriptor, 0, size).split(b"\n", 1)[0]


def _line_start(descriptor: int, end: int) -> int:
    """Where the line begins that lies before `end`; `end` where a line break does."""
    while end > 0:
        begin = max(0, end - _CHUNK)
        at = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def _is_zero(descriptor: int, start: int, end: int) -> bool:
    return all(
        not os.pread(descriptor, min(end - begin, _CHUNK), begin).strip(b"\0")
        for begin in range(start, end, _CHUNK)
    )


def _way_out() -> str:
    return f"choose another {worded('--record', 'path')}"


def _refused(path: Path, reason: str) -> StorageError:
    return StorageError(f"{path}: cannot be recorded into ({reason}); {_way_out()}")
