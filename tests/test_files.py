"""Writing beside and renaming: success replaces, everything else leaves what was there."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeemo.contract.files import folder_written_beside, written_beside
from edgeemo.errors import StorageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_success_replaces_the_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    for text in ("one", "two"):
        with written_beside(target) as part:
            part.write_text(text)
            assert part.parent == target.parent
        assert target.read_text() == text
    assert names(target.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_exception_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(error), written_beside(target) as part:
        part.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_exception_keeps_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "data"
    with folder_written_beside(target, marker="mark") as part:
        (part / "mark").write_text("old")
    with pytest.raises(error), folder_written_beside(target, marker="mark") as part:
        (part / "mark").write_text("new")
        raise error
    assert (target / "mark").read_text() == "old"
    assert names(tmp_path) == ["data"]


def test_folder_of_ours_is_replaced_whole_and_one_of_others_never(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with folder_written_beside(target, marker="mark") as part:
        (part / "mark").write_text("1")
        (part / "only in the first").write_text("1")
    with folder_written_beside(target, marker="mark") as part:
        (part / "mark").write_text("2")
    assert names(target) == ["mark"]
    (target / "mark").rename(target / "thesis.txt")
    with pytest.raises(StorageError, match="holds files but no mark"), folder_written_beside(target, marker="mark"):
        pass
    assert names(target) == ["thesis.txt"]
    assert names(tmp_path) == ["data"]


def test_folder_in_the_way_of_a_file_and_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="folder: cannot be written"), written_beside(tmp_path / "folder"):
        pass
    with pytest.raises(StorageError, match="expected a folder"), folder_written_beside(tmp_path / "file", marker="m"):
        pass


def test_unwritable_place_is_named_with_a_way_out() -> None:
    for write in (written_beside("/proc/edgeemo.txt"), folder_written_beside("/proc/edgeemo", marker="m")):
        with pytest.raises(StorageError, match=r"/proc/edgeemo.*cannot be written .*choose another --out"), write:
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_full_disk_is_named_and_leaves_no_part(small_disk: Path) -> None:
    (small_disk / "file.bin").write_bytes(b"old")
    with (
        pytest.raises(StorageError, match="No space left on device.*free some space"),
        written_beside(small_disk / "file.bin") as part,
    ):
        part.write_bytes(bytes(1_000_000))
    assert (small_disk / "file.bin").read_bytes() == b"old"
    assert names(small_disk) == ["file.bin"]
