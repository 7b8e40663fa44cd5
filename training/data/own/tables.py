"""Tables and lists of own sets: a row a picture, with its path or pixels and its label, read line
by line as if they were hostile.
"""

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import PurePosixPath
from typing import IO

from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import MAX_FILES
from edgeemo.data.labelled import SPLIT_WORDS, plain_word
from edgeemo.data.pictures import COMMON_SUFFIXES
from edgeemo.errors import DataError, InvalidInput
from training.data.line_count import MAX_LINE, has_more_lines

MAX_ROWS = MAX_FILES
MAX_FIELDS = 256
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
LIST_SUFFIXES = frozenset({".txt", ".lst"})
_DELIMITERS = "\t,;|"
_PATHS = (
    "path", "filepath", "imagepath", "subdirectoryfilepath", "pth", "file", "filename", "image",
    "imagename", "imagefile", "img", "imgpath", "imgname", "picture", "photo", "name", "imageid",
    "fichier", "chemin", "archivo", "ruta", "imagen", "datei", "dateiname", "pfad", "bild",
    "arquivo", "ficheiro", "caminho", "imagem", "percorso", "immagine",
)  # fmt: skip
_LABELS = (
    "label", "emotion", "expression", "class", "classname", "category", "emotionlabel",
    "labelname", "target", "mood", "facialexpression", "emotions", "labels", "choice", "y",
    "etiquette", "classe", "etiqueta", "emocion", "clase", "klasse", "ausdruck", "emocao",
    "expressao", "emozione", "espressione", "etichetta",
)  # fmt: skip
_PARTS = ("split", "usage", "subset", "partition", "part", "set", "phase")
_PIXELS = ("pixels", "pixel")
_SEPARATOR = re.compile(rb"sep=.?", re.IGNORECASE)
_MAX_BEFORE = 20  # lines before a table's first one


@dataclass(frozen=True)
class Row:
    """A picture's row."""

    number: int
    """Its line, from 1 on."""
    path: str
    """As the table has it; "" where it has pixels."""
    word: str
    """Its label as the table has it."""
    part: str | None
    """"train", "validation" or "test" where a column says so."""
    pixels: str
    """2,304 numbers; "" where it has a path."""


@dataclass(frozen=True)
class Columns:
    """Where a table's fields are."""

    path: int | None
    """Of the paths; None where there are pixels."""
    label: int
    """Of the labels."""
    part: int | None
    """Of the parts, where it has them."""
    pixels: int | None
    """Of the pixels; None where there are paths."""
    count: int
    """Fields of a row."""
    delimiter: str | None
    """Between fields; None for blanks, the label last."""
    header: bool
    """Whether the first line is one."""
    names: tuple[str, ...] = ()
    """Of the columns that are used, for what is printed."""
    first: int = 1
    """The number of the first line; those before it are blank, or say Excel's separator."""


def first_line(stream: IO[bytes]) -> tuple[int, bytes]:
    """The first line that is neither blank nor Excel's `sep=;`, with its number."""
    for number in range(1, _MAX_BEFORE + 1):
        line = stream.readline(MAX_LINE)
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not line or (text and not _SEPARATOR.fullmatch(text)):
            return number, line
    return _MAX_BEFORE, b""


def columns_of(
    line: bytes, where: str, asked: Sequence[str] = (), *, number: int = 1
) -> Columns | None:
    """The columns of a table by its first line; None where it is none.

    Args:
        line: the first one, of `first_line`.
        where: of the message.
        asked: names of the columns of paths, labels and, perhaps, parts.
        number: of the line.

    Raises:
        InvalidInput: an asked column is not there.
        DataError: the line is no text.
    """
    columns = _columns_of(_decoded(line, where), where, asked)
    return columns and replace(columns, first=number)


def _columns_of(text: str, where: str, asked: Sequence[str]) -> Columns | None:
    delimiter = next((mark for mark in _DELIMITERS if mark in text), None)
    if delimiter is None:
        return _blanks(text, asked, where)
    fields = _fields(text, delimiter, where)
    plain = [_plain(field) for field in fields]
    if asked:
        places = [_asked(name, fields, where) for name in asked]
        is_pixels = plain[places[0]] in _PIXELS
        path, pixels = (None, places[0]) if is_pixels else (places[0], None)
        part = places[2] if len(places) > 2 else None
        return Columns(path, places[1], part, pixels, len(fields), delimiter, True, tuple(asked))
    label, part, pixels = (_first(names, plain) for names in (_LABELS, _PARTS, _PIXELS))
    path = _first(_PATHS, plain) if pixels is None else None
    if label is not None and (path is not None or pixels is not None):
        used = [place for place in (path, pixels, label, part) if place is not None]
        names = tuple(fields[place] for place in used)
        return Columns(path, label, part, pixels, len(fields), delimiter, True, names)
    pictures = [PurePosixPath(field).suffix.lower() in COMMON_SUFFIXES for field in fields]
    if len(fields) == 2 and sum(pictures) == 1:
        first = pictures.index(True)
        return Columns(first, 1 - first, None, None, 2, delimiter, False)
    return None


