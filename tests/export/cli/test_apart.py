"""`adopt` runs in a process of its own: what becomes of its end, with a child that ends so."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import REPOSITORY

PARENT = (
    "import sys\n"
    "from export.cli.main import run\n"
    "sys.argv = ['export', 'adopt', 'their.tflite', '--labels', 'a,b']\n"
    "run()\n"
)


def started(folder: Path, child: str) -> subprocess.Popen[str]:
    """The command line, whose child is another program of that text."""
    (other := folder / "cwd" / "export").mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "__main__.py").write_text(f"import os, signal, sys, time\n{child}\n")
    (script := folder / "parent.py").write_text(PARENT)
    return subprocess.Popen(
        [sys.executable, script],
        cwd=other.parent,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("child", "code", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", 1, "crashed (SIGSEGV), as on a damaged"),
        ("os.abort()", 1, "crashed (SIGABRT), as on a damaged or crafted file; do not use it"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 1, "was killed (SIGKILL), perhaps for want of"),
        ("sys.exit(2)", 2, ""),
        ("print(sys.argv[1:])", 0, ""),
    ],
)
def test_the_end_of_the_child_is_told_in_a_line(
    child: str, code: int, words: str, tmp_path: Path
) -> None:
    process = started(tmp_path, child)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    if words:
        assert len(err.splitlines()) == 1
        assert err.startswith("python -m export: their.tflite: the process that read it ")
        assert words in err
    else:
        assert err == ""
    if code == 0:
        assert out == "['adopt', 'their.tflite', '--labels', 'a,b']\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_reaches_the_child_once(number: signal.Signals, tmp_path: Path) -> None:
    child = (
        "def heard(n, _):\n"
        "    print('heard', n, flush=True)\n"
        "    time.sleep(0.3)\n"
        "    os._exit(130)\n"
        "signal.signal(signal.SIGINT, heard); signal.signal(signal.SIGTERM, heard)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    process = started(tmp_path, child)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, f"heard {int(number)}\n", "")


def test_a_child_that_does_not_end_is_killed_at_the_second_interrupt(tmp_path: Path) -> None:
    child = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('x', flush=True)\ntime.sleep(60)"
    process = started(tmp_path, child)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # two at once are one
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "python -m export: interrupted; no half-written file is left\n"
