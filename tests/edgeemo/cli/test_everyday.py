"""What makes the programs easy to use: slips of the pen, the tab key, 80 columns, any folder."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import export.cli.main
import tests.networks  # noqa: F401  the networks of tests are among the choices of --model
import training.__main__
from edgeemo.cli import checkout, main
from edgeemo.cli import shell as shell_of_programs
from edgeemo.models import shipped_models
from edgeemo.version import __version__
from tests import support
from tests.support import REPOSITORY

PROGRAMS = {
    "edgeemo": main.main,
    "python -m training": training.__main__.main,
    "python -m export": export.cli.main.main,
}


def commands(
    command: click.Command, name: str, above: click.Context | None = None
) -> Iterator[click.Context]:
    """A context of 80 columns for each verb of a program, and for the program."""
    context = command.make_context(
        name, [], parent=above, resilient_parsing=True, terminal_width=80, max_content_width=80
    )
    yield context
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            inner = command.get_command(context, verb)
            assert inner is not None
            yield from commands(inner, verb, context)


ALL = [context for name, program in PROGRAMS.items() for context in commands(program, name)]


@pytest.mark.parametrize("context", ALL, ids=lambda context: context.command_path)
def test_help_fits_80_columns_and_has_an_example(context: click.Context) -> None:
    lines = context.get_help().splitlines()
    assert [line for line in lines if len(line) > 80] == []
    path = context.command_path
    assert any(line.strip().startswith(path) or f"| {path}" in line for line in lines[2:])


@pytest.mark.parametrize(
    "words",
    [
        ["info", "nano"],
        ["models"],
        ["models", "list"],
        ["bench", "nano-fer2013", "--runs", "10"],
    ],
)
def test_tables_fit_80_columns(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    done = support.done_here(main.main, "edgeemo", *words, terminal=True)
    assert done.returncode == 0, done.stderr
    # A path is one word, which stays whole so that it can be copied.
    wide = [line for line in done.stdout.splitlines() if len(line) > 80 and " " in line.strip()]
    assert wide == []


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(program: str, option: str) -> None:
    done = support.done_here(PROGRAMS[program], program, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f" version {__version__}\n")


@pytest.mark.parametrize(
    ("program", "words", "says"),
    [
        ("edgeemo", ["predcit"], "Did you mean 'predict'?"),
        ("edgeemo", ["models", "pul"], "Did you mean 'pull'?"),
        ("edgeemo", ["predict", "--jsno", "a.png"], "Did you mean '--json'?"),
        ("edgeemo", ["photo of us.JPG"], "Did you mean: edgeemo predict 'photo of us.JPG'"),
        ("edgeemo", ["visit.mp4"], "Did you mean: edgeemo watch visit.mp4"),
        ("edgeemo", ["rtsp://door"], "Did you mean: edgeemo watch rtsp://door"),
        ("python -m training", ["trian"], "Did you mean 'train'?"),
        ("python -m export", ["biuld"], "Did you mean 'build'?"),
    ],
)
def test_what_a_slip_of_the_pen_meant_is_said(program: str, words: list[str], says: str) -> None:
    done = support.done_here(PROGRAMS[program], program, *words)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_alone_shows_its_help(program: str) -> None:
    bare, asked = (
        support.done_here(PROGRAMS[program], program, *words) for words in ([], ["--help"])
    )
    assert (bare.returncode, asked.returncode) == (2, 0)
    assert bare.stderr.split() == asked.stdout.split()
    assert bare.stderr.count("\n") > 10


def test_a_choice_that_is_missing_is_told_on_one_line() -> None:
    done = support.done_here(main.main, "edgeemo", "models", "pull")
    assert done.returncode == 2
    assert "Missing argument '{yunet}'. Choose from: yunet" in done.stderr


def test_nonsense_is_told_as_such() -> None:
    done = support.done_here(main.main, "edgeemo", "xyzzy")
    assert done.returncode == 2
    assert done.stderr.endswith("Error: No such command 'xyzzy'.\n")


def completed(shell: str, *words: str) -> list[str]:
    """What a shell's script would be told for a line whose last word is being typed."""
    asked = {
        "_EDGEEMO_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "\n".join(("edgeemo", *words)) if shell != "fish" else " ".join(words),
        "COMP_CWORD": str(len(words)) if shell != "fish" else words[-1],
    }
    with pytest.MonkeyPatch.context() as patch:
        for key, value in asked.items():
            patch.setenv(key, value)
        out = io.TextIOWrapper(io.BytesIO())  # click writes bytes
        patch.setattr(signal, "signal", lambda *_: None)  # those of the tests stay
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
            shell_of_programs.run(main.main, "edgeemo", [])
    assert ended.value.code == 0
    out.seek(0)
    return out.read().splitlines()


