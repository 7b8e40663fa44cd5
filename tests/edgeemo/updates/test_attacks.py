"""Each attack that TUF's specification names (1.5.2), against a real server on loopback."""

import functools
import http.server
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edgeemo.cli.main import main
from edgeemo.errors import InvalidInput, UpdateError
from edgeemo.models import find_model
from edgeemo.slots import Slots
from edgeemo.updates.client import Source, update
from edgeemo.updates.releases import Index, Release, chosen, parse_index, ring, with_release
from tests import support

tuf = pytest.importorskip("tuf", reason="needs the extra update")

from edgeemo.trust.ed25519 import new_private  # noqa: E402
from export.publish.repository import Repository, signer_of  # noqa: E402


class Server(http.server.ThreadingHTTPServer):
    """Files of a folder; `strange` answers paths in its own way."""

    daemon_threads = False  # so that `server_close` waits for answers that are on their way
    strange: Callable[[http.server.BaseHTTPRequestHandler], bool] | None = None
    asked: list[str]
    told: list[dict[str, Any]]


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if not (self.server.strange and self.server.strange(self)):
            super().do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: pytest shows stderr."""


class Fleet:
    """A repository of one release on a server, its keys, and a device that has updated once."""

    def __init__(self, folder: Path) -> None:
        self.keys = {
            name: signer_of(new_private()) for name in ("a", "b", "targets", "online", "thief")
        }
        self.folder = folder / "site"
        self.repository = Repository(self.folder)
        root = [self.keys["a"], self.keys["b"]]
        first = self.repository.init(root, 2, [self.keys["targets"]], [self.keys["online"]])
        self.root = Path(shutil.copy(first, folder / "root.json"))
        self.slots = Slots(folder / "slots")
        self.slots.folder.mkdir()
        handler = functools.partial(Handler, directory=str(self.folder))
        self.server = Server(("127.0.0.1", 0), handler)
        self.server.asked, self.server.told = [], []
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.publish("nano")

    def publish(self, model: str, percent: int = 100) -> None:
        keys = self.keys
        path = find_model(model)
        self.repository.publish(path, "stable", percent, [keys["targets"]], [keys["online"]])

    def check(self, **changes: Any) -> str:
        """`update --check`, which does all but install: what it says. Raises UpdateError."""
        source = Source(self.url, "device-1", root=self.root, seconds=20)
        return update(Source(**(vars(source) | changes)), self.slots, check=True).text

    def file(self, name: str) -> Path:
        return self.folder / "metadata" / name

    def forged(self, name: str, signer: str, change: Callable[[Any], None]) -> None:
        """A metadata file changed and signed by whoever it is."""
        from tuf.api.metadata import Metadata

        metadata = Metadata.from_bytes(self.file(name).read_bytes())
        change(metadata.signed)
        metadata.signatures.clear()
        metadata.sign(self.keys[signer])
        self.file(name).write_bytes(metadata.to_bytes())


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def expired(signed: Any) -> None:
    signed.expires = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


def test_a_release_is_found_and_nothing_is_sent_but_requests(fleet: Fleet) -> None:
    assert "nano" in fleet.check()
    assert all("device-1" not in path and "?" not in path for path in fleet.server.asked)
    assert "nano" in fleet.check(place=str(fleet.folder))  # a folder, such as a stick


def test_arbitrary_software(fleet: Fleet) -> None:
    (target,) = (fleet.folder / "targets").glob("*.stable.json")
    other = json.loads(target.read_bytes())
    other["releases"][0]["percent"] = 99
    target.write_text(json.dumps(other))
    with pytest.raises(UpdateError, match=r"LengthOrHashMismatch|DownloadLengthMismatch"):
        fleet.check()


def test_rollback(fleet: Fleet, tmp_path: Path) -> None:
    old = Path(shutil.copytree(fleet.folder, tmp_path / "old"))
    fleet.publish("nano-fer2013")
    assert "nano-fer2013" in fleet.check()
    shutil.copy(old / "metadata" / "timestamp.json", fleet.file("timestamp.json"))
    with pytest.raises(UpdateError, match="BadVersionNumber") as error:
        assert "nano-fer2013" not in fleet.check()
    assert "nothing changed" in str(error.value)


def test_fast_forward_is_recovered_from_by_new_keys(fleet: Fleet) -> None:
    def far(signed: Any) -> None:
        signed.version = 2**31

    fleet.check()
    fleet.forged("timestamp.json", "online", far)  # the key was stolen
    fleet.check()
    fleet.keys["new"] = signer_of(new_private())
    stolen = fleet.keys["online"].public_key
    root = [fleet.keys["a"], fleet.keys["b"]]
    fleet.repository.rotate("online", [fleet.keys["new"].public_key], [stolen.keyid], root)
    fleet.keys["online"] = fleet.keys["new"]
    fleet.forged("timestamp.json", "online", lambda signed: setattr(signed, "version", 2))
    fleet.repository.renew([fleet.keys["online"]])
    assert "nano" in fleet.check()


def test_freeze(fleet: Fleet) -> None:
    fleet.forged("timestamp.json", "online", expired)
    with pytest.raises(UpdateError, match="not renewed any more, or somebody holds newer"):
        fleet.check()


def test_endless_data(fleet: Fleet) -> None:
    sent = []

    def endless(handler: http.server.BaseHTTPRequestHandler) -> bool:
        if "timestamp" not in handler.path:
            return False
        handler.send_response(200)
        handler.end_headers()
        try:
            while len(sent) < 10_000:
                handler.wfile.write(b" " * 65536)
                sent.append(1)
        except OSError:
            pass
        return True

    fleet.server.strange = endless
    with pytest.raises(UpdateError, match="DownloadLengthMismatch"):
        fleet.check()
    assert len(sent) < 1000


def test_extraneous_dependencies(fleet: Fleet) -> None:
    """An index that names what no targets role has signed."""
    (path,) = (fleet.folder / "targets").glob("*.stable.json")
    index = parse_index(path.read_bytes(), "stable")
    extra = Release("stable/extra-1.0.0.edgeemo", "0" * 64, "extra", "1.0.0", 100)
    repository, api = fleet.repository, fleet.repository._api
    metadata = repository._newest("targets")
    data = Index(1, (extra, *index.releases)).to_bytes()
    metadata.signed.targets["stable.json"] = api.TargetFile.from_data(
        "stable.json", data, ["sha256"]
    )
    repository._store("stable.json", data)
    repository._next(metadata, [fleet.keys["targets"]])
    repository.renew([fleet.keys["online"]])
    source = Source(fleet.url, "device-1", root=fleet.root)
    with pytest.raises(UpdateError, match="no signed target of this repository"):
        update(source, fleet.slots)
    assert not list(fleet.slots.folder.glob("*.edgeemo"))


def test_mix_and_match(fleet: Fleet) -> None:
    fleet.publish("nano-fer2013")
    newest, older = sorted(
        (int(p.name.partition(".")[0]) for p in fleet.file("").glob("*.targets.json")),
        reverse=True,
    )[:2]
    shutil.copy(fleet.file(f"{older}.targets.json"), fleet.file(f"{newest}.targets.json"))
    with pytest.raises(UpdateError, match="BadVersionNumber"):
        fleet.check()


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_wrong_key(fleet: Fleet, name: str) -> None:
    fleet.forged(name, "thief", lambda signed: None)
    with pytest.raises(UpdateError, match=r"UnsignedMetadata|LengthOrHashMismatch"):
        fleet.check()


def test_keys_below_the_threshold_sign_no_root(fleet: Fleet) -> None:
    with pytest.raises(UpdateError, match="lacks 1 signatures of the old root keys"):
        fleet.repository.rotate("root", [], [], [fleet.keys["a"]])
    shutil.copy(fleet.file("1.root.json"), fleet.file("2.root.json"))

    def thieves(signed: Any) -> None:
        signed.version = 2
        for role in ("root", "targets", "snapshot", "timestamp"):
            signed.add_key(fleet.keys["thief"].public_key, role)
            signed.roles[role].threshold = 1

    fleet.forged("2.root.json", "a", thieves)
    with pytest.raises(UpdateError, match="UnsignedMetadata"):
        fleet.check()


def test_slow_retrieval(fleet: Fleet) -> None:
    def trickle(handler: http.server.BaseHTTPRequestHandler) -> bool:
        if "timestamp" not in handler.path:
            return False
        data = fleet.file("timestamp.json").read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        try:
            for byte in data:
                handler.wfile.write(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass
        return True

    fleet.server.strange = trickle
    began = time.monotonic()
    with pytest.raises(UpdateError, match="SlowRetrieval"):
        fleet.check(seconds=0.5)
    assert time.monotonic() - began < 10


STRANGE = {
    "no HTTP": b"\0\xff\r\n\r\n",
    "nothing": b"",
    "a status that is none": b"HTTP/1.1 abc OK\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "an end before its length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "a line without end": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
    "a way in circles": b"HTTP/1.1 302 Found\r\nLocation: /metadata/timestamp.json\r\n\r\n",
    "a way to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    "JSON that is deep": b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 15_000,
    "no UTF-8": b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe",
    "an error of its own": b"HTTP/1.1 500 No\r\n\r\n",
}


def test_whatever_a_server_answers_is_an_update_error(fleet: Fleet) -> None:
    def strange(answer: bytes, handler: http.server.BaseHTTPRequestHandler) -> bool:
        if "timestamp" not in handler.path:
            return False
        handler.wfile.write(answer)
        handler.close_connection = True
        return True

    for what, answer in STRANGE.items():
        fleet.server.strange = functools.partial(strange, answer)
        with pytest.raises(UpdateError, match="nothing changed"):
            pytest.fail(f"{what}: {fleet.check()}")


def test_without_a_trusted_root_nothing_is_fetched(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no root that is trusted"):
        fleet.check(root=tmp_path / "absent.json")
    assert fleet.server.asked == []


def test_rotated_root_keys_are_followed_from_the_first_root(fleet: Fleet) -> None:
    fleet.check()
    fleet.keys["c"] = signer_of(new_private())
    old = fleet.keys["a"].public_key.keyid
    signers = [fleet.keys["a"], fleet.keys["b"], fleet.keys["c"]]
    fleet.repository.rotate("root", [fleet.keys["c"].public_key], [old], signers)
    assert "nano" in fleet.check()


def test_no_role_is_left_without_the_keys_that_it_needs(fleet: Fleet) -> None:
    root = [fleet.keys["a"], fleet.keys["b"]]
    old, new = (fleet.keys[name].public_key for name in ("targets", "thief"))
    with pytest.raises(InvalidInput, match="targets would have 0 keys and need 1 of them"):
        fleet.repository.rotate("targets", [], [old.keyid], root)
    for threshold in (0, 3):
        with pytest.raises(InvalidInput, match=f"would have 2 keys and need {threshold}"):
            fleet.repository.rotate("targets", [new], [], root, threshold)
    assert not fleet.file("2.root.json").exists()


def test_a_damaged_file_of_the_repository_is_named(fleet: Fleet) -> None:
    fleet.file("x.targets.json").write_text("an editor's")  # no version of ours
    fleet.publish("nano-fer2013")
    for text in (b"", b"[", b'{"signed": 1}'):
        fleet.file("9.targets.json").write_bytes(text)
        with pytest.raises(UpdateError, match=r"9\.targets\.json: damaged"):
            fleet.publish("nano")
    fleet.file("9.targets.json").unlink()
    fleet.file("timestamp.json").unlink()
    with pytest.raises(UpdateError, match=r"timestamp\.json: damaged"):
        fleet.publish("nano")


def test_update_installs_once_and_a_failed_release_is_not_tried_again(fleet: Fleet) -> None:
    words = ("update", "--url", fleet.url, "--root", fleet.root, "--device-id", "device-1",
             "--slots", fleet.slots.folder)  # fmt: skip
    done = support.done_here(main, "edgeemo", *words)
    assert done.returncode == 0, done.stderr
    assert "installed into slot a, kept" in done.stdout
    assert fleet.server.told == []  # nothing is told unless it is asked for
    told = support.done_here(main, "edgeemo", *words, "--report-to", f"{fleet.url}/told")
    assert "up to date" in told.stdout
    (report,) = fleet.server.told
    assert (report["device"], report["release"]["name"], report["new"]) == (
        "device-1", "nano", False,
    )  # fmt: skip
    refused = support.done_here(main, "edgeemo", *words, "--report-to", f"{fleet.url[:-3]}1/x")
    assert refused.returncode == 0  # a report that fails is no failure of the update
    for nowhere in ("http://a..b/x", "http://a b/x", "http://", "http://[::1", "http://:99999/"):
        assert support.done_here(main, "edgeemo", *words, "--report-to", nowhere).returncode == 2
    for secret in (
        "http://me:word@h/x",
        "http://me:word@[::1",
        "mqtt://me:word@h",
        "ftp://me:word@h",
    ):
        told = support.done_here(main, "edgeemo", *words, "--report-to", secret)
        assert (told.returncode, "word@" in told.stderr) == (2, False), secret
    fleet.forged("timestamp.json", "thief", lambda signed: None)
    failed = support.done_here(main, "edgeemo", *words, "--report-to", f"{fleet.url}/told")
    assert failed.returncode == 1
    report = fleet.server.told[-1]
    assert (report["ok"], report["release"]) == (False, None)
    assert "refused (UnsignedMetadataError" in report["text"]
    wrong = support.done_here(main, "edgeemo", *words, "--report-to", "ftp://x/y")
    assert (wrong.returncode, "expected an http(s) or mqtt(s) address" in wrong.stderr) == (2, True)


def test_an_address_without_a_host_is_told_on_one_line(fleet: Fleet) -> None:
    words = ("update", "--url", "http://a..b", "--root", fleet.root, "--slots", fleet.slots.folder)
    done = support.done_here(main, "edgeemo", *words)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "http://a..b" in done.stderr
    assert "unexpected" not in done.stderr


def test_rings_are_a_share_of_the_devices_and_only_grow() -> None:
    new, old = (Release(f"stable/{n}.edgeemo", n * 64, n, "1.0.0", 100) for n in "ab")
    few = Release(new.path, new.sha256, new.name, new.version, 5)
    devices = [f"device-{i}" for i in range(4000)]
    first = {d for d in devices if chosen(Index(1, (few, old)), d) == few}
    assert 0.03 < len(first) / len(devices) < 0.07
    assert all(chosen(Index(1, (few, old)), d) == old for d in devices if d not in first)
    more = Release(new.path, new.sha256, new.name, new.version, 25)
    assert first < {d for d in devices if ring(d, more) < 25}
    assert [one.percent for one in with_release((few, old), more)] == [25, 100]
    assert with_release((few, old), new) == (new,)
