"""Downloads through the real kaggle package from a server on loopback that stands in for Kaggle and
its storage.

The package is told to use http://localhost (KAGGLE_API_ENVIRONMENT), and our server is the proxy
for all of http.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from edgeemo.errors import DownloadError, StorageError
from tests.support import REPOSITORY, zip_bytes
from training.data.kaggle import ATTEMPTS, MAX_BYTES, fetch

DATASET = "msambare/fer2013"
STORAGE = "http://storage.example/archive.zip"
ARCHIVE = zip_bytes({"train/happy/1.png": np.random.default_rng(0).bytes(600_000)})
OTHER = zip_bytes({"train/happy/1.png": np.random.default_rng(1).bytes(600_000)})
HALF = len(ARCHIVE) // 2


@dataclass
class Answer:
    """How the storage answers one request for the file; None where the honest server decides."""

    status: int | None = None
    cut: int | None = None  # close the connection after so many bytes
    stall: bool = False  # at `cut`, keep the connection open and send nothing
    length: str | None = None  # Content-Length; "" leaves it out
    content_range: str | None = None
    etag: str | None = None
    ranges: bool = True
    extra: bytes = b""  # sent behind the file


@dataclass
class Kaggle:
    """What the server holds, does and has seen."""

    body: bytes = ARCHIVE
    etag: str = '"one"'
    api_status: int = 302
    api_headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    token: str | None = None
    always: Answer = field(default_factory=Answer)
    answers: list[Answer] = field(
        default_factory=list
    )  # for the transfers in turn, after which `always` holds
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)  # to the API
    gets: list[dict[str, str]] = field(default_factory=list)  # headers of the requests for the file
    release: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def ranges(self) -> list[str | None]:
        """The Range of each transfer; the first request of each download only asks where the file
        is.
        """
        return [
            headers.get("range")
            for headers in self.gets
            if headers["accept-encoding"] == "identity"
        ]


class Handler(BaseHTTPRequestHandler):
    kaggle: Kaggle

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        kaggle = self.kaggle
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kaggle.calls.append((self.path, self._headers(), body))
        if kaggle.silent:
            kaggle.release.wait()
        elif self.path.endswith("/IntrospectToken"):
            known = json.loads(body)["token"] == kaggle.token
            self._answer(
                200,
                {"Content-Type": "application/json"},
                json.dumps({"active": known, "username": "us"}).encode(),
            )
        else:
            self._answer(
                kaggle.api_status,
                {"Location": STORAGE, **kaggle.api_headers},
                b"words\nof the server",
            )

    def do_GET(self) -> None:
        kaggle = self.kaggle
        assert self.path == STORAGE
        kaggle.gets.append(self._headers())
        transfer = self.headers["Accept-Encoding"] == "identity"
        how = kaggle.answers.pop(0) if transfer and kaggle.answers else kaggle.always
        etag = kaggle.etag if how.etag is None else how.etag
        headers = {"ETag": etag} if etag else {}
        status, body = how.status or 200, kaggle.body
        if (
            status == 200
            and how.ranges
            and "Range" in self.headers
            and self.headers["If-Range"] == kaggle.etag
        ):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            status, body = 206, body[start:]
            whole = f"bytes {start}-{len(kaggle.body) - 1}/{len(kaggle.body)}"
            headers["Content-Range"] = how.content_range or whole
        length = str(len(body)) if how.length is None else how.length
        headers |= {"Content-Length": length} if length else {}
        self._answer(status, headers, (body + how.extra)[: how.cut])
        if how.stall:
            kaggle.release.wait()

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        with suppress(ConnectionError):  # the client has seen enough
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()


def environment(home: Path, port: int) -> dict[str, str]:
    """Without credentials, and with all of http going to our server."""
    kept = {
        name: value for name, value in os.environ.items() if not name.upper().startswith("KAGGLE_")
    }
    proxy = f"http://127.0.0.1:{port}"
    ours = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
    }
    return (
        {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
        | ours
        | {"http_proxy": proxy}
    )


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    state = Kaggle()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"kaggle": state}))
    state.port = server.server_port
    wanted = environment(tmp_path, state.port) | {"KAGGLE_USERNAME": "us", "KAGGLE_KEY": "secret"}
    for name in set(os.environ) - set(wanted):
        monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def failure(cache: Path, kind: type[Exception] = DownloadError, timeout: float = 60) -> str:
    """The one line that a failing download ends in."""
    with pytest.raises(kind) as caught:
        fetch(DATASET, cache=cache, progress=False, timeout=timeout)
    message = str(caught.value)
    assert "\n" not in message
    assert DATASET in message
    assert "words" not in message
    assert not list(cache.glob("*.zip"))
    return message


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def part(cache: Path) -> Path:
    [found] = cache.glob("*.part")
    return found


def test_download_equals_the_bytes_of_the_server_and_nothing_else_stays(
    kaggle: Kaggle, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fetch(DATASET, cache=cache)
    assert path == cache / "msambare--fer2013.zip"
    assert path.read_bytes() == ARCHIVE
    assert names(cache) == ["msambare--fer2013.zip"]
    assert capsys.readouterr() == ("", "")  # where there is no terminal, and all is quick


def test_kaggle_gets_the_key_and_the_storage_does_not(kaggle: Kaggle, cache: Path) -> None:
    fetch(DATASET, cache=cache, progress=False)
    [(path, headers, body)] = kaggle.calls
    assert path == "http://localhost/api/v1/datasets.DatasetApiService/DownloadDataset"
    assert headers["authorization"] == f"Basic {b64encode(b'us:secret').decode()}"
    asked = json.loads(body)
    assert (asked["ownerSlug"], asked["datasetSlug"]) == ("msambare", "fer2013")
    assert len(kaggle.gets) == 2
    assert not any("authorization" in headers for headers in kaggle.gets)


def test_token_signs_in_too(kaggle: Kaggle, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-token")
    kaggle.token = "a-token"
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE
    assert kaggle.calls[-1][1]["authorization"] == "Bearer a-token"
    kaggle.token = "another"
    assert "no valid Kaggle credentials" in failure(cache / "second")


def test_archive_in_the_cache_needs_no_network_and_no_credentials(
    kaggle: Kaggle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(DATASET, cache=cache, progress=False)
    kaggle.calls.clear()
    kaggle.gets.clear()
    monkeypatch.delenv("KAGGLE_KEY")
    assert fetch(DATASET, cache=cache) == path
    assert (kaggle.calls, kaggle.gets) == ([], [])


def test_damaged_archive_in_the_cache_is_downloaded_again(kaggle: Kaggle, cache: Path) -> None:
    path = fetch(DATASET, cache=cache, progress=False)
    path.write_bytes(ARCHIVE[:HALF])
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE


def test_cache_is_the_folder_of_the_environment_else_below_home(
    kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEEMO_DATA", raising=False)
    assert fetch(DATASET, progress=False) == tmp_path / ".cache/edgeemo/data/msambare--fer2013.zip"
    monkeypatch.setenv("EDGEEMO_DATA", str(tmp_path / "elsewhere"))
    assert fetch(DATASET, progress=False) == tmp_path / "elsewhere/msambare--fer2013.zip"


def test_cut_off_transfer_goes_on_by_itself(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(cut=HALF)]
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE
    first, second = kaggle.ranges
    assert first is None
    start = int(str(second).removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= HALF
    assert kaggle.gets[-1]["if-range"] == '"one"'


def test_next_command_goes_on_where_the_last_one_stopped(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(cut=HALF), Answer(cut=0)]
    message = failure(cache)
    begun = part(cache).read_bytes()
    assert 0 < len(begun) <= HALF
    assert ARCHIVE.startswith(begun)
    assert f"{len(begun):,} of {len(ARCHIVE):,} bytes" in message
    assert "same command again" in message
    kaggle.gets.clear()
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE
    assert kaggle.ranges == [f"bytes={len(begun)}-"]
    assert names(cache) == ["msambare--fer2013.zip"]


def test_part_that_is_whole_already_is_not_transferred_again(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(cut=HALF), Answer(cut=0)]
    failure(cache)
    part(cache).write_bytes(ARCHIVE)
    kaggle.gets.clear()
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE
    assert kaggle.ranges == []


@pytest.mark.parametrize(
    "second",
    [
        Answer(ranges=False),
        Answer(status=416),
        Answer(content_range=f"bytes 0-{len(ARCHIVE) - 1}/{len(ARCHIVE)}"),
        Answer(content_range=f"bytes {HALF}-{len(ARCHIVE)}/{len(ARCHIVE) + 1}"),
        Answer(etag='"two"'),
    ],
    ids=["ignores the range", "refuses the range", "other start", "other size", "other file"],
)
def test_answer_that_is_not_the_remainder_starts_again(
    kaggle: Kaggle, cache: Path, second: Answer
) -> None:
    kaggle.answers = [Answer(cut=HALF), second]
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE
    # One that ignored the range has sent the whole file already.
    assert [bool(asked) for asked in kaggle.ranges] == [False, True, False][
        : 3 if second.ranges else 2
    ]


def test_part_of_another_version_is_not_continued(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(cut=HALF), Answer(cut=0)]
    failure(cache)
    assert len(OTHER) == len(ARCHIVE)
    kaggle.body, kaggle.etag = OTHER, '"two"'
    kaggle.gets.clear()
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == OTHER
    assert kaggle.ranges == [None]
    assert names(cache) == ["msambare--fer2013.zip"]


def test_without_anything_that_names_the_file_nothing_is_continued(
    kaggle: Kaggle, cache: Path
) -> None:
    kaggle.etag = ""
    kaggle.answers = [Answer(cut=HALF), Answer(cut=0)]
    failure(cache)
    kaggle.body = OTHER
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == OTHER
    assert set(kaggle.ranges) == {None}


def test_stalled_transfer_is_given_up_and_goes_on(kaggle: Kaggle, cache: Path) -> None:
    pytest.importorskip("kaggle")  # its slow import is no part of the wait
    kaggle.answers = [Answer(cut=HALF, stall=True)]
    assert fetch(DATASET, cache=cache, progress=False, timeout=3).read_bytes() == ARCHIVE
    assert kaggle.ranges[1] is not None


def test_transfer_that_is_cut_off_again_and_again_ends(kaggle: Kaggle, cache: Path) -> None:
    kaggle.always = Answer(cut=100_000)
    assert "cut off after" in failure(cache)
    assert len(kaggle.ranges) == ATTEMPTS


@pytest.mark.parametrize("status", [206, 204, 416])
def test_status_that_no_whole_file_has_is_refused(kaggle: Kaggle, cache: Path, status: int) -> None:
    kaggle.answers = [Answer(status=status)]
    assert f"storage.example answered HTTP {status}" in failure(cache)


def test_longer_file_than_announced_is_refused_and_begun_again(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(length="", extra=b"x")]
    assert f"more than the {len(ARCHIVE):,} bytes announced" in failure(cache)
    assert part(cache).stat().st_size == 0
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE


def test_shorter_file_than_announced_is_not_taken(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(length="", cut=HALF)] * ATTEMPTS
    kaggle.answers[1:] = [Answer(length="", cut=0)] * ATTEMPTS
    assert f"cut off after {HALF:,} of {len(ARCHIVE):,}" in failure(cache)


@pytest.mark.parametrize("length", ["", "0", "many", "-5", str(MAX_BYTES + 1), "9" * 500])
def test_size_that_is_missing_or_out_of_bounds_is_refused_before_the_transfer(
    kaggle: Kaggle, cache: Path, length: str
) -> None:
    kaggle.always = Answer(length=length, cut=10)
    message = failure(cache)
    assert f"{MAX_BYTES:,} bytes" in message
    assert "--source fer2013=ARCHIVE" in message
    assert len(message) < 400
    assert kaggle.ranges == []


def test_what_is_no_zip_archive_is_refused_and_removed(kaggle: Kaggle, cache: Path) -> None:
    kaggle.body = b"<html>sign in</html>"
    assert "expected a zip archive" in failure(cache)
    assert names(cache) == []


@pytest.mark.parametrize(
    ("status", "way_out"),
    [
        (401, "make a token at https://www.kaggle.com/settings/api"),
        (403, "accept its terms"),
        (404, "look whether https://www.kaggle.com/datasets/msambare/fer2013 is still there"),
        (429, "wait 17 s"),
        (500, "the fault is at localhost"),
        (503, "the fault is at localhost"),
    ],
)
def test_refusal_names_the_way_out(kaggle: Kaggle, cache: Path, status: int, way_out: str) -> None:
    kaggle.api_status, kaggle.api_headers = status, {"Retry-After": "17"}
    message = failure(cache)
    assert f"HTTP {status}" in message
    assert way_out in message


def test_refusal_by_the_storage_keeps_what_was_brought(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(cut=HALF), Answer(status=503)]
    assert "storage.example answered HTTP 503" in failure(cache)
    assert part(cache).stat().st_size > 0
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE


def test_answer_that_is_no_json_is_no_usable_answer(kaggle: Kaggle, cache: Path) -> None:
    kaggle.api_status, kaggle.api_headers = 200, {"Content-Type": "application/json"}
    assert "no usable answer" in failure(cache)


def test_silent_server_ends_after_the_timeout(kaggle: Kaggle, cache: Path) -> None:
    kaggle.silent = True
    assert "did not answer within 0.2 s" in failure(cache, timeout=0.2)


def test_refused_connection_says_to_check_the_network(
    kaggle: Kaggle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    assert "check the network" in failure(cache)


def test_second_download_at_the_same_time_is_refused(kaggle: Kaggle, cache: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    kaggle.answers = [Answer(cut=HALF), Answer(cut=0)]
    failure(cache)
    with part(cache).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process" in failure(cache)
    assert fetch(DATASET, cache=cache, progress=False).read_bytes() == ARCHIVE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_says_to_make_room(kaggle: Kaggle, cache: Path) -> None:
    kaggle.answers = [Answer(cut=HALF), Answer(cut=0)]
    failure(cache)
    path = part(cache)
    path.unlink()
    path.symlink_to("/dev/full")
    message = failure(cache, StorageError)
    assert "No space left" in message
    assert "make room or set EDGEEMO_DATA" in message


def test_cache_that_cannot_be_made_is_a_storage_error(kaggle: Kaggle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "set EDGEEMO_DATA" in failure(tmp_path / "file" / "cache", StorageError)
    assert kaggle.calls == []


def prepare(environment: dict[str, str], out: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "training", "prepare", "--source", "fer2013", "--out", str(out)]
    return subprocess.run(
        words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


def test_without_credentials_one_line_says_how_to_get_them(tmp_path: Path) -> None:
    done = prepare(environment(tmp_path, 9), tmp_path / "prepared")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert "msambare/fer2013 cannot be downloaded: found no valid Kaggle credentials" in line
    assert "kaggle auth login" in line
    assert "https://www.kaggle.com/settings/api" in line
    assert "KAGGLE_API_TOKEN" in line


def test_settings_folder_that_kaggle_cannot_make_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    settings = {"KAGGLE_CONFIG_DIR": str(tmp_path / "file" / "kaggle")}
    done = prepare(environment(tmp_path, 9) | settings, tmp_path / "prepared")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert "set KAGGLE_CONFIG_DIR to one that can be written" in line


def test_import_loads_no_kaggle_and_opens_no_connection() -> None:
    program = """
import sys
ASKED = ("socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda event, _: print(event) if event in ASKED else None)
import training.data.kaggle
print([name for name in sys.modules if name.partition(".")[0] in ("kaggle", "kagglesdk")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
