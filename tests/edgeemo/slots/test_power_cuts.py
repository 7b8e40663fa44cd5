"""Writes that a power cut loses: a model of what a disk may hold, and what runs from it."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.endurance import update_cuts
from benchmarks.endurance.power_cuts import ALL, Files, cuts, modelled, on_ext4, parse_calls

ROOT = Path("/disk")
strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace (Debian package)")


def left(lines: str, files: Files) -> tuple[list[Files], list[Files]]:
    """What cuts on the way may leave, and one after the last call."""
    found = list(cuts(parse_calls(lines), ROOT, files))
    return [state for done, state in found if not done], [state for done, state in found if done]


BESIDE = """\
openat(AT_FDCWD, "/disk/part", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3
write(3, "\\x6e\\x65\\x77\\x21", 4) = 4
"""
RENAME = 'close(3) = 0\nrename("/disk/part", "/disk/file") = 0\n'


def test_what_is_written_beside_and_not_synced_may_be_empty_half_or_zeros_under_its_name() -> None:
    _, after = left(BESIDE + RENAME, {"file": b"old"})
    assert {state.get("file", b"none") for state in after} == {
        b"old", b"", b"ne", b"new!", bytes(4),
    }  # fmt: skip


def test_what_is_synced_and_renamed_is_the_old_or_the_new_and_with_its_folder_the_new() -> None:
    folder = 'openat(AT_FDCWD, "/disk", O_RDONLY|O_CLOEXEC) = 3\nfsync(3) = 0\n'
    between, after = left(BESIDE + "fsync(3) = 0\n" + RENAME, {"file": b"old"})
    assert {state["file"] for state in between + after} == {b"old", b"new!"}
    _, after = left(BESIDE + "fsync(3) = 0\n" + RENAME + folder, {"file": b"old"})
    assert after == [{"file": b"new!"}]
    lost = BESIDE + 'unlink("/disk/file") = 0\n' + folder
    assert left(lost, {"file": b"old"})[1] == [
        {"part": content} for content in (b"", b"new!", b"ne", bytes(4))
    ]


def test_a_change_that_the_model_does_not_know_is_no_silence() -> None:
    with pytest.raises(ValueError, match="ftruncate: a change"):
        left('ftruncate(3, "", 0) = 0\n', {})


@strace
@pytest.mark.parametrize("step", ["replace", "keep"])
def test_a_cut_behind_any_call_leaves_a_verified_model(step: str, tmp_path: Path) -> None:
    assert sum(modelled(step, tmp_path / "slots", install=False).values()) > 10


@strace
@pytest.mark.slow
@pytest.mark.parametrize("step", ALL)
def test_a_cut_behind_any_call_leaves_a_model_and_room_for_the_next(
    step: str, tmp_path: Path
) -> None:
    assert sum(modelled(step, tmp_path / "slots").values()) > 10


def check_loop() -> None:
    if os.geteuid() or not Path("/dev/loop-control").exists():
        pytest.skip("needs root and loop devices")


@strace
@pytest.mark.slow
def test_a_real_ext4_leaves_a_verified_model(tmp_path: Path) -> None:
    check_loop()
    assert sum(on_ext4(tmp_path).values()) > 100


@strace
@pytest.mark.slow
def test_a_real_ext4_leaves_a_root_for_the_next_update(tmp_path: Path) -> None:
    pytest.importorskip("tuf", reason="needs the extra update")
    check_loop()
    assert sum(update_cuts.cuts(tmp_path).values()) > 20
