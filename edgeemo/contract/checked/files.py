"""Writing so that an interrupt or a full disk leaves no half-written file: write beside, then
rename into place; and paths for C++ libraries.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeemo.errors import EdgeemoError, StorageError

_WAYS_OUT = {
    errno.ENOSPC: "free some space or choose another --out",
    errno.EDQUOT: "free some space or choose another --out",
    errno.EROFS: "choose an --out on a writable file system",
    errno.EACCES: "choose an --out that you may write to",
    errno.EPERM: "choose an --out that you may write to",
}


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
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; on success it replaces `path`, on any exception it
    is removed.

    Missing parent folders are made. Raises StorageError when the file system refuses.
    """
    target = Path(path)
    with _translated(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(target))
        part = _part_of(target)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        rights = stat.S_IMODE(part.stat().st_mode)
        try:
            yield part
            part.chmod(rights)  # it may be another file now, that a library has put in its place
            _sync(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def folder_written_beside(path: str | os.PathLike[str], *, marker: str) -> Iterator[Path]:
    """Like `written_beside` for a whole folder.

    An existing folder is replaced only when it is empty or holds the file `marker`, which says that
    we made it. Of a link to a folder, the folder is replaced and the link stays.
    """
    target = Path(path)
    target = target.resolve() if target.is_symlink() else target
    with _translated(target):
        if target.exists() and not target.is_dir():
            raise StorageError(
                f"{target}: expected a folder or nothing there, received a file; choose another"
                " --out"
            )
        if target.is_dir() and any(target.iterdir()) and not (target / marker).is_file():
            raise StorageError(
                f"{target}: the folder holds files but no {marker}, so it is not replaced; choose"
                " another --out or empty it"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part_of(target)
        part.mkdir()
        try:
            yield part
            if target.is_dir():
                _swap(target, part)
            else:
                part.replace(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _swap(target: Path, part: Path) -> None:
    """Put `part` in the place of the folder `target`; when that is interrupted halfway, the old one
    goes back.
    """
    old = part.with_name(part.name + ".old")
    try:
        target.replace(old)
        part.replace(target)
    finally:
        if old.is_dir() and not target.exists():
            old.replace(target)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _translated(target: Path) -> Iterator[None]:
    try:
        yield
    except EdgeemoError:
        raise
    except OSError as error:
        # NumPy says of a full disk only how many bytes it could write, without an errno.
        way_out = _WAYS_OUT.get(error.errno or errno.ENOSPC, "choose another --out")
        raise StorageError(
            f"{target}: cannot be written ({error.strerror or error}); {way_out}"
        ) from error


def _part_of(target: Path) -> Path:
    """A name beside `target` that nobody has.

    Not through tempfile, whose rights are the owner's alone: what the umask would have left is told
    only by setting it, for all threads.
    """
    return target.parent / f".part-{secrets.token_hex(4)}-{target.name}"


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
