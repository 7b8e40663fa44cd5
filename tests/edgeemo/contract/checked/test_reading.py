"""Files of others: regular ones, bounded, and nothing else is waited for."""

import os
import socket
from pathlib import Path

import pytest

from edgeemo.cli.main import main
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.checked.reading import open_regular, read_regular
from edgeemo.data.pictures import read_picture
from edgeemo.errors import BundleError, PictureError
from tests.support import done_here

FILES = {"fifo": "a FIFO", "socket": "a socket", "device": "a device"}


def special(kind: str, folder: Path) -> Path:
    """A file of that kind, which a plain read would wait for, fail on or read without end."""
    path = folder / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize(("kind", "words"), FILES.items())
def test_no_regular_file_is_refused_before_it_is_opened(
    kind: str, words: str, tmp_path: Path
) -> None:
    path = special(kind, tmp_path)
    with pytest.raises(OSError, match=f"{words}, expected a regular file"):
        open_regular(path)
    with pytest.raises(PictureError, match=f"{words}, expected a regular file"):
        read_picture(path)
    with pytest.raises(BundleError, match=f"{words}, expected a regular file"):
        read_bundle(path)


@pytest.mark.parametrize(
    "words",
    [("predict", "{}"), ("info", "{}"), ("evaluate", "nano", "{}"), ("watch", "{}"),
     ("bench", "--beside", "{}"), ("flash", "{}", "--port", "none", "--dry-run")],
    ids=lambda words: words[0],
)  # fmt: skip
@pytest.mark.parametrize("kind", FILES)
def test_verbs_refuse_it_in_one_line(kind: str, words: tuple[str, ...], tmp_path: Path) -> None:
    path = special(kind, tmp_path)
    done = done_here(main, "edgeemo", *(word.format(path) for word in words))
    assert done.returncode == 1
    assert done.stderr.startswith(f"edgeemo: {path}")
    assert done.stderr.count("\n") == 1


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "four").write_bytes(b"abcd")
    (tmp_path / "link").symlink_to(tmp_path / "four")
    assert read_regular(tmp_path / "link", 4) == b"abcd"
    with pytest.raises(ValueError, match="^4 bytes, expected at most 3$"):
        read_regular(tmp_path / "four", 3)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path, 3)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 3)


def test_a_file_that_tells_no_size_is_bounded_too() -> None:
    with pytest.raises(ValueError, match="^11 bytes, expected at most 10$"):
        read_regular("/proc/self/maps", 10)
