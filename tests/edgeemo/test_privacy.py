"""Nothing phones home: which sockets the runtime opens and which files it writes, by its system
calls.
"""

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeemo.serve.routes import ROUTES
from tests.edgeemo.live.mosquitto import brokering, until
from tests.support import REPOSITORY, encoded, png_of

# By these a library decides that it is tested, and behaves.
_TESTED = re.compile(
    r"CI|GITHUB_ACTIONS|BUILDKITE|CIRCLECI|TF_BUILD|JENKINS_URL|CODEBUILD_.*|PYTEST_.*"
    r"|ORT_DISABLE_TELEMETRY"
)
_OPENED = re.compile(r'openat\(([A-Z_0-9]+), "([^"]*)", [A-Z_|]*O_(?:WRONLY|RDWR|CREAT)')
_CHANGED = re.compile(r"\b(?:creat|mkdir|unlink|rename|symlink|link|mknod|truncate)(?:at2?)?\(")
# A child process says that it may be the first to be killed; the rest are no files.
_NO_FILES = re.compile(r"/proc/self/(oom_score_adj|task/\d+/comm)|/dev/(null|tty|shm/.*)")
# A socket of TCP, and what is sent over one that is connected.
_WITHOUT_ADDRESS = re.compile(r"socket\(AF_INET, SOCK_STREAM|sendto\(.*, NULL, 0(\)| <unf)")
# A picture, of 2x2, that `nano` takes for another emotion than noise.
_ANGRY = np.random.default_rng(13).integers(0, 256, (2, 2)).astype(np.uint8)
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


@contextlib.contextmanager
def tracing(command: list[str], home: Path, trace: Path) -> Iterator["subprocess.Popen[str]"]:
    """A program with a fresh home, whose system calls are written to `trace`."""
    if not shutil.which("strace"):
        pytest.skip("needs strace (./scripts/system-packages)")
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not _TESTED.fullmatch(name)}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        kept.pop(name, None)
    calls = "trace=%network,?openat,?openat2,?open,?creat,?mkdir,?mkdirat,?unlink,?unlinkat,?rename"
    calls += ",?renameat,?renameat2,?symlink,?symlinkat,?link,?linkat,?truncate,?mknod,?mknodat"
    process = subprocess.Popen(
        ["strace", "-f", "-qq", "--seccomp-bpf", "-s", "4096", "-e", calls, "-o", trace, *command],
        env=kept | {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: "subprocess.Popen[str]", words: str = "") -> str:
    """Standard output of a traced program, once it has ended well."""
    out, err = process.communicate(words, timeout=120)
    if "Operation not permitted" in err and not out:
        pytest.skip("needs the right to trace a process of one's own (ptrace)")
    assert process.returncode == 0, err
    return out


def traced(command: list[str], home: Path, words: str, trace: Path) -> tuple[str, list[str]]:
    """Standard output of a program with a fresh home, and its traced system calls."""
    with tracing(command, home, trace) as process:
        out = ended(process, words)
    return out, lines_of(trace)


def lines_of(trace: Path) -> list[str]:
    return trace.read_text(errors="replace").splitlines()


def sockets(calls: list[str]) -> list[str]:
    """Calls that open a way to another process or machine, whatever its family."""
    return [call for call in calls if re.search(r"\b(socket|connect|bind|sendto|sendmsg)\(", call)]


def reached(calls: list[str]) -> set[str]:
    """What was bound, connected to, and sent to by an address, over TCP; whatever else there was as
    it was called.
    """
    found = set()
    for call in sockets(calls):
        verb = re.findall(r"\b(socket|connect|bind|sendto|sendmsg)\(", call)[0]
        if where := re.search(r"sin_port=htons\((\d+)\), sin_addr=inet_addr\(\"([^\"]+)", call):
            found.add(f"{verb} {where[2]}:{where[1]}")
        elif not _WITHOUT_ADDRESS.search(call):
            found.add(call)
    return found


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
    codes = [line for line in out.splitlines() if line.startswith("ended")]
    assert codes == [f"ended {verb[0]} 0" for verb in verbs]
    assert sockets(calls) == []
    assert {path for path in written(calls) if not path.startswith(str(outputs))} == set()
    assert list((tmp_path / "home").rglob("*")) == []


def _ask_all(port: int, picture: bytes) -> None:
    """Ask each route of a server that shows frames, as its page, a program and a form would."""
    host = f"Host: 127.0.0.1:{port}\r\n"
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="queue.png"\r\n\r\n'
        + picture
        + b"\r\n--x--\r\n"
    )
    kind = f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(form)}\r\n"
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    for route in ROUTES:
        more = {"/api/predict": kind, "/api/ws": upgrade}.get(route.path, "")
        body = form if route.method == "POST" else b""
        head = f"{route.method} {route.path} HTTP/1.1\r\n{host}{more}\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(head.encode() + body)
            answer = client.recv(64)
        assert answer.split()[1] == (b"101" if route.path == "/api/ws" else b"200"), (head, answer)


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError):
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(link):
            link.request("GET", "/api/state")
            return link.getresponse().status == 200
    return False


def test_serve_writes_nothing_and_opens_no_socket_but_those_that_were_asked_for(
    tmp_path: Path,
) -> None:
    video, home, trace = tmp_path / "video", tmp_path / "home", tmp_path / "log"
    video.mkdir()
    other = np.kron(_ANGRY, np.ones((32, 32), np.uint8))
    for number in range(400):
        (video / f"{number:03}.png").write_bytes(png_of(64, 64) if number < 10 else encoded(other))
    heard = socket.create_server(("127.0.0.1", 0))
    with heard, socket.create_server(("127.0.0.1", 0)) as free, brokering(tmp_path) as broker:
        hook, port = heard.getsockname()[1], free.getsockname()[1]
        free.close()
        words = f"""serve --camera {video} --fps 20 --detector whole --model nano --port {port}
            --show-frames --retain 60 --lang es --mqtt mqtt://127.0.0.1:{broker.port}/kiosk
            --on changed=http://127.0.0.1:{hook}/"""
        with tracing([sys.executable, "-m", "edgeemo", *words.split()], home, trace) as process:
            until(lambda: process.poll() is not None or _ready(port), 60)
            if process.poll() is None:
                _ask_all(port, png_of(64, 64))
                heard.settimeout(30)
                heard.accept()[0].close()
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                os.kill(int(children.read_text().split()[0]), signal.SIGTERM)
            ended(process)
    calls = lines_of(trace)
    ways = reached(calls)
    # paho-mqtt wakes its thread by a pair of sockets, which it connects over loopback, and binds
    # the one to the broker to any address.
    mine = {"bind 127.0.0.1:0", "bind 0.0.0.0:0"}
    [pair] = {way for way in ways if way.startswith("connect 127.0.0.1:")} - {
        to_broker := f"connect 127.0.0.1:{broker.port}",
        to_hook := f"connect 127.0.0.1:{hook}",
    }
    assert ways == {f"bind 127.0.0.1:{port}", to_broker, to_hook, pair, *mine}
    assert written(calls) == set()
    assert list(home.rglob("*")) == []


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
