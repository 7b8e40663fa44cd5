"""Signs of life, on a real terminal and in a log file."""

import contextlib
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl

import pytest

from workstation.progress import Pulse, counted, progress, say_above, time_left
from workstation.text import duration

ESCAPE = "mine\x1b[31m"


class Clock:
    """A clock that its test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> Iterator[list[str]]:
    """stdout and stderr on a pseudo-terminal; what was written there comes as one text."""
    outer, inner = pty.openpty()
    ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    written: list[str] = []
    with os.fdopen(inner, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        yield written
        monkeypatch.undo()
    data = b""
    with contextlib.suppress(OSError):  # of a terminal whose other end is closed
        while part := os.read(outer, 1 << 16):
            data += part
    os.close(outer)
    written.append(data.decode())


def test_a_log_file_gets_one_line_a_minute_with_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    for _ in counted(range(6000), "epoch 3/65", "steps", note="run: 44 min left", pulse=pulse):
        clock.now += 0.0625
    assert capsys.readouterr() == (
        "",
        "epoch 3/65: 960 of 6,000 steps, 5 min left, run: 44 min left\n"
        "epoch 3/65: 1,920 of 6,000 steps, 4 min left, run: 44 min left\n"
        "epoch 3/65: 2,880 of 6,000 steps, 3 min left, run: 44 min left\n"
        "epoch 3/65: 3,840 of 6,000 steps, 2 min left, run: 44 min left\n"
        "epoch 3/65: 4,800 of 6,000 steps, 75 s left, run: 44 min left\n"
        "epoch 3/65: 5,760 of 6,000 steps, 15 s left, run: 44 min left\n",
    )


def test_bars_in_each_other_and_one_after_another_share_the_one_line_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    pulse = Pulse(clock=clock)
    for epoch in counted(range(20), "fold 1 of 5", "epochs", pulse=pulse):
        for _ in counted(range(100), f"epoch {epoch + 1}/20", "steps", pulse=pulse):
            clock.now += 0.1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(re.fullmatch(r"epoch \d+/20: .* left|fold 1 of 5: .* left", line) for line in lines)


def test_short_work_says_nothing_in_a_log_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted(range(100_000), "fer2013", "pictures")) == list(range(100_000))
    assert capsys.readouterr() == ("", "")


def test_bytes_are_counted_in_megabytes_from_where_a_download_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    with progress("set", 500_000_000, "B", done=400_000_000, pulse=Pulse(clock=clock)) as bar:
        clock.now += 60
        bar.reach(420_000_000)
        clock.now += 60
        bar.reach(0)  # the server did not go on, so it begins again
        assert bar.done == 0
    assert capsys.readouterr().err == ("set: 420 of 500 MB, 4 min left\nset: 0 of 500 MB\n")


def test_an_unknown_number_has_no_time_left_and_a_title_no_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    for _ in counted(iter(range(3)), ESCAPE, "pictures", pulse=Pulse(clock=clock)):
        clock.now += 61
    assert capsys.readouterr().err == (
        "mine\\x1b[31m: 1 pictures\nmine\\x1b[31m: 2 pictures\nmine\\x1b[31m: 3 pictures\n"
    )


def test_a_terminal_of_80_columns_gets_a_bar_on_one_line_that_goes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch, 80) as written:
        for i in counted(range(190), "epoch 3/65", "steps", note="run: 44 min left"):
            if i == 100:
                say_above("something beside it")
    shown = written[0]
    assert "steps, " in shown
    assert "left, run: 44 min left" in shown
    assert "something beside it" in shown
    assert max(len(part) for part in re.split(r"[\r\n]+", shown)) <= 80
    assert shown.count("\n") == 1  # that of the line; the bar itself leaves none
    assert shown.endswith("\r")


def test_a_bar_that_is_kept_stays_and_a_name_cannot_write_escapes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with terminal(monkeypatch, 80) as written:
        list(counted(range(5), ESCAPE, "pictures", keep=True))
    assert written[0].endswith("\n")
    assert "mine\\x1b[31m: 100%" in written[0]


def test_nothing_is_shown_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 80) as written:
        assert list(counted(range(5), "x", "steps", shown=False)) == [0, 1, 2, 3, 4]
        say_above("seen")
    assert written[0] == "seen\r\n"


def test_the_time_left_is_that_of_the_last_rounds() -> None:
    assert time_left([900.0, 10, 12, 300, 11, 12], 10) == "2 min left"  # a stop in between
    assert (time_left([], 10), time_left([10.0], 0)) == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (5940, "99 min"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
        (-1, "0 s"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text
