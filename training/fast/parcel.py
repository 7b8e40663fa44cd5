"""What comes back from another machine: results, logs and weights in a few limited files."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.errors import MissingFile

CHECKPOINT = "state.npz"
"""Of an unfinished network; it does not travel."""
_NAME = "family.tar."
_KEPT = {".h5", ".npz", ".json", ".csv", ".md", ".log"}


def pack_results(out: Path, parcel: Path, part_bytes: int, parts: int) -> list[str]:
    """Write the results in `out` as a tar in at most `parts` files of `part_bytes`; returns what
    had to stay.

    What matters most comes first: tables and logs, students in simulated int8, in float, then
    teachers.
    """
    room, chosen, left = part_bytes * parts - 20_480, [], []
    for path in sorted(_results(out), key=lambda path: _rank(path.relative_to(out))):
        size = 1_536 + path.stat().st_size
        if size <= room:
            chosen.append(path)
            room -= size
        else:
            left.append(str(path.relative_to(out)))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path in chosen:
            tar.add(path, str(path.relative_to(out)))
    whole = stream.getvalue()
    make_folder(parcel)
    for number, start in enumerate(range(0, len(whole), part_bytes)):
        with written_beside(parcel / f"{_NAME}{number}") as part:
            part.write_bytes(whole[start : start + part_bytes])
    return left


def unpack_results(parcel: Path, out: Path) -> int:
    """Unpack what `pack_results` wrote into `out`; returns the number of files.

    Raises:
        MissingFile: no such files there.
    """
    parts = sorted(parcel.glob(f"{_NAME}*"), key=lambda path: int(path.name.removeprefix(_NAME)))
    if not parts:
        raise MissingFile(f"{parcel}: expected the files {_NAME}0 and so on, found none")
    whole = b"".join(part.read_bytes() for part in parts)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        tar.extractall(out, filter="data")
        return len(tar.getnames())


def _results(out: Path) -> Iterable[Path]:
    return (
        path
        for path in out.rglob("*")
        if path.is_file() and path.suffix in _KEPT and path.name != CHECKPOINT
    )


def _rank(path: Path) -> tuple[int, str]:
    folder = path.parts[0]
    if len(path.parts) == 1 or (path.suffix != ".h5" and path.name != "heads.npz"):
        return 0, str(path)
    kind = 3 if folder.startswith("teacher") else 2 if folder.endswith("-float") else 1
    return kind, str(path)
