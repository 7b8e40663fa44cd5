"""Fetching a pinned file, from a real HTTP server on loopback: the right bytes are kept, anything
else is one clear line.
"""

import hashlib
import http.server
import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.checked.strict import loads
from edgeemo.contract.container import sha256
from edgeemo.contract.detector_bundle import (
    RowsTest,
    read_detector,
    selftest_bytes,
    write_detector,
)
from edgeemo.downloads import fetch, holds
from edgeemo.errors import DownloadError, InvalidInput, StorageError
from edgeemo.faces import yunet
from edgeemo.models import find_detector
from tests import support

CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + SHA256.encode() + b"\nsize 76800\n"
)

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def serves(content: bytes, status: int = 200, announced: int | None = None) -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if announced is None else announced))
        request.end_headers()
        request.wfile.write(content)

    return answer


def redirects(to: str) -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", to)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def says_nothing(request: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(2)


def drips(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(400):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.01)


def speaks_otherwise(request: http.server.BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"220 this is no web server\r\n")


ROUTES: dict[str, Answer] = {
    "/file": serves(CONTENT),
    "/other": serves(CONTENT[::-1]),
    "/longer": serves(CONTENT + bytes(1_000_000)),
    "/cut": serves(CONTENT[:1000], announced=len(CONTENT)),
    "/empty": serves(b""),
    "/pointer": serves(POINTER),
    "/missing": serves(b"no such file", 404),
    "/moved": redirects("/file"),
    "/loop": redirects("/loop"),
    "/to-file": redirects("file:///etc/passwd"),
    "/to-ftp": redirects("ftp://127.0.0.1/file"),
    "/to-no-name": redirects("http://a..b/file"),
    "/silent": says_nothing,
    "/drips": drips,
    "/otherwise": speaks_otherwise,
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ROUTES[self.path](self)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that has gone is what some tests are about."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of the server."""
    with Server(("127.0.0.1", 0), Handler) as opened:
        threading.Thread(target=opened.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{opened.server_port}"
        opened.shutdown()


@pytest.fixture(autouse=True)
def no_proxy_and_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "EDGEEMO_YUNET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def get(url: str, target: Path, timeout: float = 5.0) -> bool:
    return fetch(url, target, size=len(CONTENT), sha256=SHA256, timeout=timeout)


def refused(url: str, target: Path, says: str, timeout: float = 5.0) -> str:
    """The one line of a refusal that leaves nothing behind."""
    with pytest.raises(DownloadError, match=says) as caught:
        get(url, target, timeout)
    assert not target.exists()
    assert not target.parent.exists() or not any(target.parent.iterdir())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", ["/file", "/moved"])
def test_the_right_file_is_kept(server: str, path: str, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file"
    assert get(server + path, target) is True
    assert target.read_bytes() == CONTENT
    assert [entry.name for entry in target.parent.iterdir()] == ["file"]
    assert holds(target, SHA256)


def test_a_right_file_that_is_there_needs_no_network(nobody: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    assert get(nobody, tmp_path / "file") is False


def test_a_damaged_file_is_replaced_by_the_right_one(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:-1])
    assert not holds(tmp_path / "file", SHA256)
    assert get(f"{server}/file", tmp_path / "file") is True
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_progress_adds_up_to_the_size(server: str, tmp_path: Path) -> None:
    pieces: list[int] = []
    fetch(
        f"{server}/file",
        tmp_path / "file",
        size=len(CONTENT),
        sha256=SHA256,
        progress=pieces.append,
    )
    assert sum(pieces) == len(CONTENT)
    assert len(pieces) > 1


def test_another_file_is_refused_with_both_hashes(server: str, tmp_path: Path) -> None:
    received = hashlib.sha256(CONTENT[::-1]).hexdigest()
    says = (
        rf"/other: expected sha256 {SHA256} \(76,800 bytes\), received {received} \(76,800 bytes\)"
    )
    refused(f"{server}/other", tmp_path / "x" / "file", says)


def test_another_file_leaves_the_one_that_was_there(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(DownloadError):
        get(f"{server}/other", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_of_a_larger_file_only_a_little_more_than_the_size_is_read(
    server: str, tmp_path: Path
) -> None:
    refused(
        f"{server}/longer", tmp_path / "x" / "file", r"received \w{64} \(80,896 bytes or more\)"
    )


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/pointer", "/pointer serves a Git LFS pointer and not the file itself"),
        ("/cut", r"received \w{64} \(1,000 bytes\)"),
        ("/empty", r"received \w{64} \(0 bytes\)"),
        (
            "/missing",
            (
                r"answers 404 Not Found; try another address, or fetch the file by hand and put it"
                r" at .*file"
            ),
        ),
        ("/loop", "answers 302"),
        ("/to-file", "answers 302"),
        ("/to-ftp", r"cannot be reached \(unknown url type: ftp\)"),
        ("/to-no-name", "cannot be reached"),
        ("/otherwise", "cannot be reached"),
    ],
)
def test_what_is_not_the_file_is_one_line(
    server: str, path: str, says: str, tmp_path: Path
) -> None:
    refused(server + path, tmp_path / "x" / "file", says)


def test_without_a_network_the_line_says_whom_and_where_to_put_the_file(
    nobody: str, tmp_path: Path
) -> None:
    target = tmp_path / "x" / "file"
    line = refused(
        f"{nobody}/file", target, r"127\.0\.0\.1:\d+ cannot be reached \(Connection refused\)"
    )
    assert line.endswith(f"; fetch {nobody}/file elsewhere and put it at {target}")


def test_an_unknown_host_is_named(tmp_path: Path) -> None:
    refused(
        "http://nowhere.invalid/file",
        tmp_path / "x" / "file",
        r"nowhere\.invalid cannot be reached",
    )


def test_a_silent_server_is_waited_for_no_longer_than_the_timeout(
    server: str, tmp_path: Path
) -> None:
    start = time.monotonic()
    refused(
        f"{server}/silent", tmp_path / "x" / "file", r"cannot be reached \(timed out\)", timeout=0.2
    )
    assert time.monotonic() - start < 1.5


def test_a_server_that_drips_bytes_is_left_after_20_timeouts(server: str, tmp_path: Path) -> None:
    start = time.monotonic()
    says = r"broke off after \d+ bytes \(after 1 s only \d+ bytes have come\)"
    refused(f"{server}/drips", tmp_path / "x" / "file", says, timeout=0.05)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file",
        "file:///etc/passwd",
        "ftp://127.0.0.1/file",
        "http://",
        "http://user:word@127.0.0.1/file",
        "http://127.0.0.1:x/file",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\n",
        "http://[/file",
        "http://127.0.0.1/ä",
    ],
)
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="expected an address like https://mirror.example/file.onnx"
    ):
        get(url, tmp_path / "file")


