"""Nothing phones home: which sockets the runtime opens and which files it writes, by its system
calls.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import REPOSITORY, png_of

# By these a library decides that it is tested, and behaves.
_TESTED = re.compile(
    r"CI|GITHUB_ACTIONS|BUILDKITE|CIRCLECI|TF_BUILD|JENKINS_URL|CODEBUILD_.*|PYTEST_.*"
    r"|ORT_DISABLE_TELEMETRY"
)
_OPENED = re.compile(r'openat\(([A-Z_0-9]+), "([^"]*)", [A-Z_|]*O_(?:WRONLY|RDWR|CREAT)')
_CHANGED = re.compile(r"\b(?:creat|mkdir|unlink|rename|symlink|link|mknod|truncate)(?:at2?)?\(")
# A child process says that it may be the first to be killed; the rest are no files.
_NO_FILES = re.compile(r"/proc/self/(oom_score_adj|task/\d+/comm)|/dev/(null|tty|shm/.*)")
# All verbs in one process, because what an import takes is taken once.
_DRIVER = """
import sys
from edgeemo.cli import shell
from edgeemo.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        shell.run(main, "edgeemo", line.split("\\t"))
    except SystemExit as ended:
        print("ended", line.split("\\t")[0], ended.code, flush=True)
"""


def traced(command: list[str], home: Path, words: str, trace: Path) -> tuple[str, list[str]]:
    """Standard output of a program with a fresh home, and its traced system calls."""
    if not shutil.which("strace"):
        pytest.skip("needs strace (./scripts/system-packages)")
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not _TESTED.fullmatch(name)}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        kept.pop(name, None)
    calls = "trace=%network,?openat,?openat2,?open,?creat,?mkdir,?mkdirat,?unlink,?unlinkat,?rename"
    calls += ",?renameat,?renameat2,?symlink,?symlinkat,?link,?linkat,?truncate,?mknod,?mknodat"
    done = subprocess.run(
        ["strace", "-f", "-qq", "--seccomp-bpf", "-s", "4096", "-e", calls, "-o", trace, *command],
        env=kept | {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        input=words,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    if "Operation not permitted" in done.stderr and not done.stdout:
        pytest.skip("needs the right to trace a process of one's own (ptrace)")
    assert done.returncode == 0, done.stderr
    return done.stdout, trace.read_text(errors="replace").splitlines()


def sockets(calls: list[str]) -> list[str]:
    """Calls that open a way to another process or machine, whatever its family."""
    return [call for call in calls if re.search(r"\b(socket|connect|bind|sendto|sendmsg)\(", call)]


def written(calls: list[str]) -> set[str]:
    """Paths that were opened for writing, made, renamed or removed and are files or folders."""
    paths = set()
    for call in calls:
        if " = -1 " in call:
            continue
        if opened := _OPENED.search(call):
            paths.add(opened[2] if opened[1] == "AT_FDCWD" else f"in {opened[1]}: {opened[2]}")
        if _CHANGED.search(call):
            paths.update(re.findall(r'"([^"]*)"', call))
    return {path for path in paths if not _NO_FILES.fullmatch(path)}


def test_verbs_open_no_socket_and_write_nothing_but_their_outputs(
    tmp_path: Path,
) -> None:
    outputs = tmp_path / "outputs"
    face = outputs / "faces" / "happy" / "face.png"
    face.parent.mkdir(parents=True)
    face.write_bytes(png_of(64, 64))
    onnx = ["--model", "nano", "--artifact", "int8.onnx"]
    verbs: list[list[object]] = [
        ["predict", face, "--detector", "whole", *onnx],
        ["predict", face, "--detector", "haar", "--annotate", outputs / "drawn.png"],
        ["watch", face, "--detector", "haar", *onnx, "--json"],
        ["evaluate", "nano", outputs / "faces", "--artifact", "int8.onnx"],
        ["doctor", "--model", "nano"],
        ["info", "nano"],
        ["models", "list"],
        ["bench", "nano", "--artifact", "int8.onnx", "--runs", "10"],
        ["flash", "nano", "--port", "none", "--offset", "0x200000", "--dry-run"],
    ]
    words = "\n".join("\t".join(map(str, verb)) for verb in verbs)
    out, calls = traced([sys.executable, "-c", _DRIVER], tmp_path / "home", words, tmp_path / "log")
    ended = [line for line in out.splitlines() if line.startswith("ended")]
    assert ended == [f"ended {verb[0]} 0" for verb in verbs]
    assert sockets(calls) == []
    assert {path for path in written(calls) if not path.startswith(str(outputs))} == set()
    assert list((tmp_path / "home").rglob("*")) == []


def test_the_trace_sees_what_a_library_sends_and_writes(tmp_path: Path) -> None:
    code = (
        "import socket, os\nsocket.socket().close()\nos.makedirs(os.environ['HOME'] + '/.cache')\n"
        "open(os.environ['HOME'] + '/.cache/deviceid', 'w').close()\n"
    )
    home = tmp_path / "home"
    _, calls = traced([sys.executable, "-c", code], home, "", tmp_path / "log")
    assert len(sockets(calls)) == 1
    assert written(calls) == {f"{home}/.cache", f"{home}/.cache/deviceid"}


@pytest.mark.parametrize(("before", "after"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_onnx_runtime_is_told_to_send_nothing_unless_the_user_wants_it(
    before: dict[str, str], after: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if not _TESTED.fullmatch(k)} | before
    code = (
        "import os, edgeemo.optional as o; o.need('json', '', '');"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{after}\n"
