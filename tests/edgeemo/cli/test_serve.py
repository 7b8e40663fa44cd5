"""`edgeemo serve` as people and services run it: processes, signals, files, wrong words."""

import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeemo.cli.main import main
from tests.support import done_here, shared

PATIENCE = 30.0


@contextlib.contextmanager
def running(*words: object, port: int) -> Iterator["subprocess.Popen[str]"]:
    """A server of its own process, once it listens."""
    command = [sys.executable, "-m", "edgeemo", "serve", *words, "--port", port]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def get(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(link):
        link.request("GET", path, headers=headers)
        answer = link.getresponse()
        return answer.status, answer.read()


def fails(*words: object, says: str, code: int = 1) -> None:
    """Exit code `code`, nothing on stdout, and for 1 exactly one line on stderr."""
    done = done_here(main, "edgeemo", "serve", *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in " ".join(done.stderr.split()), done.stderr
    assert code != 1 or len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_with_exit_code_0(number: int, tmp_path: Path) -> None:
    token, port = tmp_path / "token", free_port()
    words = ("--camera", shared("media", "test.mp4"), "--model", "nano", "--detector", "haar")
    secured = ("--token-file", token) if number == signal.SIGTERM else ()
    with running(*words, *secured, port=port) as process:
        if secured:
            assert get(port, "/api/health")[0] == 401
            bearer = {"Authorization": f"Bearer {token.read_text().strip()}"}
            assert get(port, "/", **bearer)[0] == 200
            assert json.loads(get(port, "/api/model", **bearer)[1])["name"] == "nano"
        else:
            assert get(port, "/")[0] == 200
        process.send_signal(number)
        out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, ""), errors
    if secured:
        made, where, once, *rest = errors.splitlines()
        assert "made" in made
        assert f"http://127.0.0.1:{port}/?link=" in where
        assert "once" in once
        assert rest == []
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
    else:
        assert errors == f"edgeemo: http://127.0.0.1:{port}/  (Ctrl-C ends it)\n"


def test_another_host_needs_a_token() -> None:
    fails("--host", "0.0.0.0", says="which need a token: add --token-file", code=2)
    fails("--host", "::", says="which need a token", code=2)


def test_wrong_words_are_told(tmp_path: Path) -> None:
    fails("--allow-origin", "shop.example", says="expected a page's origin", code=2)
    fails("--mqtt", "broker", says="expected mqtt://", code=2)
    fails("--mqtt-ca", "x", says="need --mqtt", code=2)
    fails("--on", "happy", says="expected EVENT=URL", code=2)
    fails("--retain", "-1", says="--retain", code=2)
    fails("--lang", "xx", says="--lang", code=2)
    for host in ("no such host", "a..b", "a" * 64):
        fails("--host", host, "--token-file", tmp_path / "t", says="an address of this")
    # Of TEST-NET-3 (RFC 5737), which no machine has.
    fails("--host", "203.0.113.5", "--token-file", tmp_path / "t", says="choose another --host")
    picture = shared("media", "justin.jpg")
    fails("--camera", picture, "--port", 0, "--on", "bored=http://x", says="bored")


def test_a_port_that_is_used_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails("--port", port, says=f"127.0.0.1:{port} cannot be listened on")


def test_token_files_are_checked(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-25-characters.\n")
    token.chmod(0o644)
    fails("--port", 0, "--token-file", token, says="others can read it; run: chmod 600")
    token.chmod(0o600)
    token.write_text("short")
    fails("--port", 0, "--token-file", token, says="expected a token of 16 or more")
    token.write_bytes(b"\xff" * 40)
    fails("--port", 0, "--token-file", token, says="it is no text in ASCII")
    for none in (tmp_path, "/dev/null"):
        fails("--port", 0, "--token-file", none, says="expected a file of a token")
    os.mkfifo(tmp_path / "pipe", 0o600)
    fails("--port", 0, "--token-file", tmp_path / "pipe", says="expected a file of a token")
    fails(
        "--port",
        0,
        "--token-file",
        tmp_path / "none" / "token",
        says="cannot be used as token file",
    )


def test_a_camera_that_is_not_there_is_told() -> None:
    fails("--camera", "/no/such/device", "--port", 0, says="/no/such/device")


def test_watch_calls_hooks_too_and_tells_what_failed(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
    words = shlex.join([sys.executable, "-c", code, str(out)])
    done = done_here(
        main, "edgeemo", "watch", shared("media", "test.mp4"), "--model", "nano", "--detector",
        "whole", "--smoothing", "off", "--on", f"changed={words}", "--on", "no-face=false",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    readings = [json.loads(line) for line in out.read_text().splitlines()]
    assert 1 <= len(readings) <= 3  # the first, and the newest at the end
    assert {"emotion", "scores"} <= readings[0].keys()
    fails = done_here(main, "edgeemo", "watch", "x", "--mqtt", "mqtt://broker")
    assert (fails.returncode, "expected mqtt://" in " ".join(fails.stderr.split())) == (2, True)