def test_a_place_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        StorageError,
        match=r"file/under: cannot be written \(.*\); make room or make the folder writable",
    ):
        get(f"{server}/file", tmp_path / "file" / "under")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeemo", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def mirror(server: str) -> str:
    """A server's address of YuNet's file."""
    ROUTES["/yunet"] = serves(support.shared("models", yunet.MODEL_FILE).read_bytes())
    return f"{server}/yunet"


def cached() -> Path:
    return yunet.cache_folder() / yunet.MODEL_FILE


def test_the_pinned_file_is_the_one_that_was_tested() -> None:
    content = support.shared("models", yunet.MODEL_FILE).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (
        yunet.MODEL_BYTES,
        yunet.MODEL_SHA256,
    )


def test_the_pinned_address_serves_files_and_no_pointers_and_names_a_commit() -> None:
    host, commit = yunet.MODEL_URL.split("/")[2], yunet.MODEL_URL.split("/")[6]
    assert host == "media.githubusercontent.com"
    assert len(commit) == 40
    assert int(commit, 16)
    assert yunet.MODEL_URL.endswith(
        "/models/face_detection_yunet/face_detection_yunet_2026may.onnx"
    )


def test_pull_fetches_yunet_once_and_it_works_then(mirror: str, nobody: str) -> None:
    done = run("models", "pull", "yunet", "--url", mirror)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{cached()}: fetched, its sha256 is right\n"
    again = run("models", "pull", "yunet", "--url", nobody)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"{cached()}: already there, its sha256 is right\n"
    check = detector_check("--detector", "yunet")
    assert (check["state"], check["text"]) == ("ok", "yunet (asked for by name)")


