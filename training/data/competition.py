"""FER-2013 as its competition published it (Kaggle 2013, Goodfellow et al.): a table with a picture
in each row, alone or packed, read row by row as if it were hostile.
"""

import csv
import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.reading import open_regular
from edgeemo.contract.checked.text import printable
from edgeemo.contract.labels import FER2013_CODES
from edgeemo.data.file_store import MAX_FILES
from edgeemo.errors import ArchiveError, DataError, EdgeemoError, MissingFile
from training.data.line_count import MAX_LINE, has_more_lines
from training.data.metered import MAX_HEADERS, Metered

NAMES = ("fer2013.csv", "icml_face_data.csv")
PACKED = ("fer2013.tar.gz", "fer2013.tgz", "fer2013.tar")
USAGES = ("Training", "PublicTest", "PrivateTest")
SIDE = 48  # pixels
MAX_ROWS = 200_000
MAX_MEMBERS = 1_000
MAX_SKIPPED = 4 * 1024**3  # bytes of members before the table
_COLUMNS = ("emotion", "pixels", "usage")
_NUMBERS = {
    form: value for value in range(256) for form in (f"{value}", f"{value:02}", f"{value:03}")
}
_DAMAGED = (
    OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError,
    NotImplementedError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A picture of the table."""

    number: int
    """From 1 on, the header not counted."""
    path: str
    """Its place as if it were a file: `fer2013.csv/test/PublicTest#28710`."""
    label: str
    """One of FER2013_CODES."""
    usage: str
    """One of USAGES."""
    pixels: NDArray[np.uint8]
    """uint8 (48, 48), grey."""

    @property
    def held_out(self) -> bool:
        """Whether it is of one of the two test parts."""
        return self.usage != "Training"


@dataclass(frozen=True)
class Table:
    """Where the competition's table lies."""

    path: Path
    """A CSV file, a tar or zip archive, or a folder."""
    member: str | None = None
    """Inside the zip archive or folder, a CSV file or a tar archive."""

    @property
    def name(self) -> str:
        """Of its file, for the pictures' paths."""
        name = PurePosixPath(self.member or self.path.name).name
        return name if name.lower().endswith(".csv") else NAMES[0]

    def rows(self) -> Iterator[Row]:
        """Its pictures, one at a time.

        Raises:
            ArchiveError: the archive is damaged, or holds no such table.
            DataError: a row that is none of this table; the message names it.
        """
        with self._opened() as stream:
            for number, (label, usage, pixels) in enumerate(_rows(stream, str(self.path)), start=1):
                part = "train" if usage == "Training" else "test"
                path = f"{self.name}/{part}/{usage}#{number}"
                yield Row(number, path, label, usage, pixels)

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        try:
            with ExitStack() as stack:
                file: IO[bytes]
                if self.member is None or self.path.is_dir():
                    file = stack.enter_context(open_regular(self.path / (self.member or "")))
                else:
                    archive = stack.enter_context(zipfile.ZipFile(self.path))
                    file = stack.enter_context(archive.open(self.member))
                yield _unpacked(file, str(self.path), stack)
        except EdgeemoError:
            raise
        except _DAMAGED as error:
            raise ArchiveError(
                f"{self.path}: cannot be read as FER-2013's table "
                f"({printable(str(error))[:200]}); get it again"
            ) from None


def find_table(
    path: str | os.PathLike[str], fits: Callable[[str], bool] = lambda _: False
) -> Table | None:
    """The competition's table that `path` is or holds; None for what else it may be.

    A file that is no zip archive is taken for the table or a tar archive of it; in a folder or a
    zip archive it goes by its name, a plain CSV file before a packed one. Where the folder or zip
    archive holds a picture whose path `fits` the set's layout, it is read as pictures: None.

    Raises:
        MissingFile: nothing at `path`.
    """
    place = Path(path)
    if place.is_file() and not zipfile.is_zipfile(place):
        return Table(place) if _looks_like_one(place) else None
    candidates: dict[str, list[str]] = {name: [] for name in (*NAMES, *PACKED)}
    for name in _names(place):
        if fits(name):
            return None
        candidates.get(PurePosixPath(name).name.lower(), []).append(name)
    for names in filter(None, candidates.values()):
        return Table(place, min(names, key=lambda name: (name.count("/"), name)))
    return None


def _names(place: Path) -> Iterator[str]:
    """Files of a folder or zip archive."""
    if place.is_dir():
        files = ((root, name) for root, _, names in os.walk(place) for name in names)
        for root, name in islice(files, MAX_FILES):
            yield Path(root, name).relative_to(place).as_posix()
    elif place.is_file():
        try:
            with zipfile.ZipFile(place) as archive:
                yield from archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return  # said by who reads it as pictures
    else:
        raise MissingFile(f"{place}: no such folder or archive; check the path")


def _looks_like_one(path: Path) -> bool:
    with open_regular(path) as file:
        start = file.read(1024)
    if start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar":
        return True
    return path.suffix.lower() == ".csv" or b"emotion" in start.split(b"\n")[0]


def _unpacked(file: IO[bytes], path: str, stack: ExitStack) -> IO[bytes]:
    """The table inside a tar archive, packed or not, or `file` itself."""
    start = file.read(512)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        file = cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
        start = file.read(512)
        file.seek(0)
    if start[257:262] == b"ustar":
        return _member(file, path, stack)
    if has_more_lines(file, MAX_ROWS + 1):  # with the header
        raise _too_long(path)
    return file


def _too_long(path: str) -> DataError:
    return DataError(f"{path}: expected at most {MAX_ROWS:,} rows, received more")


def _member(stream: IO[bytes], path: str, stack: ExitStack) -> IO[bytes]:
    """The table's file inside a tar archive, of which nothing is written to the disk."""
    metered = Metered(stream)
    metered.granted = MAX_HEADERS
    opened = tarfile.open(fileobj=cast(Any, metered), mode="r|")  # noqa: SIM115 - on the stack
    archive = stack.enter_context(opened)
    skipped = 0
    for _ in range(MAX_MEMBERS):
        member = archive.next()
        if member is None:
            break
        is_table = PurePosixPath(member.name).name.lower() in NAMES
        if is_table and member.isreg() and not member.issparse():
            metered.granted += member.size
            return cast(IO[bytes], archive.extractfile(member))
        skipped += member.size
        if skipped > MAX_SKIPPED:
            raise tarfile.ReadError(f"more than {MAX_SKIPPED:,} bytes before the table")
        metered.granted = MAX_HEADERS + member.size
    raise ArchiveError(
        f"{path}: expected {' or '.join(NAMES)} in the archive, received one without; get "
        "fer2013.tar.gz again"
    )


def _rows(stream: IO[bytes], path: str) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Label, usage and pixels uint8 (48, 48) of each row."""
    lines = _lines(stream, path)
    header = [name.lower() for name in _fields(next(lines, b""), f"{path}: header")]
    if sorted(header) != sorted(_COLUMNS):
        raise DataError(
            f"{path}: expected the columns emotion, pixels and Usage, received "
            f"{printable(', '.join(header))[:120]!r}; give fer2013.csv or icml_face_data.csv "
            "(train.csv and test.csv are parts of it)"
        )
    places = [header.index(column) for column in _COLUMNS]
    number = 0
    for line in lines:
        if line.strip():
            number += 1
            fields = _fields(line, f"{path}: row {number}")
            if len(fields) != len(_COLUMNS):
                raise DataError(
                    f"{path}: row {number}: expected {len(_COLUMNS)} columns, received "
                    f"{len(fields)}; get the file again"
                )
            emotion, pixels, usage = (fields[place] for place in places)
            yield _row(emotion, pixels, usage, f"{path}: row {number}")
    if not number:
        raise DataError(f"{path}: expected a row for each picture, received the header alone")


def _lines(stream: IO[bytes], path: str) -> Iterator[bytes]:
    """Lines of at most MAX_LINE bytes, MAX_ROWS at most after the header."""
    for number in range(MAX_ROWS + 1):
        line = stream.readline(MAX_LINE + 1)
        if not line:
            return
        if len(line) > MAX_LINE:
            raise DataError(
                f"{path}: line {number + 1}: expected at most {MAX_LINE:,} bytes, received more; "
                "is it FER-2013's table?"
            )
        yield line
    if stream.readline(1):
        raise _too_long(path)


def _fields(line: bytes, where: str) -> list[str]:
    """A line's fields without outer blanks."""
    try:
        rows = list(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: not a line of a CSV file ({error}); get it again") from None
    return [field.strip() for field in rows[0]] if rows else []


def _row(emotion: str, pixels: str, usage: str, where: str) -> tuple[str, str, NDArray[np.uint8]]:
    if usage not in USAGES:
        raise DataError(
            f"{where}: expected a Usage of {', '.join(USAGES)}, received {usage[:40]!a}; get the "
            "file again"
        )
    if emotion not in map(str, range(len(FER2013_CODES))):
        raise DataError(
            f"{where}: expected an emotion of 0 to {len(FER2013_CODES) - 1}, received "
            f"{emotion[:40]!a}; get the file again"
        )
    return FER2013_CODES[int(emotion)], usage, parse_pixels(pixels, where)


def parse_pixels(text: str, where: str) -> NDArray[np.uint8]:
    """A picture uint8 (48, 48) of its 2,304 numbers with blanks between them.

    Raises:
        DataError: other numbers; the message begins with `where`.
    """
    words = text.split()
    if len(words) != SIDE * SIDE:
        raise DataError(
            f"{where}: expected {SIDE * SIDE:,} pixels, received {len(words):,}; get the file again"
        )
    try:
        values = bytes([_NUMBERS[word] for word in words])
    except KeyError as error:
        raise DataError(
            f"{where}: expected pixels of 0 to 255, received {error.args[0][:40]!a}; get the file "
            "again"
        ) from None
    return np.frombuffer(values, np.uint8).reshape(SIDE, SIDE)
