"""The watched process: whatever the interpreter in it does, its parent lives and says what happened
to which model.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeemo.cli.doctor import doctor as command
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.errors import BackendError, BundleError
from edgeemo.models import find_model
from edgeemo.proof.selftest import run_selftest
from edgeemo.proof.selftest_apart import TIME_LIMIT, run_selftest_apart
from tests.edgeemo.proof.test_mutants import MODEL, mutated, tflite_alone, with_files

HEAD = """
import contextlib, ctypes, os, resource, signal, sys, time
from enum import Enum
OpResolverType = Enum("OpResolverType", "AUTO BUILTIN_REF BUILTIN_WITHOUT_DEFAULT_DELEGATES")

def messages():  # the pipe to the parent: the first one besides standard error
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe"):
                return descriptor

def flood():
    for descriptor in range(1, 64):
        with contextlib.suppress(OSError):  # stderr is kept in memory, which is soon full
            os.write(descriptor, b"x" * 9_999 + b"\\n")
"""
ON_MODEL = f"on {MODEL} under reference kernels; do not use this bundle"


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The TFLite model of the shipped nano alone. Read only."""
    return read_bundle(
        tflite_alone(find_model("nano"), tmp_path_factory.mktemp("nano") / "nano.edgeemo")
    )


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a stand-in for LiteRT before the real one, whose interpreter does what the code says
    when it gets a model.
    """

    def put(code: str, at_import: str = "") -> Path:
        folder = tmp_path / "stand-in"
        package = folder / "ai_edge_litert"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        body = textwrap.indent(textwrap.dedent(code), " " * 4)
        (package / "interpreter.py").write_text(
            f"{HEAD}\n{at_import}\ndef Interpreter(**settings):\n{body}\n"
        )
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return put


def test_it_gives_the_results_of_the_same_process(nano: Bundle, tiny_bundle: Path) -> None:
    for bundle in (nano, read_bundle(tiny_bundle)):
        assert run_selftest_apart(bundle) == run_selftest(bundle)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("ctypes.string_at(0)", "crashed (SIGSEGV)"),
        ("os.abort()", "crashed (SIGABRT)"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was killed (SIGKILL), perhaps for want of memory,",
        ),
        ("os.kill(os.getpid(), 40)", "crashed (signal 40)"),
        ("while True: time.sleep(1)", "gave no sign of life for 3 s"),
        ("while True: pass", "gave no sign of life for 3 s"),
        ("if not os.fork(): time.sleep(60)\nos._exit(0)", "gave no sign of life for 3 s"),
        ("while True: flood()", "gave no sign of life for 3 s"),
    ],
)
def test_hang_and_crash_name_the_model_and_the_kernels(
    nano: Bundle, interpreter: Callable[[str], Path], code: str, end: str
) -> None:
    interpreter(code)
    start = time.monotonic()
    (result,) = run_selftest_apart(nano, time_limit=3)
    assert time.monotonic() - start < 10
    assert (result.artifact, result.kernels, result.passed) == (MODEL, "reference", False)
    assert result.note.startswith(f"the interpreter {end} {ON_MODEL}")
    assert ("--time-limit" in result.note) == ("sign of life" in end)


def test_overall_limit_ends_what_still_shows_signs_of_life(
    nano: Bundle, interpreter: Callable[[str], Path]
) -> None:
    interpreter("while True: time.sleep(0.2); os.write(messages(), b'{\"sign\": 1}\\n')")
    (result,) = run_selftest_apart(nano, time_limit=4, overall_limit=6)
    assert result.note.startswith(f"the interpreter was not done after 6 s {ON_MODEL}")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"garbage\n",
        b"\xff\xfe\x00\n",
        b"[" * 100_000 + b"\n",
        b"{" * 10_000 + b"\n",
        b"[]\n{}\n3\nnull\nNaN\n",
        b'{"sign": 1, "done": true}\n{"other": 1}\n',
        b'{"opens": 3}\n{"opens": ["x", "y"]}\n{"opens": [[], {}]}\n',
        b'{"result": 3}\n{"result": {}}\n{"result": {"artifact": "int8.tflite", "passed": true}}\n',
        (
            b'{"result": {"artifact": "fp32.onnx", "passed": true, "kernels": "default",'
            b' "difference": 0, "bound": 0, "note": "", "tensor": ""}}\n'
        ),
        b"x" * 3_000_000 + b"\n",
    ],
)
def test_garbage_among_the_messages_is_passed_over(
    nano: Bundle, interpreter: Callable[[str], Path], tmp_path: Path, garbage: bytes
) -> None:
    (tmp_path / "garbage").write_bytes(garbage)
    interpreter(f"""
        data = open({str(tmp_path / "garbage")!r}, "rb").read()
        while data:
            data = data[os.write(messages(), data):]
        raise ValueError("refused on purpose")
    """)
    results = run_selftest_apart(nano)
    assert [(r.artifact, r.kernels, r.passed) for r in results] == [
        (MODEL, "reference", False),
        (MODEL, "default", False),
    ]
    assert all("refuses the model (refused on purpose)" in r.note for r in results)


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (
            "raise ValueError('\\x1b[2J \\udc80')",
            "int8.tflite: the interpreter refuses the model (\\x1b[2J \\x80)",
        ),
        (
            "raise KeyError('odd')",
            "int8.tflite: its interpreter fails (KeyError: 'odd'); do not use this bundle",
        ),
        (
            "bytearray(3 << 30)",
            "int8.tflite: its interpreter fails (MemoryError: ); do not use this bundle",
        ),
        (
            (
                "raise ValueError(*(resource.getrlimit(r)[0] >> s for r, s in"
                " [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, 30), (resource.RLIMIT_CPU, 0)]),"
                " os.environ['OPENBLAS_NUM_THREADS'], open('/proc/self/oom_score_adj').read())"
            ),
            "int8.tflite: the interpreter refuses the model ((0, 2, 360, '1', '1000\\n'))",
        ),
    ],
)
def test_process_limits_itself_and_tells_what_its_interpreter_raises(
    nano: Bundle, interpreter: Callable[[str], Path], code: str, note: str
) -> None:
    interpreter(code)
    assert [result.note for result in run_selftest_apart(nano)] == [note] * 2


def test_early_end_tells_the_last_words(nano: Bundle, interpreter: Callable[[str], Path]) -> None:
    interpreter(
        "os._exit(3)",
        at_import="os.write(2, bytes(999_999)); os.write(2, b'\\nfirst\\nno \\x1b[2Jluck\\n')",
    )
    (result,) = run_selftest_apart(nano)
    assert (
        result.note
        == f"the interpreter ended early with exit code 3 {ON_MODEL} (last words: first no"
        " \\x1b[2Jluck)"
    )


def test_limit_that_a_start_exceeds_is_an_error_of_the_process_and_not_of_a_model(
    nano: Bundle,
) -> None:
    with pytest.raises(
        BackendError, match="gave no sign of life for 0.001 s before it opened a model"
    ):
        run_selftest_apart(nano, time_limit=0.001)


def test_bundle_that_changed_meanwhile_is_refused(nano: Bundle, tmp_path: Path) -> None:
    path = with_files(nano.path, tmp_path / "changing.edgeemo", report_json=b"{}")
    bundle = read_bundle(path)
    path.write_bytes(b"PK")
    with pytest.raises(BundleError, match="not a bundle or a damaged one"):
        run_selftest_apart(bundle)
    path.unlink()
    with pytest.raises(BundleError, match="no such bundle"):
        run_selftest_apart(bundle)


@pytest.mark.parametrize("seed", [28, 714])
def test_mutants_that_crash_litert_or_ask_for_gigabytes_fail(
    nano: Bundle, tmp_path: Path, seed: int
) -> None:
    """Of a thousand: ai-edge-litert 2.3.0 ends with SIGABRT on the first and wants gigabytes for
    the second.
    """
    path = with_files(
        nano.path, tmp_path / "mutant.edgeemo", int8_tflite=mutated(nano.files[MODEL], seed)
    )
    results = run_selftest_apart(read_bundle(path), time_limit=3)
    assert results[-1].passed is False


def doctor(
    bundle: Path, *options: str, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [
            *(sys.executable, "-m", "edgeemo", "doctor", "--model", str(bundle)),
            *("--detector", "whole", *options),  # ours runs in the interpreter that is broken here
        ],
        capture_output=True, text=True, timeout=120, env=environment,
    )  # fmt: skip


def test_doctor_says_which_model_crashed_and_exits_1(
    nano: Bundle, interpreter: Callable[[str], Path]
) -> None:
    folder = interpreter("os.abort()")
    done = doctor(nano.path, path=folder)
    assert (done.returncode, done.stderr) == (1, "edgeemo: 1 problem\n")
    line = done.stdout.splitlines()[-1]
    assert line.startswith(
        "problem self-test    int8.tflite, reference kernels: the interpreter crashed (SIGABRT) on"
        " int8"
    )
    done = doctor(nano.path, "--json", path=folder)
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    assert {tuple(check) for check in checks} == {("name", "state", "text", "fix")}
    assert [check["state"] for check in checks if check["name"] == "self-test"] == ["problem"]


def test_doctor_has_a_time_limit(nano: Bundle) -> None:
    done = doctor(nano.path, "--time-limit", "0.01")
    assert (done.returncode, done.stderr) == (1, "edgeemo: 1 problem\n")
    assert "gave no sign of life for 0.01 s" in done.stdout
    assert doctor(nano.path, "--time-limit", "0").returncode == 2
    (option,) = (option for option in command.params if option.name == "time_limit")
    assert option.default == TIME_LIMIT


def test_model_with_a_wrong_hash_never_reaches_an_interpreter(
    nano: Bundle, interpreter: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = interpreter(f"open({str(tmp_path / 'reached')!r}, 'w').close()\nraise ValueError")
    wrong = tmp_path / "wrong.edgeemo"
    data = bytearray(nano.path.read_bytes())
    data[data.index(nano.files[MODEL]) + 500] ^= 1
    wrong.write_bytes(data)
    done = doctor(wrong, path=folder)
    assert done.returncode == 1
    assert "self-test" not in done.stdout
    assert not (tmp_path / "reached").exists()
    assert doctor(nano.path, path=folder).returncode == 1
    assert (tmp_path / "reached").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_doctor_takes_the_process_along(
    nano: Bundle, interpreter: Callable[[str], Path], tmp_path: Path, number: int
) -> None:
    told = tmp_path / "process"
    folder = interpreter(f"""
        open({str(told)!r} + ".part", "w").write(str(os.getpid()))
        os.rename({str(told)!r} + ".part", {str(told)!r})
        while True: time.sleep(1)
    """)
    process = subprocess.Popen(
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "edgeemo",
            "doctor",
            "--model",
            str(nano.path),
            "--detector",
            "whole",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    deadline = time.monotonic() + 60
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (
        130,
        "edgeemo: interrupted; no half-written file is left\n",
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
