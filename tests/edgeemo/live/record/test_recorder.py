"""Recordings: appended, whole lines, one writer, rotated, and never in the way of the watching."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from benchmarks.endurance import record_kills
from edgeemo.contract.checked import strict
from edgeemo.errors import InvalidInput, StorageError
from edgeemo.live.record.lines import is_begun, is_reading
from edgeemo.live.record.recorder import Recorded, Recorder, Rotation
from edgeemo.results import Box, Reading
from tests import support

PATIENCE = 20.0


def line(number: int) -> str:
    return strict.dumps_line(Reading(time=number / 10, frame=number).to_dict())


def record(path: Path, *numbers: int, rotation: Rotation | None = None) -> Recorded:
    with Recorder(path, rotation) as recorder:
        for number in numbers:
            recorder.write(line(number))
    return recorder.recorded


def frames(path: Path) -> list[int]:
    return [json.loads(text)["frame"] for text in path.read_text().splitlines()]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_second_recording_goes_on_behind_the_first(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    assert record(out, 0, 1) == Recorded(lines=2)
    inode = out.stat().st_ino
    record(out, 2)
    assert (frames(out), out.stat().st_ino) == ([0, 1, 2], inode)
    assert list(tmp_path.iterdir()) == [out]


def test_a_second_recorder_of_one_file_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    out, link = tmp_path / "day.jsonl", tmp_path / "link"
    link.symlink_to(out)
    with Recorder(out) as first:
        for name in (out, link):
            with pytest.raises(StorageError, match=r"another process records into it; choose"):
                Recorder(name)
        first.write(line(0))
    record(link, 1)
    assert (frames(out), link.is_symlink()) == ([0, 1], True)


def test_a_line_is_one_write_and_synced_within_a_second(tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace (Debian package)")
    log, out = tmp_path / "calls", tmp_path / "day.jsonl"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edgeemo.live.record.recorder import Recorder\n"
        "with Recorder(Path(sys.argv[1])) as recorder:\n"
        "    for number in range(2):\n"
        '        recorder.write("line %d" % number); time.sleep(0.9)\n'
    )
    traced = ["strace", "-f", "-ttt", "-y", "-e", "trace=openat,write,fsync", "-o", log]
    subprocess.run([*traced, sys.executable, "-c", code, out], check=True, cwd=support.REPOSITORY)
    calls = [text.split(maxsplit=2)[1:] for text in log.read_text().splitlines()]
    ours = [(float(at), call) for at, call in calls if str(out) in call or f"<{tmp_path}>" in call]
    assert "O_APPEND" in next(call for _, call in ours if call.startswith("openat"))
    assert any(f"<{tmp_path}>) = 0" in call for _, call in ours), "the folder of a new file"
    writes = [at for at, call in ours if call.startswith("write")]
    syncs = [at for at, call in ours if re.match(rf"fsync\(\d+<{out}>", call)]
    assert len(writes) == 2
    for at in writes:
        assert any(at < sync < at + 1 for sync in syncs)


TORN = [
    (line(2)[:17], [0, 1], "torn; 17 bytes were removed"),
    ("\0" * 100_000, [0, 1], "torn; 100000 bytes were removed"),
    (line(2)[:60] + "\0" * 9, [0, 1], "torn; 69 bytes were removed"),
    (line(2), [0, 1, 2], "it is whole and was kept"),
]


@pytest.mark.parametrize(
    ("tail", "before", "says"), TORN, ids=["torn", "zeros", "torn and zeros", "whole"]
)
def test_a_last_line_without_an_end_is_repaired_and_that_is_said(
    tail: str, before: list[int], says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "day.jsonl"
    record(out, 0, 1)
    with out.open("a") as file:
        file.write(tail)
    record(out, 7)
    assert frames(out) == [*before, 7]
    assert says in caplog.text


def test_a_first_line_that_was_torn_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    out.write_text(line(3)[:60])
    record(out, 0)
    assert frames(out) == [0]


def test_each_beginning_of_a_line_is_known_for_one() -> None:
    scores = {"happy": 0.25, 'sad "x" \u00e9': 0.75, "low": 1e-06}
    seen = Reading(1.5, 2, 3, "happy", 0.25, scores, Box(-1, 2, 30, 40), 1.5, 10.0, monotonic=-2.5)
    for reading in (seen, Reading(time=0.0, frame=1, camera_ok=False)):
        whole = strict.dumps_line(reading.to_dict()).encode()
        assert is_reading(whole)
        for end in range(len(whole)):
            assert is_begun(whole[:end], alone=False), whole[:end]
            assert not is_reading(whole[:end])


@pytest.mark.parametrize(
    "text",
    [
        "notes",
        "notes\n",
        "a\nb",
        '{\n "a": 1\n}',
        '{"a": 1}',
        '{"a": 1}\n',
        "[]",
        '{"time": 1, "frame": [' + "1, " * 600_000 + "1]}",
        '{"name": "x", /* JSON5 */ "more": 1}',
        '{"{{template}}": 1',
        '{"time": 0.2, "fr',
        "\0" * 4096,
        "\0" * 4096 + "DATA",
        '{"time": 1, "frame": 2, "level": "info"}\n{"time": 2, "fr',
        line(0) + "\n" + '{"time": 2, "frame": 3, "level": "in',
        line(0) + "\nnotes\n" + line(1)[:30],
        line(0) + "\n" + line(1)[:30] + "\0" * 70_000 + "DATA",
        line(0) + "\n" + '{"time": ' + "1" * 70_000,
    ],
    ids=lambda text: str(len(text)),
)
def test_a_file_of_somebody_else_is_refused_and_stays(text: str, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    out.write_text(text)
    with pytest.raises(StorageError, match="it holds something else than readings"):
        Recorder(out)
    assert out.read_text() == text


def test_a_pipe_is_written_through_before_and_after_its_reader_comes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Recorder(pipe) as recorder:
        recorder.write(line(0))
        until(lambda: recorder.recorded.lines == 1)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        recorder.write(line(1))
        until(lambda: recorder.recorded.lines == 2)
    assert os.read(reader, 1000).decode() == f"{line(0)}\n{line(1)}\n"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_reader_that_stalls_never_stops_who_writes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    recorder = Recorder(pipe)
    start = time.monotonic()
    for number in range(20_000):
        recorder.write(line(number))
    assert time.monotonic() - start < 5
    assert recorder.recorded.lost > 10_000
    os.close(reader)  # frees the writer, whose pipe is broken now
    recorder.close()
    assert sum((recorder.recorded.lines, recorder.recorded.lost)) == 20_000


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to(os.devnull)
    assert record(link, 0, 1) == Recorded(lines=2)
    assert link.is_symlink()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_disk_that_is_full_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, which only Linux has")
    assert record(Path("/dev/full"), *range(100)) == Recorded(lost=100)
    assert caplog.text.count("cannot be recorded (No space left on device); watching goes on") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"needs the right to mount a tmpfs ({done.stderr.decode().strip()})")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_recording_goes_on_when_a_full_disk_has_room_again_and_no_line_is_torn(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, filler = small_disk / "day.jsonl", small_disk / "filler"
    filler.write_bytes(bytes(56 * 1024))
    with Recorder(out) as recorder:
        for number in range(300):
            recorder.write(line(number))
        until(lambda: sum((recorder.recorded.lines, recorder.recorded.lost)) == 300)
        assert recorder.recorded.lost > 0
        whole = recorder.recorded.lines
        assert frames(out) == list(range(whole))
        filler.unlink()
        time.sleep(1.05)
        recorder.write(line(1000))
    assert frames(out) == [*range(whole), 1000]
    assert f"recording again; {300 - whole} lines lost" in caplog.text


def test_files_are_rotated_by_size_and_the_newest_kept(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    done = record(out, *range(400), rotation=Rotation(max_bytes=2048, keep=3))
    names = sorted(path.name for path in tmp_path.iterdir())
    last = done.rotations
    numbered = [f"day.{number:06}.jsonl" for number in range(last - 2, last + 1)]
    assert names == [*numbered, "day.jsonl"]
    assert all(path.stat().st_size <= 2048 for path in tmp_path.iterdir())
    kept = [frame for name in names for frame in frames(tmp_path / name)]
    assert kept == list(range(kept[0], 400))
    assert done.lines == 400
    record(out, *range(400, 800), rotation=Rotation(max_bytes=2048))  # all stay, and numbers go on
    assert [frame for path in sorted(tmp_path.iterdir()) for frame in frames(path)] == list(
        range(kept[0], 800)
    )


def test_a_day_s_file_is_full_when_another_day_begins(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    record(out, 0, 1)
    os.utime(out, (0, time.time() - 24 * 3600))
    record(out, 2, 3, rotation=Rotation(daily=True))
    assert (frames(tmp_path / "day.000001.jsonl"), frames(out)) == ([0, 1], [2, 3])
    assert date.fromtimestamp(out.stat().st_mtime) == date.today()


def test_a_link_stays_and_what_it_leads_to_is_rotated_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "disk" / "day")
    record(link, *range(8), rotation=Rotation(max_bytes=1024))
    assert link.is_symlink()
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"day", "day.000001"}


def test_a_file_that_another_program_moves_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    out, moved = tmp_path / "day.jsonl", tmp_path / "day.old"
    with Recorder(out) as recorder:
        recorder.write(line(0))
        until(lambda: recorder.recorded.lines == 1)
        out.rename(moved)
        until(lambda: out.exists())
        recorder.write(line(1))
    assert (frames(moved), frames(out)) == ([0], [1])


def test_files_of_others_are_never_removed_nor_replaced(tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    others = {
        "day.20261120.jsonl": line(0) + "\n",  # as logrotate's dateext calls it
        "day.1000000000.jsonl": line(0) + "\n",
        "day.000002.jsonl": "notes",
        "day.999999.jsonl": "",
    }
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    done = record(out, *range(40), rotation=Rotation(max_bytes=1024, keep=2))
    assert {name: (tmp_path / name).read_text() for name in others} == others
    ours = {path.name for path in tmp_path.iterdir()} - others.keys()
    last = done.rotations + 1  # 2 is taken
    assert ours == {f"day.{last - 1:06}.jsonl", f"day.{last:06}.jsonl", "day.jsonl"}


def test_a_rotation_that_is_refused_lets_the_file_grow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, last = tmp_path / "day.jsonl", tmp_path / "day.999999.jsonl"
    record(last, 0)
    done = record(out, *range(40), rotation=Rotation(max_bytes=1024, keep=2))
    assert done == Recorded(lines=40)
    assert (frames(out), frames(last)) == (list(range(40)), [0])
    assert caplog.text.count("cannot be rotated (no number up to 999,999 is free)") == 1


def test_a_place_that_is_lost_fails_until_it_can_be_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    out = folder / "day.jsonl"
    with Recorder(out) as recorder:
        recorder.write(line(0))
        until(lambda: recorder.recorded.lines == 1)
        time.sleep(0.6)  # it is on the disk
        shutil.rmtree(folder)
        folder.write_text("no folder")
        for number in range(1, 19):
            recorder.write(line(number))
            time.sleep(0.1)
            if number == 9:
                folder.unlink()
        until(lambda: recorder.recorded == Recorded(lines=1, lost=18))
        assert "recording again" not in caplog.text
        folder.mkdir()
        time.sleep(1.05)
        recorder.write(line(19))
    assert frames(out) == [19]
    assert recorder.recorded == Recorded(lines=2, lost=18)
    assert caplog.text.count("cannot be recorded") == 1
    assert caplog.text.count("recording again; 18 lines lost") == 1


def test_the_process_s_own_output_is_written_at_its_own_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys; from edgeemo.live.record.recorder import Recorder\n"
        "for number in range(3):\n"
        '    print("before", flush=True)\n'
        "    with Recorder(sys.argv[1]) as recorder:\n"
        '        recorder.write("line")\n'
    )
    (tmp_path / "link").symlink_to("/dev/stdout")
    for place in ("/dev/stdout", "/proc/self/fd/1", tmp_path / "link"):
        with out.open("w") as sink:
            command = [sys.executable, "-c", code, place]
            subprocess.run(command, check=True, cwd=support.REPOSITORY, stdout=sink)
        assert out.read_text() == "before\nline\n" * 3


@pytest.mark.parametrize(
    "rule", [{}, {"max_bytes": 2000, "daily": True}, {"max_bytes": 10}, {"daily": True, "keep": 0}]
)
def test_impossible_rotations_are_refused(rule: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Rotation(**rule)  # type: ignore[arg-type]


def test_what_cannot_be_recorded_into_is_named(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path, "received a folder"),
        (tmp_path / "gone" / "day.jsonl", f"there is no folder {tmp_path / 'gone'}"),
        (tmp_path / "file" / "day.jsonl", "Not a directory"),
        (tmp_path / "socket", "received a socket or a disk"),
    ):
        (tmp_path / "file").touch()
        if path.name == "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        with pytest.raises(StorageError, match=re.escape(says)) as caught:
            Recorder(path)
        assert "choose another path" in str(caught.value)
    with pytest.raises(InvalidInput, match="only a regular file can be rotated"):
        Recorder(Path(os.devnull), Rotation(daily=True))


def test_lines_alone_are_taken_and_none_after_the_end(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "day.jsonl")
    with pytest.raises(InvalidInput, match="received a line break"):
        recorder.write("a\nb")
    recorder.close()
    recorder.close()
    with pytest.raises(InvalidInput, match="received one for a closed one"):
        recorder.write(line(0))


def test_killed_recorders_lose_no_line_that_is_older_than_a_second(tmp_path: Path) -> None:
    result = record_kills.measure(tmp_path / "day.jsonl", kills=8, seed=1, longest=0.3, lines=1100)
    assert result.torn == 0
    assert result.written > 1000
    assert result.oldest_lost < 1.0


@pytest.mark.slow
def test_a_thousand_killed_recorders_lose_the_last_second_at_most(tmp_path: Path) -> None:
    result = record_kills.measure(tmp_path / "day.jsonl", kills=1000, seed=2, longest=1.0)
    assert (result.torn, result.oldest_lost < 1.0) == (0, True)
