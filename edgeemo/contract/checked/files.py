"""The one way in which files become final: written beside, synced, renamed into place; and paths
for C++ libraries.

An interrupt, a full disk or a power cut leaves the old file or the new one. What is no regular file
(a pipe, a device) is written through, links stay links, and parent folders are never invented.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeemo.contract.checked import parts
from edgeemo.errors import EdgeemoError, StorageError

_WAYS_OUT = {
    errno.ENOSPC: "free some space or choose another --out",
    errno.EDQUOT: "free some space or choose another --out",
    errno.EROFS: "choose an --out on a writable file system",
    errno.EACCES: "choose an --out that you may write to",
    errno.EPERM: "choose an --out that you may write to",
}
_OTHERWISE = "choose another --out"
# What leads to this process's own descriptors, which a rename would not reach.
_DESCRIPTORS = re.compile(r"/dev/(stdin|stdout|stderr|fd/\d+)|/proc/(self|\d+)/fd/\d+")


def for_c(path: str | os.PathLike[str]) -> str | bytes:
    """A path as a C++ library takes it: the text, or the bytes of a name that is no UTF-8.

    Python writes such a name with lone surrogates, on which OpenCV's bindings crash the process.
    """
    text = os.fspath(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


@contextmanager
def written_beside(path: str | os.PathLike[str], *, own: bool = False) -> Iterator[Path]:
    """Yield a temporary path; on success its file replaces that at `path`, on any exception it is
    removed.

    It lies in the folder of `path`, or of what a link there leads to. What goes to a pipe or a
    character device is written through when it is whole. Parts that killed processes have left of
    the same file are swept.

    Args:
        path: of the final file.
        own: the file is one of edgeemo's own in a folder of its own: a link or a pipe that lies
            there, which nobody asked for, is replaced.

    Raises:
        StorageError: the parent folder is not there; `path` is a folder, a socket or a disk; the
            file system refuses.
    """
    target = Path(path)
    with translated(target):
        if not own and is_passed_through(target):
            with _written_through(target) as part:
                yield part
            return
        target = target.absolute() if own else Path(os.path.realpath(target))
        parts.sweep(target.parent, target.name)
        part = parts.part_of(target)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        rights = stat.S_IMODE(part.stat().st_mode)
        try:
            yield part
            part.chmod(rights)  # it may be another file now, that a library has put in its place
            sync_file(part)
            part.replace(target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)


def is_passed_through(target: Path) -> bool:
    """Whether `target` is a pipe or device, which takes bytes and is never replaced.

    Raises:
        StorageError: a folder, a socket or a disk, or its parent folder is not there.
        OSError: it cannot be looked at.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        check_parent(target)
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(target))
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        raise StorageError(
            f"{target}: expected a file, a pipe or a device, received a socket or a disk;"
            f" {_OTHERWISE}"
        )
    return not stat.S_ISREG(mode) or bool(_DESCRIPTORS.fullmatch(os.path.abspath(target)))


def check_parent(path: Path, way_out: str = _OTHERWISE) -> None:
    """Raise StorageError, naming the folder, where what `path` leads to would lie in a folder that
    is not there.
    """
    real = Path(os.path.realpath(path))
    missing = real.parent
    if not missing.exists():
        while not missing.parent.exists():
            missing = missing.parent
        raise StorageError(
            f"{path}: cannot be written (there is no folder {missing}); make it or {way_out}"
        )


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder `path`, a product of its own such as a run or a cache, with its parents, and
    sweep out what killed processes have left in it. Raises StorageError.
    """
    folder = Path(path)
    with translated(folder):
        make_synced(folder)
        parts.sweep(folder)
    return folder


def make_synced(folder: Path) -> None:
    """Make a folder and its parents, and have their names on the disk. Raises OSError."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        sync_folder(path.parent)


@contextmanager
def translated(target: Path, option: str = "--out") -> Iterator[None]:
    """What the file system refuses as StorageError, with a way out that names the `option`."""
    try:
        yield
    except StorageError as error:
        raise StorageError(str(error).replace("--out", option)) from error
    except EdgeemoError:
        raise
    except OSError as error:
        # NumPy says of a full disk only how many bytes it could write, without an errno.
        way_out = _WAYS_OUT.get(error.errno or errno.ENOSPC, _OTHERWISE)
        raise StorageError(
            f"{target}: cannot be written ({error.strerror or error}); {way_out}".replace(
                "--out", option
            )
        ) from error


def sync_file(path: Path) -> None:
    """Have a file's bytes on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    with contextlib.suppress(PermissionError, NotADirectoryError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                raise
        finally:
            os.close(descriptor)


@contextmanager
def _written_through(target: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgeemo-") as folder:
        part = Path(folder, target.name)
        part.touch()
        yield part
        with part.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink)