def test_the_tab_key_completes_verbs_options_bundles_and_priors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.edgeemo").touch()
    Path("other.txt").touch()
    assert completed("bash", "pre") == ["plain,predict"]
    assert completed("bash", "predict", "--crop") == ["plain,--crops"]
    names = [f"plain,{name}" for name in (*shipped_models(), "mine.edgeemo")]
    for verb in ("info", "evaluate", "bench", "flash"):
        assert completed("bash", verb, "") == names
    assert completed("bash", "watch", "--model", "m") == ["plain,mine.edgeemo"]
    assert completed("bash", "watch", "--model", "o") == ["file,o"]
    assert completed("bash", "predict", "--prior", "b") == ["plain,balanced"]
    assert completed("bash", "predict", "--prior", "sad=0.1,ha") == ["plain,sad=0.1,happy="]
    assert completed("zsh", "doc")[:2] == ["plain", "doctor"]
    doctor = "plain,doctor\twhat works on this machine, and how to fix the rest"
    assert completed("fish", "doc") == [doctor]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_one_that_it_accepts(shell: str, tmp_path: Path) -> None:
    done = support.done_here(main.main, "edgeemo", "completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_EDGEEMO_COMPLETE" in done.stdout
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True, timeout=30)


@pytest.mark.parametrize(
    ("program", "words", "after"),
    [
        ("edgeemo", ["predict", ""], "predict"),
        ("edgeemo", ["watch", ""], "watch"),
        ("edgeemo", ["evaluate", "small", ""], "small"),
        ("edgeemo", ["predict", "a.png", "--detector-model", ""], "--detector-model"),
        ("edgeemo", ["predict", "a.png", "--model="], "--model="),
        ("python -m training", ["stats", ""], "stats"),
        ("python -m export", ["inspect", "runs/x", "--data", ""], "--data"),
    ],
)
def test_what_a_variable_without_a_value_leaves_is_refused(
    program: str, words: list[str], after: str
) -> None:
    # Taken for a path it was the folder at hand, for a camera the first one.
    done = support.done_here(PROGRAMS[program], program, *words)
    assert done.returncode == 2
    assert f"received an empty word after {after};" in " ".join(done.stderr.split())


def test_completion_asks_for_a_shell_where_none_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/csh")
    done = support.done_here(main.main, "edgeemo", "completion")
    assert done.returncode == 2
    assert "name a shell: bash, zsh, fish" in done.stderr
    monkeypatch.setenv("SHELL", "/usr/bin/bash")
    assert support.done_here(main.main, "edgeemo", "completion").stdout.startswith("_edgeemo_comp")


def from_elsewhere(
    program: str, *words: str, cwd: Path, path: Path = REPOSITORY
) -> subprocess.CompletedProcess[str]:
    """A program's entry point, in another folder, where edgeemo alone can be imported."""
    code = (
        f"import sys; sys.path.append({str(path)!r}); from edgeemo.cli import checkout; "
        f"sys.path.remove({str(path)!r}); sys.argv[0] = {program!r}; "
        f"checkout.{program.removeprefix('edgeemo-')}()"
    )
    environment = {key: x for key, x in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, timeout=60, cwd=cwd, env=environment,
    )  # fmt: skip


