"""A tar archive of files, packed by gzip or not, listed and read as if it were hostile; nothing is
unpacked to the disk.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from edgeemo.contract.checked.reading import open_regular
from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import MAX_FILES, MAX_RATIO, MAX_TOTAL_BYTES, FileStore
from edgeemo.data.pictures import MAX_BYTES
from edgeemo.errors import ArchiveError, PictureError
from training.data.metered import MAX_HEADERS, Metered

_DAMAGED = (OSError, EOFError, zlib.error, tarfile.TarError, ValueError)
_SLACK = 16 * 1024**2  # bytes; a tar archive of few files is mostly its padding


class TarStore(FileStore):
    """The files of a tar archive, `names` in the archive's order, so that reading them in turn
    unpacks it once.

    Raises:
        ArchiveError: no tar archive, a damaged one, or one of too much.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rejected = []
        self._zip = None
        self._places: dict[str, tuple[int, int]] = {}
        self._stack = ExitStack()
        self._stream: IO[bytes] | None = None
        try:
            with self._unpacked() as stream:
                self._list(stream)
        except ArchiveError:
            raise
        except _DAMAGED as error:
            raise ArchiveError(
                f"{path}: cannot be read as a tar archive ({printable(str(error))[:120]}); pack "
                "or copy it again"
            ) from None
        self.names = list(self._places)

    def close(self) -> None:
        self._stack.close()
        self._stream = None

    def read(self, path: str) -> bytes:
        try:
            if self._stream is None:
                self._stream = self._stack.enter_context(self._unpacked())
            start, size = self._places[path]
            self._stream.seek(start)
            data = self._stream.read(size)
        except _DAMAGED as error:
            raise PictureError(f"{self.path}/{path}: cannot be read ({error})") from None
        if len(data) != size:
            raise PictureError(f"{self.path}/{path}: cannot be read (the archive has changed)")
        return data

    def start(self, path: str, count: int) -> bytes:
        try:
            return self.read(path)[:count]
        except PictureError:
            return b""

    @contextmanager
    def _unpacked(self) -> Iterator[IO[bytes]]:
        with open_regular(self.path) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                yield file
                return
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast(IO[bytes], unpacked)

    def _list(self, stream: IO[bytes]) -> None:
        metered = Metered(stream)
        metered.granted = MAX_HEADERS
        most = min(MAX_TOTAL_BYTES, MAX_RATIO * self.path.stat().st_size + _SLACK)
        seen: set[str] = set()
        total = count = 0
        with tarfile.open(fileobj=cast(Any, metered), mode="r|") as archive:
            while (member := archive.next()) is not None:
                cast(Any, archive).members = []  # it would keep them all
                count += 1
                total += member.size
                if count > MAX_FILES or total > most:
                    what = f"{MAX_FILES:,} files" if count > MAX_FILES else f"{most:,} bytes"
                    raise ArchiveError(
                        f"{self.path}: unpacks to more than {what}; split the archive"
                    )
                metered.granted = MAX_HEADERS + member.size
                name = member.name.removeprefix("./")
                if member.isdir():
                    continue
                fault = _fault(member, name, seen)
                seen.add(name)
                if fault:
                    self.reject(name, fault)
                else:
                    self._places[name] = (member.offset_data, member.size)


def is_tar(path: Path) -> bool:
    """Whether a file begins as a tar archive or a gzip file does."""
    with open_regular(path) as file:
        start = file.read(512)
    return start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar"


def _fault(member: tarfile.TarInfo, name: str, seen: set[str]) -> str | None:
    if not name:
        return "an entry without a name"
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
        return "path that leads outside"
    if not member.isreg() or member.issparse():
        return "a link or special file"
    if name in seen:
        return "second entry of the same name"
    return "too large" if member.size > MAX_BYTES else None
