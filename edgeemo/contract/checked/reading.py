"""Reading files of others: regular ones alone, and no more of them than expected.

A FIFO would be waited for without end, a device read without end, and some devices act when they
are opened.
"""

import errno
import hashlib
import io
import os
import stat
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def sha256_of(file: BinaryIO) -> str:
    """sha256 in hex of what is left of an opened file; hashlib.file_digest needs Python 3.11."""
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file, or what a link to one leads to, to read its bytes.

    Raises:
        OSError: it cannot be opened; with the errno EINVAL, it is a FIFO, a socket or a device.
    """
    _check_kind(os.stat(path).st_mode, path)
    # Should another file have taken its place meanwhile, nothing is waited for either.
    # The file owns its descriptor from the start: closed by number after an interrupt it would be
    # closed twice, and the error of that would hide the interrupt.
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  it is returned open
    try:
        _check_kind(os.fstat(file.fileno()).st_mode, path)
    except BaseException:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """All bytes of a regular file of at most `limit` bytes.

    Raises:
        OSError: as `open_regular`.
        ValueError: a larger file, of which no more is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if max(size, len(data)) > limit:
        raise ValueError(f"{max(size, len(data)):,} bytes, expected at most {limit:,}")
    return data


def read_text(path: str | os.PathLike[str], limit: int, encoding: str = "utf-8") -> io.StringIO:
    """The text of a regular file of at most `limit` bytes, for `csv`: line ends as they are.

    Raises:
        OSError: as `open_regular`.
        ValueError: a larger file, or none in this encoding.
    """
    return io.StringIO(read_regular(path, limit).decode(encoding), newline="")


def why_no_file(path: str | os.PathLike[str]) -> str | None:
    """What stands at `path` in place of a regular file: "no such file", "a folder, expected a
    file", "a FIFO, ..."; None where it is one, or a link to one.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISREG(mode):
        return None
    return f"{'a folder' if stat.S_ISDIR(mode) else _KINDS[stat.S_IFMT(mode)]}, expected a file"


def _check_kind(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise OSError(errno.EINVAL, f"{kind}, expected a regular file", os.fspath(path))
