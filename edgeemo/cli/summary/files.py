"""Writes a summary as what its file's ending says."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeemo.cli.summary.page import page
from edgeemo.contract.checked.files import translated, written_beside
from edgeemo.contract.checked.text import without_halves
from edgeemo.live.summary import Summary

ENDINGS = (".html", ".csv", ".png")


def write_summary(path: Path, summary: Summary, title: str, language: str) -> None:
    """Write `path`, whose ending is one of ENDINGS.

    Args:
        path: the file.
        summary: what goes in.
        title: of what was watched, as people name it.
        language: of the words; a table keeps the bundle's labels.

    Raises:
        StorageError: it cannot be written.
        MissingDependency: a picture without Pillow.
    """
    makers: dict[str, Callable[[], bytes]] = {
        ".html": lambda: page(summary, title, language).encode(),
        ".csv": lambda: _table(summary).encode(),
        ".png": lambda: _picture(summary, title, language),
    }
    data = makers[path.suffix.lower()]()
    with translated(path, "--summary"), written_beside(path) as part:
        part.write_bytes(data)


def _picture(summary: Summary, title: str, language: str) -> bytes:
    from edgeemo.cli.summary.picture import png

    return png(summary, title, language)


def _table(summary: Summary) -> str:
    """CSV: a line for each step of time of all faces together, then of each face."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerows(_rows(summary))
    return str(without_halves(text.getvalue()))


def _rows(summary: Summary) -> Iterator[list[object]]:
    names = [f"share_{emotion or 'unsure'}" for emotion in summary.emotions]
    yield ["face", "begin", "end", *names]
    for face, seen in (("all", summary.everyone), *summary.faces.items()):
        for begin, end, shares in summary.shares(seen):
            numbers = (f"{shares[emotion]:.4f}" for emotion in summary.emotions)
            yield [face, f"{begin:g}", f"{end:.3f}".rstrip("0").rstrip("."), *numbers]
