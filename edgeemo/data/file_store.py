"""Files of a folder or zip archive, listed and read as if they were hostile."""

import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TypeVar

from edgeemo.contract.checked.reading import open_regular, why_no_file
from edgeemo.data.pictures import COMMON_SUFFIXES, MAX_BYTES
from edgeemo.data.zip_entries import check_directory
from edgeemo.errors import ArchiveError, MissingFile, PictureError

_Store = TypeVar("_Store", bound="FileStore")  # typing.Self needs Python 3.11

MAX_FILES = 500_000
MAX_TOTAL_BYTES = 16 * 1024**3
MAX_RATIO = (
    200  # unpacked over packed; pictures are packed already, so an honest archive stays near 1
)
NO_PICTURE = "not a picture file"
"""Why a file is left out whose name does not end as a picture's."""
LINKED_FOLDER = "a link to a folder, which is not followed"
"""Why nothing below such a folder is read: nobody knows how much it is."""
_IS_UTF_8 = 0x800
_MAX_NAME = 255  # bytes, of ext4, APFS and NTFS
_MAX_PATH = 4096
_NEVER_PICTURES = frozenset({"thumbs.db", ".ds_store", "desktop.ini", "icon\r"})
# A path is stored in index.csv as it is, and must lead back to its file.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class FileStore:
    """A folder or zip archive of files; a context manager.

    `names` are its files in the order of their paths, `rejected` those that are not to be read,
    each with `path` and `reason`; nothing is skipped silently.

    Raises:
        MissingFile: nothing at `path`.
        ArchiveError: neither a folder nor a zip archive, or one of too many files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self.rejected: list[dict[str, str]] = []
        if self.path.is_dir():
            names = self._folder_names()
        elif self.path.is_file():
            names = self._zip_names()
        else:
            why = (why_no_file(self.path) or "").replace("file", "folder or archive")
            raise MissingFile(f"{self.path}: {why}; check the path")
        self.names = sorted(names)

    def __enter__(self: _Store) -> _Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive; more than once does no harm."""
        if self._zip is not None:
            self._zip.close()

    def read(self, path: str) -> bytes:
        """The bytes of one entry.

        Raises PictureError when it is damaged, too large or unreadable.
        """
        try:
            if self._zip is None:
                with open_regular(self.path / path) as file:
                    data = file.read(MAX_BYTES + 1)
            else:
                with self._zip.open(self._entries.get(path, path)) as entry:
                    data = entry.read(MAX_BYTES + 1)
        except (
            OSError,
            zipfile.BadZipFile,
            EOFError,
            RuntimeError,
            NotImplementedError,
            ValueError,
        ) as error:
            raise PictureError(f"{self.path}/{path}: cannot be read ({error})") from None
        except Exception as error:  # zlib.error, lzma.LZMAError: zipfile passes them on
            raise PictureError(f"{self.path}/{path}: damaged ({error})") from None
        if len(data) > MAX_BYTES:
            raise PictureError(f"{self.path}/{path}: unpacks to more than {MAX_BYTES:,} bytes")
        return data

    def start(self, path: str, count: int) -> bytes:
        """The first bytes of one entry; fewer where it cannot be read."""
        try:
            if self._zip is None:
                with open_regular(self.path / path) as file:
                    return file.read(count)
            with self._zip.open(self._entries[path]) as entry:
                return entry.read(count)
        except Exception:  # as in `read`; a file that cannot be read begins like nothing
            return b""

    def reject(self, path: str, reason: str) -> None:
        """Note that `path` was left out, and why."""
        self.rejected.append({"path": path, "reason": reason})

    def rejected_counts(self) -> dict[str, int]:
        """How many entries were left out, by reason, most first."""
        return dict(Counter(row["reason"] for row in self.rejected).most_common())

    def _folder_names(self) -> Iterator[str]:
        count = 0
        for root, folders, files in os.walk(self.path, onerror=self._unreadable):
            folders.sort()
            links = [name for name in folders if Path(root, name).is_symlink()]
            for name in links + files:
                count += 1
                if count > MAX_FILES:
                    raise ArchiveError(
                        f"{self.path}: more than {MAX_FILES:,} files; name a folder with fewer"
                    )
                full = Path(root, name)
                relative = full.relative_to(self.path).as_posix()
                if full.is_symlink() and full.is_dir():
                    self.reject(relative, LINKED_FOLDER)
                elif full.is_symlink() or not full.is_file():
                    self.reject(relative, "a link or special file")
                else:
                    yield relative

    def _unreadable(self, error: OSError) -> None:
        self.reject(
            Path(error.filename).relative_to(self.path).as_posix(), "a folder that cannot be read"
        )

    def _zip_names(self) -> Iterator[str]:
        try:
            check_directory(self.path, MAX_FILES)
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{self.path}: {error}; split the archive") from None
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ArchiveError(
                f"{self.path}: expected a folder or a zip archive, received neither ({error})"
            ) from None
        seen: set[str] = set()
        total = 0
        for entry in self._zip.infolist():
            name = _entry_name(entry)
            # Not is_dir(): before Python 3.12 that fails for an entry without a name.
            if name.endswith("/"):
                continue
            reason = _entry_fault(entry, name, seen)
            seen.add(name)
            if reason is None:
                total += entry.file_size
                reason = "beyond what an archive may unpack to" if total > MAX_TOTAL_BYTES else None
            if reason:
                self.reject(name, reason)
            else:
                # By name alone, zipfile would open the last of several.
                self._entries[name] = entry
                yield name


def name_fault(name: str) -> str | None:
    """Why a file is none of a set's pictures, by its name alone; None where it may be one."""
    path = PurePosixPath(name)
    system = path.name.lower() in _NEVER_PICTURES or path.name.startswith("._")
    if system or "__MACOSX" in path.parts[:-1]:
        return "system file"
    if _UNWRITABLE.search(name):
        return "a name with control characters or that is no UTF-8"
    if len(name) > _MAX_PATH or any(len(os.fsencode(part)) > _MAX_NAME for part in path.parts):
        return "a name longer than a file's can be"
    return None if path.suffix.lower() in COMMON_SUFFIXES else NO_PICTURE


def _entry_name(entry: zipfile.ZipInfo) -> str:
    """An entry's path as its maker meant it.

    Archives of macOS and of Info-ZIP hold UTF-8 without the flag that says so, and Python reads
    them as code page 437. Those that .NET made on Windows before 4.6.1 have `\\` between folders;
    the rule is that of Info-ZIP's unzip.
    """
    name = entry.filename
    if not entry.flag_bits & _IS_UTF_8 and not name.isascii():
        with suppress(ValueError):
            name = name.encode("cp437").decode("utf-8")
    windows = entry.create_system == 0 and "/" not in name
    return name.replace("\\", "/") if windows else name


def _entry_fault(entry: zipfile.ZipInfo, name: str, seen: set[str]) -> str | None:
    parts = PurePosixPath(name).parts
    if not parts:
        return "an entry without a name"
    if name.startswith("/") or ".." in parts or "\\" in name:
        return "path that leads outside"
    if name in seen:
        return "second entry of the same name"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a link or special file"
    if entry.flag_bits & 1:
        return "encrypted"
    if entry.file_size > MAX_BYTES:
        return "too large"
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return "packed too tightly to be a picture"
    return None
