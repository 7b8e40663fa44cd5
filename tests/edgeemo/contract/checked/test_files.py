"""Writing beside and renaming: whatever happens, the old content or the new one is there, and
nothing else.
"""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.folders import OURS, folder_written_beside
from edgeemo.errors import EdgeemoError, MissingFile, StorageError
from tests import support

MARKER = "index.txt"


def fill_file(part: Path, text: str) -> None:
    part.write_text(text)


def fill_folder(part: Path, text: str) -> None:
    (part / MARKER).write_text(text)
    (part / "sub").mkdir()
    (part / "sub" / "data").write_text(text * 2)


Writer = tuple[Callable[[Path], AbstractContextManager[Path]], Callable[[Path, str], None]]
BOTH = pytest.mark.parametrize(
    "writer",
    [(written_beside, fill_file), (folder_written_beside, fill_folder)],
    ids=["file", "folder"],
)


def content(path: Path) -> dict[str, str]:
    """Every file below `path` (or `path` itself) by its relative name."""
    if path.is_file():
        return {"": path.read_text()}
    return {
        str(file.relative_to(path)): file.read_text()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != OURS
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
    write(writer, target, "new")
    assert content(target) == (
        {"": "new"} if target.is_file() else {MARKER: "new", "sub/data": "newnew"}
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    write((folder_written_beside, fill_folder), tmp_path / "a" / "b" / "out", "new")
    assert content(tmp_path / "a" / "b" / "out") == {MARKER: "new", "sub/data": "newnew"}


def test_a_file_in_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    missing = tmp_path / "a"
    with pytest.raises(StorageError, match=rf"there is no folder {missing}\); make it or choose"):
        write((written_beside, fill_file), missing / "b" / "out", "new")
    assert list(tmp_path.iterdir()) == []


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
    target.parent.mkdir()
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
        write((folder_written_beside, fill_folder), tmp_path / "out", "new")
    assert content(tmp_path) == {"out": "mine"}


def test_a_folder_of_somebody_else_s_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(
        StorageError,
        match=rf"holds files but no {OURS}, the list of those that edgeemo wrote, so it is not",
    ):
        write((folder_written_beside, fill_folder), tmp_path / "out", "new")
    assert content(tmp_path) == {"out/thesis.tex": "mine"}


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write((folder_written_beside, fill_folder), tmp_path / "out", "new")
    assert content(tmp_path / "out") == {MARKER: "new", "sub/data": "newnew"}


def test_a_list_that_is_a_folder_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "out" / OURS).mkdir(parents=True)
    with pytest.raises(StorageError, match="is not replaced"):
        write((folder_written_beside, fill_folder), tmp_path / "out", "new")


def test_a_folder_behind_a_link_is_replaced_where_it_lies(tmp_path: Path) -> None:
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    write((folder_written_beside, fill_folder), real, "old")
    link.symlink_to(real)
    write((folder_written_beside, fill_folder), link, "new")
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
    inside = [Path(folder, "edgeemo-new", "out")] if writer[0] is folder_written_beside else []
    for target in (Path(folder, "edgeemo-out"), *inside):
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
    inside = [small_disk / "new" / "out"] if writer[0] is folder_written_beside else []
    for path in (target, *inside):
        with pytest.raises(
            StorageError,
            match=r"Read-only file system\); choose an --out on a writable file system",
        ):
            write(writer, path, "new")
    assert content(target) == before
    assert [path.name for path in small_disk.iterdir()] == ["out"]


def test_a_mount_point_which_rename_refuses_to_touch_is_filled_in_place(small_disk: Path) -> None:
    for text in ("old", "new"):
        write((folder_written_beside, fill_folder), small_disk, text)
        assert content(small_disk) == {MARKER: text, "sub/data": text * 2}
    assert [path.name for path in small_disk.parent.iterdir()] == ["disk"]
    assert sorted(path.name for path in small_disk.iterdir()) == [OURS, MARKER, "sub"]


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


def test_files_of_a_person_stay_when_a_generated_folder_is_updated(tmp_path: Path) -> None:
    out = tmp_path / "src"
    write((folder_written_beside, fill_folder), out, "old")
    (out / "main.c").write_text("mine")
    (out / "sub" / "notes").write_text("mine too")
    (out / "here").symlink_to(tmp_path)
    inode = out.stat().st_ino
    with folder_written_beside(out) as part:
        (part / MARKER).write_text("new")
    assert out.stat().st_ino == inode
    assert (out / "here").is_symlink()
    (out / "here").unlink()
    assert content(out) == {MARKER: "new", "main.c": "mine", "sub/notes": "mine too"}
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize("alone", [True, False], ids=["of ours alone", "with others"])
def test_a_file_of_ours_that_a_person_has_changed_is_not_replaced(
    alone: bool, tmp_path: Path
) -> None:
    out = tmp_path / "src"
    write((folder_written_beside, fill_folder), out, "old")
    (out / MARKER).write_text("my improvement")
    if not alone:
        (out / "main.c").write_text("mine")
    before = content(out)
    with pytest.raises(StorageError, match=rf"{MARKER} is not as edgeemo wrote it, so it is not"):
        write((folder_written_beside, fill_folder), out, "new")
    assert content(out) == before


def test_a_file_of_a_person_is_not_replaced_by_a_new_one_of_ours(tmp_path: Path) -> None:
    out = tmp_path / "src"
    write((folder_written_beside, fill_folder), out, "old")
    (out / "new.c").write_text("mine")
    before = content(out)
    with (
        pytest.raises(StorageError, match=r"new\.c is not as edgeemo wrote it"),
        folder_written_beside(out) as part,
    ):
        (part / "new.c").write_text("ours")
    assert content(out) == before


def test_what_a_person_puts_into_the_folder_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "src"
    write((folder_written_beside, fill_folder), out, "old")
    with folder_written_beside(out) as part:
        fill_folder(part, "new")
        (out / "main.c").write_text("mine")
    assert content(out) == {MARKER: "new", "sub/data": "newnew", "main.c": "mine"}


def test_a_list_that_leads_outside_is_refused_and_nothing_there_is_touched(tmp_path: Path) -> None:
    out = tmp_path / "src"
    write((folder_written_beside, fill_folder), out, "old")
    (tmp_path / "victim").write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (out / OURS).write_text(f'{{"../victim": ["{empty}"]}}')
    with pytest.raises(StorageError, match="is damaged"):
        write((folder_written_beside, fill_folder), out, "new")
    assert (tmp_path / "victim").exists()


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real", tmp_path / "link"
    link.symlink_to(real)
    for text in ("first", "second"):
        write((written_beside, fill_file), link, text)
        assert (link.is_symlink(), real.read_text()) == (True, text)
    assert [path.name for path in real.parent.iterdir()] == ["real"]


def test_a_pipe_and_a_device_are_written_through_and_stay(tmp_path: Path) -> None:
    pipe, null = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write((written_beside, fill_file), pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    null.symlink_to(os.devnull)
    write((written_beside, fill_file), null, "nowhere")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["null", "pipe"]


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(StorageError, match="received a socket or a disk"):
            write((written_beside, fill_file), tmp_path / "s", "new")
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)


KILLED = """
import os, signal
from pathlib import Path
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.folders import folder_written_beside
with written_beside(Path({out!r})), folder_written_beside(Path({out!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@BOTH
def test_parts_of_killed_processes_are_swept_and_those_of_living_ones_stay(
    writer: Writer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED.format(out=str(out))])
    killed = set(tmp_path.iterdir())
    assert len(killed) == 2
    with written_beside(tmp_path / "other"):
        assert killed < set(tmp_path.iterdir())  # another target's sweep leaves them
    (tmp_path / "other").unlink()
    with writer[0](out) as living:
        assert set(tmp_path.iterdir()) == {living}
        with writer[0](out) as second:
            assert set(tmp_path.iterdir()) == {living, second}
            writer[1](second, "second")
        writer[1](living, "first")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_parts_of_another_machine_are_left_for_a_week(tmp_path: Path) -> None:
    part = tmp_path / ".part-00000000-1-a-1-00000000-out"
    part.touch()
    make_folder(tmp_path)
    assert part.exists()
    os.utime(part, (0, time.time() - 8 * 24 * 3600))
    make_folder(tmp_path)
    assert not part.exists()


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (Debian package)")
@BOTH
def test_files_and_their_folders_are_on_the_disk_before_and_after_they_become_final(
    writer: Writer, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.edgeemo.contract.checked.test_files "
        f"import *; write(({writer[0].__name__}, {writer[1].__name__}), Path(sys.argv[1]), 'new')"
    )
    log = tmp_path / "calls"
    out = tmp_path / "folder" / "out"
    out.parent.mkdir()
    traced = ["strace", "-f", "-y", "-e", "trace=fsync,rename,renameat,renameat2", "-o", log]
    subprocess.run([*traced, sys.executable, "-c", code, out], check=True, cwd=support.REPOSITORY)
    calls = [line.partition(" ")[2].strip() for line in log.read_text().splitlines()]
    calls = [call for call in calls if str(out.parent) in call]
    (final,) = [i for i, call in enumerate(calls) if call.startswith("rename")]
    before = [call for call in calls[:final] if call.startswith("fsync")]
    files = {"file": ("",), "folder": (MARKER, "sub/data", OURS, "sub", "")}
    expected = files["file" if writer[0] is written_beside else "folder"]
    assert len(before) == len(expected)
    for name in expected:
        assert any(re.search(rf"-out{name and '/' + name}>\)", call) for call in before), name
    assert [call.partition("<")[2] for call in calls[final + 1 :]] == [f"{out.parent}>) = 0"]