def test_pull_shows_a_bar_on_a_terminal(mirror: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgeemo", "models", "pull", "yunet", "--url", mirror]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert b"100%" in shown
    assert done.stdout.decode() == f"{cached()}: fetched, its sha256 is right\n"


@pytest.mark.parametrize("path", ["/file", "/pointer", "/missing"])
def test_pull_of_another_file_is_one_line_and_keeps_nothing(server: str, path: str) -> None:
    done = run("models", "pull", "yunet", "--url", server + path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert server + path in done.stderr
    assert not cached().exists()


def test_pull_offline_is_one_line_with_the_place_for_the_file(nobody: str) -> None:
    done = run("models", "pull", "yunet", HTTPS_PROXY=nobody, https_proxy=nobody)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("edgeemo: media.githubusercontent.com cannot be reached (")
    assert line.endswith(f"; fetch {yunet.MODEL_URL} elsewhere and put it at {cached()}")


def test_pull_of_an_unknown_model_is_wrong_usage() -> None:
    done = run("models", "pull", "mtcnn")
    assert done.returncode == 2
    assert "'mtcnn' is not 'yunet'" in done.stderr


def test_list_names_what_ships_and_what_can_be_pulled() -> None:
    before = {
        row["name"]: row
        for row in map(json.loads, run("models", "list", "--json").stdout.splitlines())
    }
    assert before["small"]["state"] == "there"
    assert before["yunet"] == {
        "name": "yunet", "what": "face detector, MIT licence", "path": str(cached()),
        "state": "not fetched; run: edgeemo models pull yunet",
    }  # fmt: skip
    cached().parent.mkdir(parents=True)
    cached().write_bytes(b"damaged")
    row = json.loads(run("models", "list", "--json").stdout.splitlines()[-1])
    assert row["state"] == "damaged or another file; run: edgeemo models pull yunet"
    listed = run("models", "list").stdout  # long paths are folded at 80 columns
    assert all(word in listed for word in ("yunet", "MIT licence", "damaged"))
    cached().write_bytes(support.shared("models", yunet.MODEL_FILE).read_bytes())
    assert json.loads(run("models", "list", "--json").stdout.splitlines()[-1])["state"] == "there"


@pytest.mark.parametrize("verb", [["models"], ["models", "list"], ["models", "pull"]])
def test_help_is_there(verb: list[str]) -> None:
    done = run(*verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")


def detector_check(*options: str) -> dict[str, str]:
    done = run("doctor", "--json", "--model", "gone.edgeemo", *options)
    (check,) = (line for line in map(loads, done.stdout.splitlines()) if line["name"] == "detector")
    return dict(check)


def test_doctor_says_that_ours_is_taken_and_passes_its_self_test() -> None:
    check = detector_check()
    assert (check["state"], check["fix"]) == ("ok", "")
    assert check["text"] == "face (it ships with edgeemo; its self-test passes)"


def test_doctor_tells_a_detector_whose_answers_are_others(tmp_path: Path) -> None:
    """Hash-consistent, and its model is another: the self-test sees it."""
    bundle = read_detector(find_detector("face"))
    test = bundle.selftest()
    other = RowsTest(test.inputs, (test.rows.astype(np.int16) ^ 1).astype(np.int8))
    files = dict(bundle.files) | {"selftest.npz": selftest_bytes(other)}
    companions = tuple(
        replace(c, bytes=len(files[c.file]), sha256=sha256(files[c.file]))
        for c in bundle.manifest.companions
    )
    path = tmp_path / "other.edgeemo"
    write_detector(path, replace(bundle.manifest, companions=companions), files)
    check = detector_check("--detector-model", str(path))
    assert check["state"] == "problem"
    assert "rows differ from the bundle's by up to 1 steps with reference kernels" in check["text"]


def test_doctor_takes_haar_that_was_asked_for_as_it_is() -> None:
    check = detector_check("--detector", "haar")
    assert (check["state"], check["text"], check["fix"]) == ("ok", "haar (asked for by name)", "")


def test_doctor_names_the_command_where_yunet_was_asked_for_and_is_missing() -> None:
    check = detector_check("--detector", "yunet")
    assert (check["state"], check["fix"]) == ("problem", "edgeemo models pull yunet")