def test_training_and_export_run_from_any_folder_before_others_of_their_name(
    tmp_path: Path,
) -> None:
    for name in ("training", "export", "workstation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('of somebody else')")
    done = from_elsewhere("edgeemo-export", "inspect", "runs/x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    # What it advises can be run here too.
    assert done.stderr == (
        "edgeemo-export: runs/x: expected a run folder with config.json; make one with:"
        " edgeemo-train train --out runs/x\n"
    )
    done = from_elsewhere("edgeemo-train", "-V", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"edgeemo training, version {__version__}\n")


def test_modules_of_ours_run_them_beside_others_of_their_name(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "__init__.py").write_text("raise RuntimeError('of somebody else')")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for name in ("training", "export"):
        done = subprocess.run(
            [sys.executable, "-m", f"edgeemo.{name}", "-V"],
            capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (f"edgeemo {name}, version {__version__}\n", "")


@pytest.mark.slow
def test_an_editable_install_runs_them_from_any_folder(tmp_path: Path) -> None:
    # What the programs import lies beside: this environment's packages, without its edgeemo.
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    binaries = tmp_path / "env" / "bin"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    ours = Path(pytest.__file__).parents[1]
    (site / "beside.pth").write_text(f"{ours}\n")
    subprocess.run(
        [binaries / "python", "-m", "pip", "install", "--quiet", "--no-deps", "-e", REPOSITORY],
        check=True,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: x for key, x in os.environ.items() if key != "PYTHONPATH"}

    def said(*words: str | Path) -> str:
        return subprocess.run(
            words, capture_output=True, text=True, cwd=elsewhere, env=environment
        ).stdout

    python = binaries / "python"
    for name, program in (("training", "edgeemo-train"), ("export", "edgeemo-export")):
        version = f"edgeemo {name}, version {__version__}\n"
        assert said(python, "-m", name, "-V") == version
        (elsewhere / f"{name}.py").write_text("print('of somebody else')")
        assert said(python, "-m", name, "-V") == "of somebody else\n"
        assert said(python, "-m", f"edgeemo.{name}", "-V") == version
        assert said(binaries / program, "-V") == version


def test_without_a_checkout_the_workstations_programs_say_how_to_get_one(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "edgeemo", tmp_path / "edgeemo",
        ignore=shutil.ignore_patterns("*.edgeemo", "__pycache__"),
    )  # fmt: skip
    done = from_elsewhere("edgeemo-train", "stats", "x", cwd=tmp_path, path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected edgeemo installed from a checkout" in done.stderr
    assert "pip install -e '.[train]'" in done.stderr
    assert checkout.__doc__


@pytest.mark.parametrize("verb", ["inspect", "build"])
def test_a_bundle_in_place_of_a_run_is_told_how_to_become_one(verb: str) -> None:
    for bundle in ("nano", str(REPOSITORY / "edgeemo" / "models" / "nano.edgeemo")):
        done = support.done_here(
            PROGRAMS["python -m export"], "python -m export", verb, bundle,
            "--data", "prepared", *(["--out", "x.edgeemo"] if verb == "build" else []),
        )  # fmt: skip
        assert done.returncode == 2
        assert f"python -m training restore {bundle} --data prepared/" in done.stderr


def test_shipped_names_are_bundles_for_every_verb(tmp_path: Path) -> None:
    exporting = PROGRAMS["python -m export"]
    done = support.done_here(exporting, "export", "tensorrt", "nano", "--out", tmp_path / "t")
    assert done.returncode == 0, done.stderr
    done = support.done_here(
        exporting, "export", "compare", "nano", "small", "--data", tmp_path / "none"
    )
    assert "expected a prepared folder" in done.stderr
    done = support.done_here(
        PROGRAMS["python -m training"], "training", "restore", "nanno",
        "--data", tmp_path / "none", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "or one of base, nano, " in done.stderr
    as_json = support.done_here(main.main, "edgeemo", "info", "nano", "--json")
    assert json.loads(as_json.stdout)["name"] == "nano"
