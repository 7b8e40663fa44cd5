"""Folders that a command generates: updated without touching a file that is not its own."""

import contextlib
import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgeemo.contract.checked import parts, strict
from edgeemo.contract.checked.files import make_synced, sync_file, sync_folder, translated
from edgeemo.contract.checked.reading import sha256_of
from edgeemo.errors import StorageError

OURS = ".edgeemo-files.json"
"""Lists the files of a generated folder with their sha256: the mark by which they are known."""
_MAX_LIST_BYTES = 16 * 1024 * 1024

Marks = Mapping[str, tuple[str, ...]]
"""Relative path of a file to the sha256 that it may have."""


@contextmanager
def folder_written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder; on success its files stand in the folder `path`, on any exception it is
    removed.

    Files that an earlier call wrote are replaced or, where no longer wanted, removed; they are
    known by the list OURS. Everything else in the folder stays. A folder of nothing but such files
    is exchanged in one step, one with others is updated file by file, each in one step. Parent
    folders are made; of a link to a folder, the link stays.

    Raises:
        StorageError: a file there; files but no list, or files that were changed since they were
            written, so that a person's work would be lost; the file system refuses.
    """
    target = Path(os.path.realpath(path))
    with translated(target):
        parts.sweep(target)
        marks = _checked_marks(target)
        make_synced(target.parent)
        parts.sweep(target.parent, target.name)
        shares = _has_others(target, marks) or (target.is_dir() and os.path.ismount(target))
        part = parts.part_of(target / target.name if shares else target)
        part.mkdir()
        try:
            yield part
            new = _marked(part)
            marks = _checked_marks(target)  # a person may have worked in it meanwhile
            if shares or _has_others(target, marks):
                _update(target, part, marks, new)
            elif target.is_dir():
                _exchange(target, part)
            else:
                part.replace(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _checked_marks(target: Path) -> Marks:
    """The files of ours in `target`. Raises StorageError where it may not be updated."""
    if not target.exists():
        return {}
    if not target.is_dir():
        raise StorageError(
            f"{target}: expected a folder or nothing there, received a file; choose another --out"
        )
    if all(parts.is_part(path) for path in target.iterdir()):
        return {}
    if not (target / OURS).is_file():
        raise StorageError(
            f"{target}: the folder holds files but no {OURS}, the list of those that edgeemo wrote,"
            " so it is not replaced; choose another --out or empty it"
        )
    marks = _read_marks(target)
    for name, hashes in marks.items():
        file = target / name
        if os.path.lexists(file) and not _is_one_of(file, hashes):
            raise _not_ours(target, name)
    return marks


def _read_marks(target: Path) -> Marks:
    with (target / OURS).open("rb") as file:
        data = file.read(_MAX_LIST_BYTES + 1)
    try:
        marks = strict.from_dict(dict[str, tuple[str, ...]], strict.loads(data), OURS)
        if any(os.path.isabs(name) or ".." in Path(name).parts for name in marks):
            raise ValueError("a path that leads outside")
    except ValueError as error:
        raise StorageError(
            f"{target}: its {OURS} is damaged ({error}); choose another --out or empty it"
        ) from None
    return marks


def _not_ours(target: Path, name: str) -> StorageError:
    return StorageError(
        f"{target}: {name} is not as edgeemo wrote it, so it is not replaced; move it or choose"
        " another --out"
    )


def _is_one_of(file: Path, hashes: tuple[str, ...]) -> bool:
    return file.is_file() and not file.is_symlink() and _sha256(file) in hashes


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return sha256_of(opened)


def _files(folder: Path) -> list[str]:
    """Relative paths of all that is no folder."""
    paths = []
    for root, folders, names in os.walk(folder):
        links = (name for name in folders if Path(root, name).is_symlink())
        paths += [Path(root, name) for name in (*names, *links)]
    return sorted(str(path.relative_to(folder)) for path in paths)


def _has_others(target: Path, marks: Marks) -> bool:
    if not target.is_dir():
        return False
    return bool(set(_files(target)) - marks.keys() - {OURS})


def _marked(part: Path) -> Marks:
    """Write the list into a finished part, and have all of it on the disk."""
    marks = {name: (_sha256(part / name),) for name in _files(part)}
    (part / OURS).write_text(strict.dumps(marks))
    for name in (*marks, OURS):
        sync_file(part / name)
    for root, _, _ in os.walk(part):
        sync_folder(Path(root))
    return marks


def _exchange(target: Path, part: Path) -> None:
    """Put `part` in the place of the folder `target` and remove that: in one step where the system
    can, else in two, and the old one goes back when that is interrupted halfway.
    """
    if _swapped(part, target):
        return  # `part` is the old one now, and its maker removes it
    old = part.with_name(part.name + ".old")
    try:
        target.replace(old)
        part.replace(target)
    finally:
        if old.is_dir() and not target.exists():
            old.replace(target)
        shutil.rmtree(old, ignore_errors=True)


def _swapped(a: Path, b: Path) -> bool:
    """Exchange two names in one step (renameat2 of Linux); False where there is no such thing."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if _LINUX else None
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL):
        return False
    raise OSError(number, os.strerror(number), str(b))


_LINUX = sys.platform == "linux"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h


def _update(target: Path, part: Path, marks: Marks, new: Marks) -> None:
    """Move the files of `part` into `target`, which holds others too, and remove ours that are no
    longer wanted.
    """
    for name in new:
        if os.path.lexists(target / name) and not _is_one_of(target / name, marks.get(name, ())):
            raise _not_ours(target, name)
    # Killed between two files, both generations are known as ours by the next call.
    both = {name: (*marks.get(name, ()), *new.get(name, ())) for name in sorted({*marks, *new})}
    _write_list(target, part, both)
    for name in new:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).replace(target / name)
    for name in marks.keys() - new.keys():
        (target / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (target / name).parent.rmdir()  # only where nothing is left in it
    for folder in {(target / name).parent for name in new}:
        sync_folder(folder)
    _write_list(target, part, new)
    sync_folder(target)


def _write_list(target: Path, part: Path, marks: Marks) -> None:
    (part / OURS).write_text(strict.dumps(marks))
    sync_file(part / OURS)
    (part / OURS).replace(target / OURS)
