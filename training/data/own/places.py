"""Where the files are that tables and lists name: inside their own folder or archive, and nowhere
else.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import FileStore
from edgeemo.errors import DataError

_MAX_PATH = 4096
# RAF-DB's list names train_00001.jpg, its cropped face is train_00001_aligned.jpg, and the photo
# that it is cut from, where it is there too, has the list's name.
_ALIGNED = "_aligned"


class LooseFiles(FileStore):
    """The folder that a table lies in, of which only the files are looked at that it names."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.names = []
        self.rejected = []
        self._zip = None
        self._real = os.path.realpath(folder)

    def place(self, path: str) -> str | None:
        """The path where a regular file is there, reached by no link that leads outside."""
        for candidate in (aligned(path), path):
            full = os.path.realpath(self.path / candidate)
            if os.path.isfile(full) and full.startswith(os.path.join(self._real, "")):
                return candidate
        return None


class Listed:
    """The files of a store by how tables name them: by path from a folder on, or by their last
    folders and name where there is one such file alone.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._all = set(names)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self._all:
            self._by_name[PurePosixPath(name).name].append(name)

    def place(self, path: str, folder: str) -> str | None:
        """The path inside the store of what a table in `folder` names; None where it is not there.

        Raises:
            DataError: several files have this name.
        """
        for candidate in (aligned(path), path):
            for whole in ((PurePosixPath(folder) / candidate).as_posix(), candidate):
                if whole in self._all:
                    return whole
            ends = [
                name
                for name in self._by_name.get(PurePosixPath(candidate).name, ())
                if name.endswith(f"/{candidate}")
            ]
            if len(ends) == 1:
                return ends[0]
            if ends:
                raise DataError(
                    f"{printable(path)[:120]} is in {len(ends):,} folders "
                    f"({printable(min(ends))[:120]}, ...); name it with its folder"
                )
        return None


def aligned(path: str) -> str:
    """A path as RAF-DB's aligned pictures have it."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}{_ALIGNED}{dot}{suffix}"


def checked_path(path: str, where: str) -> str:
    """A table's path with `/` between folders and without `./`.

    Raises:
        DataError: one that leads outside the table's folder, or is none.
    """
    plain = path.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    drive = len(plain) > 1 and plain[1] == ":"
    if plain.startswith("/") or ".." in parts or drive:
        raise DataError(
            f"{where}: expected a path below the table's own folder, received "
            f"{printable(path)[:120]!r}; write it from there on"
        )
    if not parts or len(path) > _MAX_PATH or not path.isprintable():
        raise DataError(
            f"{where}: expected the path of a picture, received {printable(path)[:60]!r}; correct "
            "the line"
        )
    return PurePosixPath(plain).as_posix()
