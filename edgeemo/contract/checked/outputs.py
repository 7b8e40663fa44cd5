"""What a command is asked to write, looked at before it works for minutes."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from edgeemo.contract.checked import parts
from edgeemo.contract.checked.files import is_passed_through, translated
from edgeemo.errors import InvalidInput

_READ_NOT = {".json", ".jsonl"}
"""Endings of results; from a folder of pictures nobody reads such files."""

_KEY, _LOOKED_AT = b"-----BEGIN ", 64
Words = Iterable[str | os.PathLike[str] | None]
"""Paths as a command line gives them; None and what is no path on this disk are passed over."""


def check_output(
    out: str | os.PathLike[str],
    inputs: Words = (),
    *,
    option: str = "--out",
    ours: tuple[bytes, ...] = (),
) -> None:
    """Refuse a file to write that is one of the inputs, under whatever name, holds a key, or cannot
    be written; and sweep the parts that a killed call has left of it.

    An input that is a folder stands for every file in it but results (.json, .jsonl). `option` is
    what names `out` on the command line. With `ours` a file that is there must be empty or begin
    with one of them, as what is written does.

    Raises:
        InvalidInput: `out` is an input, or another's file.
        StorageError: its parent folder is not there or takes no files, or it is a folder, a socket
            or a disk.
    """
    path = Path(out)
    check_apart(path, inputs)
    _check_ours(path, ours)
    with translated(path, option):
        if not is_passed_through(path):
            real = Path(os.path.realpath(path))
            parts.sweep(real.parent, real.name)
            part = parts.part_of(real)
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            part.unlink()


def _check_ours(path: Path, ours: tuple[bytes, ...]) -> None:
    """Raise InvalidInput where a key, or what does not begin with `ours`, would be replaced."""
    state = _state(path)
    if state is None or not stat.S_ISREG(state.st_mode):
        return
    with suppress(OSError):  # what cannot be read is for those who write
        with path.open("rb") as file:
            begins = file.read(_LOOKED_AT)
        if begins.startswith(_KEY) or (ours and begins and not begins.startswith(ours)):
            what = "a key" if begins.startswith(_KEY) else "something else"
            raise InvalidInput(
                f"{path}: holds {what}, which would be replaced; choose another output, or remove "
                "it first"
            )


def check_apart(out: str | os.PathLike[str], inputs: Words) -> None:
    """Raise InvalidInput where `out`, a file or a folder, is one of the inputs, by whatever name or
    link, or a file inside an input folder.
    """
    state = _state(Path(out))
    if state is None or stat.S_ISCHR(state.st_mode):
        return  # nothing is there to be lost
    for word in inputs:
        if word is None:
            continue
        with_contents = stat.S_ISREG(state.st_mode) and Path(out).suffix not in _READ_NOT
        for path in _paths(Path(word), with_contents):
            other = _state(path)
            if other is not None and os.path.samestat(state, other):
                same = f" ({path})" if str(path) != str(out) else ""
                raise _is_input(out, same)


def check_all_apart(outs: Iterable[Path], inputs: Words) -> None:
    """Raise InvalidInput where a file to write is one of the inputs, by whatever name or link: for
    many of both, of which each is looked at once. An input that is a folder is that folder alone.
    """
    states = (_state(Path(word)) for word in inputs if word is not None)
    taken = {(state.st_dev, state.st_ino) for state in states if state}
    for out in outs:
        state = _state(out)
        if state and not stat.S_ISCHR(state.st_mode) and (state.st_dev, state.st_ino) in taken:
            raise _is_input(out)


def _is_input(out: Path | str | os.PathLike[str], same: str = "") -> InvalidInput:
    return InvalidInput(
        f"{out}: expected another path than the input{same}, which would be replaced; choose"
        " another output"
    )


def _paths(path: Path, with_contents: bool) -> Iterator[Path]:
    yield path
    if with_contents:
        for root, _, names in os.walk(path):
            yield from (Path(root, name) for name in names)


def _state(path: Path) -> os.stat_result | None:
    with suppress(OSError, ValueError):
        return path.stat()
    return None
