"""python -m training doctor, on this machine and beside GPUs whose nvidia-smi is a stand-in."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support import done_here
from tests.training.machines.test_seen import stand_in
from training.__main__ import main


def asked(*words: str) -> "subprocess.CompletedProcess[str]":
    return done_here(main, "python -m training", "doctor", *words)


def test_a_machine_without_a_gpu_is_sound_and_plainly_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # whatever lies on that of this machine
    done = asked("--json", "--no-step")
    checks = {}
    for line in done.stdout.splitlines():
        check = json.loads(line)
        assert list(check) == ["name", "state", "text", "fix"]
        checks[check["name"]] = check
    assert (done.returncode, done.stderr) == (0, "")
    assert list(checks)[:4] == ["Python", "CPU", "driver", "packages"]
    assert "problem" not in {check["state"] for check in checks.values()}
    assert checks["driver"]["text"].startswith("no NVIDIA GPU here")
    assert checks["device"]["text"].endswith(", as it should without a GPU")
    assert "keras " in checks["packages"]["text"]


@pytest.mark.slow
def test_a_gradient_step_is_timed_against_the_peak_or_said_to_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = asked("--json")
    checks = {check["name"]: check for check in map(json.loads, done.stdout.splitlines())}
    step = checks["step"]["text"]
    assert done.returncode == 0
    assert step.startswith("a step of `small`, batch of 128, float32: ")
    assert step.endswith("TFLOP/s (3 x 2 x MACs); no peak is listed for processors")


def test_a_gpu_that_lies_idle_is_a_problem_with_the_command_that_fixes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "NVIDIA H100 80GB HBM3, 580.82.07, 81559, 4, 9.0\n")
    done = asked("--no-step")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert done.stderr == "python -m training: 2 problems\n"  # train's backend, and family's
    assert "ok      driver       580.82.07: NVIDIA H100 80GB HBM3, compute capability 9.0" in lines
    place = next(i for i, line in enumerate(lines) if line.startswith("problem device"))
    assert "NVIDIA H100 80GB HBM3 lies idle: " in lines[place]
    assert lines[place + 1].strip().startswith("fix: pip install ")
    assert "[train,gpu]'" in lines[place + 1]


def test_settings_that_are_not_followed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/tmp/x")
    file = tmp_path / "keras.json"
    own = {"floatx": "float32", "epsilon": 1e-07, "backend": "jax"}  # as Keras writes it by itself
    for content, named in (
        (json.dumps(own), 0),
        (json.dumps(own | {"floatx": "float16"}), 1),
        ("{", 1),
        ("[1]", 1),
    ):
        file.write_text(content)
        printed = asked("--no-step").stdout
        assert printed.count("not followed") == named
        assert printed.count(str(file)) == named
        assert "XLA_FLAGS='--xla_dump_to=/tmp/x' may change speed or figures" in printed


def test_a_backend_that_is_not_installed_ends_the_diagnosis_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "mxnet\x1b[31m")
    done = asked()
    assert done.returncode == 1
    assert "\x1b[31m" not in done.stdout
    assert "fix: unset KERAS_BACKEND" in done.stdout.splitlines()[-1]
