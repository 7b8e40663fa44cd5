"""Which pictures the words of a command line mean: files, folders, patterns, standard input."""

import glob
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from edgeemo.cameras.files import natural
from edgeemo.data.pictures import SUFFIXES, VIDEO_SUFFIXES

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Given:
    """A picture that is to be read."""

    name: str
    """What it is called in lines and messages: the path as it was given, or "-"."""
    relative: Path
    """What is written about it is named so, inside its folder."""
    fault: str = ""
    """Why it cannot be read, where that is known already."""


@dataclass(frozen=True)
class Pictures:
    """All pictures that were given, and what was passed over."""

    all: tuple[Given, ...]
    """In the order of the words; of a folder in natural order, 2 before 10."""
    one: bool
    """Whether one picture was named by itself, and not a folder, a pattern or several."""
    videos: tuple[str, ...]
    """Videos that lay among the pictures of a folder."""


def pictures_of(words: Sequence[str], not_in: Sequence[Path | None] = ()) -> Pictures:
    """The pictures of words, each a file, a folder with all below it, a pattern such as "*.jpg" or
    "day/**/*.png" (quoted, where no shell resolves it), or "-".

    Hidden files and folders are passed over, and folders of `not_in`, where results go.

    Raises:
        click.UsageError: an address, or standard input twice.
    """
    out = [state for path in not_in if path and (state := _state(path))]
    found: list[Given] = []
    videos: list[str] = []
    for word in words:
        _refuse_address(word)
        if os.path.isdir(word):
            found += _in_folder(word, out, videos)
        elif glob.has_magic(word) and not os.path.lexists(word):
            found += _matching(word, out, videos)
        else:
            found.append(_file(word))
    if sum(given.name == STANDARD_INPUT for given in found) > 1:
        raise click.UsageError("standard input (-) holds one picture; name it once")
    one = len(words) == 1 and [given.name for given in found] == list(words)
    return Pictures(tuple(found), one, tuple(videos))


def _refuse_address(word: str) -> None:
    scheme, separator, rest = word.partition("://")
    if not separator:
        return
    if scheme.lower() in ("http", "https"):
        raise click.UsageError(
            f"{word}: nothing is fetched from a network here; download it: curl -fL "
            f"{shlex.quote(word)} | edgeemo predict -"
        )
    if scheme.lower() == "file":
        raise click.UsageError(f"{word}: expected a path; name it {rest}")
    raise click.UsageError(
        f"{word}: a stream, not a picture; run: edgeemo watch {shlex.quote(word)}"
    )


def _file(word: str) -> Given:
    if word == STANDARD_INPUT:
        return Given(word, Path("standard-input"))
    fault = ""
    if Path(word).suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(word):
        fault = f"{word}: a video, not a picture; run: edgeemo watch {shlex.quote(word)}"
    elif Path(word).is_fifo():  # of mkfifo, or of a shell's <(...)
        fault = f"{word}: a pipe; give its picture on standard input: ... | edgeemo predict -"
    return Given(word, Path(Path(word).name or "none"), fault)


def _in_folder(word: str, out: list[os.stat_result], videos: list[str]) -> list[Given]:
    found: list[Given] = []
    faults: list[Given] = []
    for path in _files_below(word, out, faults):
        if path.suffix.lower() in SUFFIXES:
            found.append(Given(str(path), path.relative_to(word)))
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            videos.append(str(path))
    found += faults
    if not found:
        endings = ", ".join(sorted(SUFFIXES))
        fault = f"{word}: no pictures in this folder or below it; expected {endings} files"
        found.append(Given(word, Path("none"), fault))
    return found


def _files_below(word: str, out: list[os.stat_result], faults: list[Given]) -> Iterator[Path]:
    """Files of a folder and all below it in natural order; folders that cannot be listed become
    faults.
    """

    def refuse(error: OSError) -> None:
        text = f"{error.filename}: cannot be listed ({error.strerror}); check its permissions"
        faults.append(Given(str(error.filename), Path("none"), text))

    for root, folders, names in os.walk(word, onerror=refuse):
        folders[:] = sorted(
            (name for name in folders if name[0] != "." and not _is_one_of(Path(root, name), out)),
            key=natural,
        )
        for name in sorted(names, key=natural):
            if name[0] != ".":
                yield Path(root, name)


def _matching(word: str, out: list[os.stat_result], videos: list[str]) -> list[Given]:
    found: dict[str, Given] = {}
    for name in sorted(glob.glob(word, recursive=True), key=natural):
        if os.path.isdir(name):
            if "**" not in word and not _is_one_of(Path(name), out):
                found |= {given.name: given for given in _in_folder(name, out, videos)}
        elif Path(name).suffix.lower() in VIDEO_SUFFIXES:
            videos.append(name)
        elif Path(name).suffix.lower() in SUFFIXES and not _lies_in(Path(name), out):
            found[name] = Given(name, Path(Path(name).name))
    return list(found.values()) or [
        Given(word, Path("none"), f"{word}: no such file, and no picture matches; check it")
    ]


def _lies_in(path: Path, out: list[os.stat_result]) -> bool:
    return bool(out) and any(_is_one_of(parent, out) for parent in path.parents)


def _is_one_of(path: Path, out: list[os.stat_result]) -> bool:
    state = _state(path)
    return state is not None and any(os.path.samestat(state, other) for other in out)


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None
