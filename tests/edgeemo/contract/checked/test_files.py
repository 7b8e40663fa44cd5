"""Writing beside and renaming: whatever happens, the old content or the new one is there, and
nothing else.
"""

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgeemo.contract.checked.files import folder_written_beside, written_beside
from edgeemo.errors import EdgeemoError, MissingFile, StorageError

MARKER = "made-by-us.json"


def folder_beside(path: Path) -> AbstractContextManager[Path]:
    return folder_written_beside(path, marker=MARKER)


def fill_file(part: Path, text: str) -> None:
    part.write_text(text)


def fill_folder(part: Path, text: str) -> None:
    (part / MARKER).write_text(text)
    (part / "sub").mkdir()
    (part / "sub" / "data").write_text(text * 2)


Writer = tuple[Callable[[Path], AbstractContextManager[Path]], Callable[[Path, str], None]]
BOTH = pytest.mark.parametrize(
    "writer", [(written_beside, fill_file), (folder_beside, fill_folder)], ids=["file", "folder"]
)


def content(path: Path) -> dict[str, str]:
    """Every file below `path` (or `path` itself) by its relative name."""
    if path.is_file():
        return {"": path.read_text()}
    return {
        str(file.relative_to(path)): file.read_text()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def write(writer: Writer, target: Path, text: str) -> None:
    beside, fill = writer
    with beside(target) as part:
        fill(part, text)


@BOTH
def test_what_is_written_stands_at_the_target_and_nothing_else_beside_it(
    writer: Writer, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    beside, fill = writer
    with beside(target) as part:
        assert part.parent == tmp_path
        assert part != target
        fill(part, "new")
        assert not target.exists()
    assert content(target) == (
        {"": "new"} if target.is_file() else {MARKER: "new", "sub/data": "newnew"}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@BOTH
def test_a_second_write_replaces_the_first_whole(writer: Writer, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(writer, target, "old")
    if target.is_dir():
        (target / "left over").write_text("of the first")
    write(writer, target, "new")
    assert content(target) == (
        {"": "new"} if target.is_file() else {MARKER: "new", "sub/data": "newnew"}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@BOTH
def test_missing_parent_folders_are_made(writer: Writer, tmp_path: Path) -> None:
    write(writer, tmp_path / "a" / "b" / "out", "new")
    assert (tmp_path / "a" / "b" / "out").exists()


@BOTH
@pytest.mark.parametrize(
    "fault",
    [ValueError("no"), KeyboardInterrupt(), SystemExit(3), MissingFile("gone"), MemoryError()],
)
@pytest.mark.parametrize("existed", [True, False], ids=["over an old one", "where nothing was"])
def test_an_exception_leaves_the_old_content_and_no_part(
    writer: Writer, fault: BaseException, existed: bool, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    if existed:
        write(writer, target, "old")
    before = content(target) if existed else None
    beside, fill = writer
    with pytest.raises(type(fault)) as caught, beside(target) as part:
        fill(part, "new")
        raise fault
    assert caught.value is fault
    assert (content(target) if target.exists() else None) == before
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if existed else [])


@pytest.fixture
def ctrl_c_works() -> Iterator[None]:
    """Python's own handler of SIGINT, which a shell's background job does not get."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@BOTH
def test_an_interrupt_by_signal_leaves_the_old_content_and_no_part(
    writer: Writer, tmp_path: Path, ctrl_c_works: None
) -> None:
    target = tmp_path / "out"
    write(writer, target, "old")
    before = content(target)
    beside, fill = writer
    with pytest.raises(KeyboardInterrupt), beside(target) as part:
        fill(part, "half")
        os.kill(os.getpid(), 2)
        fill(part, "never")
    assert content(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@BOTH
def test_a_part_that_vanished_leaves_the_old_content(writer: Writer, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "dir" / "out", tmp_path / "elsewhere"
    write(writer, target, "old")
    before = content(target)
    beside, fill = writer
    with pytest.raises(StorageError), beside(target) as part:
        fill(part, "new")
        part.rename(elsewhere)
    assert content(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["out"]


@BOTH
def test_new_files_and_folders_get_the_rights_that_the_umask_leaves(
    writer: Writer, tmp_path: Path
) -> None:
    old = os.umask(0o027)
    try:
        write(writer, tmp_path / "out", "new")
        assert os.umask(0o027) == 0o027, "the umask itself is put back"
    finally:
        os.umask(old)
    rights = stat.S_IMODE((tmp_path / "out").stat().st_mode)
    assert rights == (0o640 if (tmp_path / "out").is_file() else 0o750)


def test_a_file_is_not_put_over_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(
        StorageError, match=r"out: cannot be written \(is a folder\); choose another --out"
    ):
        write((written_beside, fill_file), tmp_path / "out", "new")
    assert content(tmp_path) == {}


def test_a_folder_is_not_put_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(
        StorageError,
        match="out: expected a folder or nothing there, received a file; choose another --out",
    ):
        write((folder_beside, fill_folder), tmp_path / "out", "new")
    assert content(tmp_path) == {"out": "mine"}


def test_a_folder_of_somebody_else_s_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(
        StorageError,
        match=rf"holds files but no {MARKER}, so it is not replaced; choose another --out",
    ):
        write((folder_beside, fill_folder), tmp_path / "out", "new")
    assert content(tmp_path) == {"out/thesis.tex": "mine"}


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write((folder_beside, fill_folder), tmp_path / "out", "new")
    assert content(tmp_path / "out") == {MARKER: "new", "sub/data": "newnew"}


def test_a_marker_that_is_a_folder_is_no_marker(tmp_path: Path) -> None:
    (tmp_path / "out" / MARKER).mkdir(parents=True)
    with pytest.raises(StorageError, match="is not replaced"):
        write((folder_beside, fill_folder), tmp_path / "out", "new")


def test_a_folder_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    write((folder_beside, fill_folder), real, "old")
    link.symlink_to(real)
    write((folder_beside, fill_folder), link, "new")
    assert link.is_symlink()
    assert content(real) == {MARKER: "new", "sub/data": "newnew"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
    assert [path.name for path in real.parent.iterdir()] == ["real"]


@BOTH
@pytest.mark.parametrize("inside", ["out", "deep/er/out"])
def test_a_parent_that_is_a_file_is_a_storage_error(
    writer: Writer, inside: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot be written .*choose another --out"):
        write(writer, tmp_path / "file" / inside, "new")
    assert content(tmp_path) == {"file": "mine"}


@BOTH
@pytest.mark.parametrize("folder", ["/proc", "/sys"])
def test_a_place_where_nobody_can_write_is_a_storage_error_with_a_way_out(
    writer: Writer, folder: str
) -> None:
    # Real refusals of the kernel, to root too: ENOENT, EACCES or EPERM.
    if not Path(folder).is_dir():
        pytest.skip(f"needs {folder}, which only Linux has")
    for target in (Path(folder, "edgeemo-out"), Path(folder, "edgeemo-new", "out")):
        with pytest.raises(StorageError, match="cannot be written") as caught:
            write(writer, target, "new")
        assert str(caught.value).startswith(f"{target}: ")
        assert "; choose an" in str(caught.value)
        assert isinstance(caught.value.__cause__, OSError)


def mount(folder: Path, options: str) -> None:
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"needs the right to mount a tmpfs ({done.stderr.decode().strip()})")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=64k")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@BOTH
def test_a_full_disk_is_a_storage_error_and_the_old_content_stays(
    writer: Writer, small_disk: Path
) -> None:
    target = small_disk / "out"
    write(writer, target, "old")
    before = content(target)
    with pytest.raises(StorageError, match="free some space or choose another --out") as caught:
        write(writer, target, "x" * 200_000)
    assert str(caught.value).startswith(f"{target}: cannot be written (No space left on device)")
    assert content(target) == before
    assert [path.name for path in small_disk.iterdir()] == ["out"]


@BOTH
def test_a_read_only_disk_is_a_storage_error_and_the_old_content_stays(
    writer: Writer, small_disk: Path
) -> None:
    target = small_disk / "out"
    write(writer, target, "old")
    before = content(target)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for path in (target, small_disk / "new" / "out"):
        with pytest.raises(
            StorageError,
            match=r"Read-only file system\); choose an --out on a writable file system",
        ):
            write(writer, path, "new")
    assert content(target) == before
    assert [path.name for path in small_disk.iterdir()] == ["out"]


@BOTH
def test_a_target_that_cannot_be_moved_away_is_a_storage_error(
    writer: Writer, small_disk: Path
) -> None:
    # A mount point is a folder that rename() refuses to touch.
    with pytest.raises(StorageError, match="cannot be written"):
        write(writer, small_disk, "new")
    assert content(small_disk) == {}
    assert [path.name for path in small_disk.parent.iterdir()] == ["disk"]


def test_a_device_that_is_always_full_is_a_storage_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    with (
        pytest.raises(StorageError, match="No space left on device"),
        written_beside(tmp_path / "out") as part,
    ):
        part.write_text("half")
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_storage_error_is_an_os_error_of_edgeemo() -> None:
    assert issubclass(StorageError, EdgeemoError)
    assert issubclass(StorageError, OSError)


def test_numpys_word_for_a_full_disk_which_has_no_errno_names_the_way_out(tmp_path: Path) -> None:
    complaint = r"cannot be written \(10 requested and 5 written\); free some space"
    with pytest.raises(StorageError, match=complaint), written_beside(tmp_path / "x"):
        raise OSError("10 requested and 5 written")
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_umask_is_never_set_because_it_is_every_threads(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("set"))
    beside, fill = writer
    with beside(tmp_path / "new") as part:
        fill(part, "text")
    assert (tmp_path / "new").exists()