def _blanks(text: str, asked: Sequence[str], where: str) -> Columns | None:
    """Of a list such as `train_00001.jpg 5`."""
    fields = text.rsplit(None, 1)
    if asked:
        raise InvalidInput(
            f"{where}: has no columns, so leave --columns out; each of its lines is a path and a "
            "label"
        )
    if len(fields) == 2 and PurePosixPath(fields[0]).suffix.lower() in COMMON_SUFFIXES:
        return Columns(0, 1, None, None, 2, None, False)
    return None


def rows(stream: IO[bytes], where: str, columns: Columns) -> Iterator[Row]:
    """The pictures of a table, at whose start the stream is.

    Raises:
        DataError: more rows than MAX_ROWS, which is said before the first one; or a row of another
            number of fields, too long, or without label or path: the message names its line.
    """
    if has_more_lines(stream, MAX_ROWS + 1):  # the header may be one
        raise DataError(
            f"{where}: expected at most {MAX_ROWS:,} rows, received more; split the table"
        )
    for number, line in enumerate(_lines(stream, where), start=1):
        if number < columns.first + columns.header:
            continue
        at = f"{where}: line {number}"
        text = _decoded(line, at)
        if not text.strip():
            continue
        if columns.delimiter is None:
            fields = text.rsplit(None, 1)
        else:
            fields = _fields(text, columns.delimiter, at)
        if len(fields) != columns.count:
            raise DataError(
                f"{at}: expected {columns.count} fields, received {len(fields)}; correct the line"
            )
        yield _row(fields, columns, number, at)


def _row(fields: list[str], columns: Columns, number: int, at: str) -> Row:
    path, pixels, part = (
        "" if place is None else fields[place].strip()
        for place in (columns.path, columns.pixels, columns.part)
    )
    word = fields[columns.label].strip()
    # Spreadsheets and pandas write whole numbers so where a label is missing elsewhere.
    word = word[:-2] if re.fullmatch(r"\d{1,3}\.0", word) else word
    if not word or not (path or pixels):
        missing = "label" if not word else "path" if columns.pixels is None else "pixels"
        raise DataError(f"{at}: expected a {missing}, received none; correct or remove the line")
    return Row(number, path, word, SPLIT_WORDS.get(plain_word(part)), pixels)


def _lines(stream: IO[bytes], where: str) -> Iterator[bytes]:
    """Lines of at most MAX_LINE bytes."""
    for number in count(1):
        line = stream.readline(MAX_LINE + 1)
        if not line:
            return
        if len(line) > MAX_LINE:
            raise DataError(
                f"{where}: line {number}: expected at most {MAX_LINE:,} bytes, received more; is "
                "it a table of pictures?"
            )
        yield line


def _decoded(line: bytes, where: str) -> str:
    try:
        if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
            raise ValueError("it is UTF-16")
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except ValueError as error:
        raise DataError(
            f"{where}: expected text in UTF-8 ({printable(str(error))[:80]}); save the table as "
            "CSV in UTF-8"
        ) from None
    return text


def _fields(text: str, delimiter: str, where: str) -> list[str]:
    try:
        reader = csv.reader([text], delimiter=delimiter, strict=True, skipinitialspace=True)
        (fields,) = reader if text else [[]]
    except (csv.Error, ValueError) as error:
        raise DataError(
            f"{where}: expected a row of a table on one line ({printable(str(error))[:80]}); "
            "correct it"
        ) from None
    if len(fields) > MAX_FIELDS:
        raise DataError(
            f"{where}: expected at most {MAX_FIELDS} fields, received {len(fields):,}; is it a "
            "table of pictures?"
        )
    return [field.strip() for field in fields]


def _plain(field: str) -> str:
    """A column's name in lower case, letters and digits alone, without accents."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKD", field.casefold()))


def _first(names: Sequence[str], plain: Sequence[str]) -> int | None:
    return next((plain.index(name) for name in names if name in plain), None)


def _asked(name: str, fields: Sequence[str], where: str) -> int:
    plain = [field.casefold() for field in fields]
    if plain.count(name.strip().casefold()) != 1:
        raise InvalidInput(
            f"{where}: expected a column {printable(name)[:60]!r} for --columns, the table has "
            f"{printable(', '.join(fields))[:200]}; name one of them"
        )
    return plain.index(name.strip().casefold())
