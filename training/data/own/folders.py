"""Labels in the names of folders, wherever in the tree the classes are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from edgeemo.contract.labels import MAX_LABELS
from edgeemo.data.labelled import SPLIT_WORDS, plain_word


@dataclass(frozen=True)
class Entry:
    """A picture of a set, before its word is understood."""

    path: str
    """Inside the set, with `/`."""
    word: str
    """What the set calls its class."""
    part: str | None
    """"train", "validation" or "test" where the set says so."""


def by_folders(names: Sequence[str], known: Callable[[str], bool]) -> list[Entry]:
    """Pictures with the words of their class folders.

    Two folders may be the class: the nearest one, and the first one below a part's folder (or,
    without parts, below what all pictures have in common), which has folders of its own where
    pictures are ordered by person or session. The one whose words are all `known` is taken, the
    nearest first; where neither is, the one of 2 to 64 words.
    """
    above = [PurePosixPath(name).parts[:-1] for name in names]
    below = all(folders and plain_word(folders[-1]) in SPLIT_WORDS for folders in above)
    split = [_below(folders) if below else _split(folders) for folders in above]
    common = _common([folders for folders, part in split if below or part is None])
    ways: list[list[str]] = [[], []]
    for folders, part in split:
        inside = folders if part and not below else folders[common:]
        ways[0].append(folders[-1] if folders else "")
        ways[1].append(inside[0] if inside else "")
    chosen = _better(ways, known)
    return [
        Entry(name, word, part)
        for name, word, (_, part) in zip(names, chosen, split, strict=True)
        if word
    ]


def _better(ways: Sequence[list[str]], known: Callable[[str], bool]) -> list[str]:
    for words in ways:
        if all(map(known, set(words) - {""})):
            return words
    for words in ways:
        if 2 <= len(set(words) - {""}) <= MAX_LABELS:
            return words
    return ways[0]


def _split(folders: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """Folders that can be the class, and the part that a folder names: `train/<class>/`."""
    # The class's own folder may be named as a part is: "pass" and "test" are two classes.
    places = [i for i, name in enumerate(folders[:-1]) if plain_word(name) in SPLIT_WORDS]
    if not places:
        return folders, None
    return folders[places[-1] + 1 :], SPLIT_WORDS[plain_word(folders[places[-1]])]


def _below(folders: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The same for `<class>/train/`, where every picture's folder is that of a part."""
    return folders[:-1], SPLIT_WORDS[plain_word(folders[-1])]


def _common(paths: Sequence[tuple[str, ...]]) -> int:
    """How many folders all paths begin with, but for the last one of each."""
    if not paths:
        return 0
    first, last, shortest = min(paths), max(paths), min(map(len, paths))
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return max(0, min(same, shortest - 1))
