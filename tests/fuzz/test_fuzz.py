"""Each fuzzing target answers good inputs, those that were bad once, and a few hundred drawn ones;
what ends a fuzzing process is kept with its input."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fuzz import loader
from tests.fuzz.__main__ import main
from tests.fuzz.child import Current, kept
from tests.fuzz.mutate import MAX_BYTES, mutated
from tests.fuzz.targets import FOUND, TARGETS
from tests.fuzz.watch import watched

# Of each target, how many drawn inputs.
INPUTS = {
    "bundle": 300,
    "picture": 1500,
    "archive": 1000,
    "document": 600,
    "image": 800,
    "tracker": 60,
}


@pytest.mark.parametrize("name", INPUTS)
def test_nothing_but_the_promised_errors_comes_of_drawn_inputs(name: str) -> None:
    target = TARGETS[name]
    seeds, rng = target.seeds(name), random.Random(7)
    assert max(map(len, seeds)) < MAX_BYTES
    for data in (b"", *seeds, *(mutated(rng, seeds) for _ in range(INPUTS[name]))):
        target.run(data)


def test_inputs_that_were_found_belong_to_targets_and_are_small() -> None:
    files = [file for file in FOUND.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert file.parent.name in TARGETS
        assert file.stat().st_size < 8192


ENDING = """
import os, signal, sys
from pathlib import Path
from tests.fuzz.child import Current
current = Current(Path(sys.argv[1]) / "current")
current.keep(b"harmless")
current.keep(b"the bad one")
"""


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        ("raise ValueError('not promised')", "exit code 1"),
    ],
)
def test_however_a_process_ends_its_input_is_kept(end: str, why: str, tmp_path: Path) -> None:
    ended = watched([sys.executable, "-c", ENDING + end, str(tmp_path)], 30, tmp_path)
    assert ended.why == why
    assert ended.input is not None
    assert ended.input.name.startswith("crash-")
    assert ended.input.read_bytes() == b"the bad one"


def test_a_process_that_ends_well_leaves_no_crash(tmp_path: Path) -> None:
    ended = watched([sys.executable, "-c", ENDING, str(tmp_path)], 30, tmp_path)
    assert (ended.why, ended.input) == ("", None)
    assert not list(tmp_path.glob("crash-*"))


def test_the_input_that_runs_is_kept_whole_and_bounded(tmp_path: Path) -> None:
    current = Current(tmp_path / "current")
    for data in (b"", bytes(range(256)), b"short"):
        current.keep(data)
        assert kept(tmp_path / "current") == data
    current.keep(b"x" * (MAX_BYTES + 5))
    assert kept(tmp_path / "current") == b"x" * MAX_BYTES


def test_the_command_teaches_and_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(main, ["--help"], prog_name="./scripts/fuzz").output
    assert all(f"\n  {name} " in shown for name in (*TARGETS, "loader"))
    done = runner.invoke(main, ["nix"])
    assert done.exit_code == 2
    assert "expected one of bundle, picture" in done.output
    assert runner.invoke(main, ["picture", "0"]).exit_code == 2
    assert runner.invoke(main, ["--replay", __file__]).exit_code == 2
    done = runner.invoke(main, ["picture", "--replay", __file__])
    assert (done.exit_code, done.output.split(": ", 1)[0]) == (0, "picture")


@pytest.mark.slow
def test_the_c_loader_runs_under_libfuzzer(tmp_path: Path) -> None:
    if not loader.can_build():
        pytest.skip(loader.WAY_OUT)
    program = loader.build(tmp_path)
    words = loader.words(program, 20, tmp_path)
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stderr.split("number_of_executed_units:")[1].split()[0]) > 1000
