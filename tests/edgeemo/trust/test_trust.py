"""Where keys are trusted, only what they have signed is read: by everything that reads bundles."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import edgeemo
from edgeemo.cli.main import main
from edgeemo.contract import signatures
from edgeemo.contract.container import MANIFEST, packed, unpack
from edgeemo.contract.signatures import MESSAGE, Signature, parse_signatures, signatures_bytes
from edgeemo.errors import BundleError, InvalidInput, MissingFile, UntrustedModel
from edgeemo.faces import open_detector
from edgeemo.models import find_model, known
from edgeemo.trust import configured_keys, read_any, read_bundle, read_detector
from edgeemo.trust.keys import ENVIRONMENT, THRESHOLD, TrustedKey, public_pem, trusted_keys
from tests import support
from tests.edgeemo.live.mosquitto import until
from tests.edgeemo.trust.signing_support import key_pair, signed, unsigned

# RFC 8032, section 7.1, test 3: a public key, a message of two bytes, and its signature.
RFC_KEY = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
RFC_SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one trusted key, `fleet`, whose private half lies beside it."""
    folder = tmp_path / "keys"
    key_pair(folder, "fleet")
    monkeypatch.setenv(ENVIRONMENT, str(folder))
    return folder


def run(*words: object):  # type: ignore[no-untyped-def]
    return support.done_here(main, "edgeemo", *words)


def test_shipped_models_are_those_of_the_table() -> None:
    folder = find_model("nano").parent
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.edgeemo")}
    there = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert there == known.SHA256, "run ./scripts/known-models"


def test_signatures_are_those_of_rfc_8032() -> None:
    from edgeemo.trust.ed25519 import is_signed

    assert is_signed(RFC_KEY, RFC_SIGNATURE, bytes.fromhex("af82"))
    assert not is_signed(RFC_KEY, RFC_SIGNATURE, bytes.fromhex("af83"))
    assert not is_signed(RFC_KEY, RFC_SIGNATURE[:-1] + b"\0", bytes.fromhex("af82"))
    assert not is_signed(b"\xff" * 32, RFC_SIGNATURE, bytes.fromhex("af82"))


def test_a_signed_bundle_is_read_and_says_who_signed(keys: Path, tmp_path: Path) -> None:
    path = signed(unsigned(tmp_path / "mine.edgeemo"), keys / "fleet.key")
    assert read_bundle(path).vouched == signatures.Vouched(("fleet",))
    assert edgeemo.load_bundle(path).vouched.by == ("fleet",)
    assert edgeemo.load_bundle("nano").vouched == signatures.Vouched(shipped=True)
    assert "signed       by fleet, trusted here" in run("info", path).stdout


def test_an_unsigned_bundle_is_refused_by_every_verb_before_it_is_parsed(
    keys: Path, tmp_path: Path
) -> None:
    def damage(entries: dict[str, bytes]) -> None:
        entries[MANIFEST] = b"no JSON"

    path = unsigned(tmp_path / "mine.edgeemo")
    worse = support.rezip(path, tmp_path / "worse.edgeemo", damage)
    for bundle in (path, worse):
        for read in (read_bundle, read_any, read_detector, edgeemo.load_bundle):
            with pytest.raises(UntrustedModel, match="received an unsigned bundle"):
                read(bundle)
        with pytest.raises(UntrustedModel):
            open_detector("face", bundle)
    picture = support.REPOSITORY / "docs/leaks.png"
    for words in (
        ("predict", picture, "--model", path, "--detector", "whole"),
        ("predict", picture, "--detector", "face", "--detector-model", path),
        ("watch", "--camera", picture, "--model", path, "--detector", "whole"),
        ("evaluate", path, tmp_path),
        ("evaluate", path, tmp_path, "--isolated"),
        ("install", path, "--slots", tmp_path / "slots"),
        ("info", path),
        ("bench", path),
        ("flash", path, "--port", "/dev/null", "--dry-run"),
        ("doctor", "--model", path, "--detector", "whole"),
    ):
        done = run(*words)
        assert done.returncode == 1, words
        assert "received an unsigned bundle" in done.stdout + done.stderr, words


def test_serve_as_a_process_listens_with_a_signed_bundle_and_never_with_another(
    keys: Path, tmp_path: Path
) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    bundle, picture = unsigned(tmp_path / "mine.edgeemo"), support.REPOSITORY / "docs/leaks.png"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "edgeemo", "serve", "--camera", picture, "--detector", "whole",
             "--model", bundle, "--port", str(port)]  # fmt: skip
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=support.REPOSITORY, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "received an unsigned bundle" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    signed(bundle, keys / "fleet.key")
    process = subprocess.Popen(words, cwd=support.REPOSITORY, stderr=subprocess.PIPE)
    try:
        until(lambda: process.poll() is not None or not connect(port))
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate()


def connect(port: int) -> int:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port))


def test_an_image_is_flashed_where_keys_are_trusted_only_if_its_own_key_is_named(
    keys: Path, tmp_path: Path
) -> None:
    from export.cli.main import main as export

    image, bundle = tmp_path / "model.bin", unsigned(tmp_path / "mine.edgeemo")
    flash = ("flash", image, "--port", "/dev/null", "--dry-run")
    for name in ("boards", "other"):
        words = ("keygen", tmp_path / name, "--for-images", "--no-password")
        assert support.done_here(export, "python -m export", *words).returncode == 0
    signed(bundle, keys / "fleet.key")
    words = ("flash-image", bundle, "--out", image)
    assert support.done_here(export, "python -m export", *words).returncode == 0
    boards, other = tmp_path / "boards.pub", tmp_path / "other.pub"
    unsigned_image = image.read_bytes()
    done = run(*flash)
    assert (done.returncode, "which their keys cannot sign" in done.stderr) == (1, True)
    done = run(*flash, "--key", boards)
    assert (done.returncode, "received none" in done.stderr) == (1, True)
    words = ("sign", image, "--key", tmp_path / "boards.key")
    assert support.done_here(export, "python -m export", *words).returncode == 0
    assert run(*flash).returncode == 1  # the device's keys say nothing of it
    done = run(*flash, "--key", other)
    assert (done.returncode, "not trusted here" in done.stderr) == (1, True)
    done = run(*flash, "--key", other, "--key", boards)
    assert (done.returncode, "would write nano" in done.stdout) == (0, True)
    done = run("flash", bundle, *flash[2:], "--key", boards)
    assert (done.returncode, "expected a signed model.bin" in done.stderr) == (1, True)
    row = json.loads(run("verify", image, "--key", boards, "--json").stdout)
    assert (row["ok"], [one["state"] for one in row["signatures"]]) == (True, ["right"])
    assert run("verify", image, "--key", other).returncode == 1
    folder = tmp_path / "keys of boards"
    folder.mkdir(mode=0o755)
    for key in (boards, other):
        shutil.copy(key, folder)
    assert run("verify", image, "--key", folder).returncode == 0  # one of its keys suffices
    assert "pass the key of its firmware" in run("verify", image).stderr
    changed = bytearray(image.read_bytes())
    torn = tmp_path / "torn.bin"
    torn.write_bytes(changed[:-60])
    done = run("flash", torn, *flash[2:])
    assert (done.returncode, "a signature behind it is cut off" in done.stderr) == (1, True)
    changed[132:136] = b"evil"  # its name, with hashes that fit
    changed[204:208] = zlib.crc32(changed[:204]).to_bytes(4, "little")
    image.write_bytes(changed)
    done = run("verify", image, "--key", boards)
    assert (done.returncode, "boards              wrong" in done.stdout) == (1, True)
    assert len(unsigned_image) + 128 <= len(changed)


def test_each_kind_of_key_signs_its_own_kind_of_file(keys: Path, tmp_path: Path) -> None:
    from export.cli.main import main as export

    def said(*words: object) -> tuple[int, str]:
        done = support.done_here(export, "python -m export", *words)
        return done.returncode, done.stderr

    said("keygen", tmp_path / "boards", "--for-images", "--no-password")
    boards = tmp_path / "boards.key"
    image, bundle = tmp_path / "model.bin", unsigned(tmp_path / "mine.edgeemo")
    said("flash-image", "nano", "--out", image)
    code, text = said("sign", bundle, "--key", boards)
    assert (code, "expected an Ed25519 key" in text) == (1, True)
    code, text = said("sign", image, "--key", keys / "fleet.key")
    assert (code, "expected a P-256 key" in text) == (1, True)
    with pytest.raises(InvalidInput, match="signs images of microcontrollers and no bundles"):
        read_bundle(bundle, [boards.with_suffix(".pub")])
    done = run("verify", image, "--key", keys / "fleet.pub")
    assert (done.returncode, "expected a P-256 public key" in done.stderr) == (1, True)


def test_another_yunet_is_refused_where_keys_are_trusted(keys: Path, tmp_path: Path) -> None:
    other = tmp_path / "yunet.onnx"
    other.write_bytes(b"onnx")
    with pytest.raises(UntrustedModel, match=r"expected YuNet's .*edgeemo models pull yunet"):
        open_detector("yunet", other)


def test_without_keys_any_whole_bundle_runs_and_doctor_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    path = unsigned(tmp_path / "mine.edgeemo")
    assert configured_keys() is None
    assert edgeemo.load_bundle(path).vouched == signatures.UNASKED
    wrongly = signed(path, key_pair(tmp_path, "stranger"), out=tmp_path / "signed.edgeemo")
    assert edgeemo.load_bundle(wrongly).vouched == signatures.UNASKED
    lines = run("doctor", "--model", path, "--detector", "whole", "--json").stdout.splitlines()
    whose = [row for row in map(json.loads, lines) if row["name"] == "signed"]
    assert [row["state"] for row in whose] == ["note"]
    assert "no key is trusted here" in whose[0]["text"]


def test_a_strangers_signature_a_moved_one_and_a_changed_model_are_refused(
    keys: Path, tmp_path: Path
) -> None:
    stranger = key_pair(tmp_path, "stranger")
    path = unsigned(tmp_path / "mine.edgeemo")
    theirs = signed(path, stranger, out=tmp_path / "theirs.edgeemo")
    with pytest.raises(UntrustedModel, match="[0-9a-f]{16}: not trusted here"):
        read_bundle(theirs)
    ours = signed(path, keys / "fleet.key", out=tmp_path / "ours.edgeemo")
    good = unpack(ours.read_bytes(), ours)
    other = unpack(find_model("small").read_bytes(), ours)
    moved = tmp_path / "moved.edgeemo"
    moved.write_bytes(packed(other.manifest, other.files, good.signatures))
    with pytest.raises(UntrustedModel, match="fleet: wrong"):
        read_bundle(moved)
    changed = dict(good.files)
    changed["int8.tflite"] = changed["int8.tflite"][:-1] + b"\1"
    moved.write_bytes(packed(good.manifest, changed, good.signatures))
    with pytest.raises(BundleError, match="is not the file that its manifest names"):
        read_bundle(moved)


def test_a_signature_of_the_bare_manifest_is_none_of_the_bundle(keys: Path, tmp_path: Path) -> None:
    from export.signing.keys import open_private, private_text

    private = open_private(private_text(keys / "fleet.key")[0], None, "fleet")
    path = unsigned(tmp_path / "mine.edgeemo")
    contents = unpack(path.read_bytes(), path)
    (key,) = trusted_keys([keys]).keys
    bare = Signature(key.id, private.sign(contents.manifest).hex())
    path.write_bytes(packed(contents.manifest, contents.files, [bare]))
    with pytest.raises(UntrustedModel, match="fleet: wrong"):
        read_bundle(path)
    right = Signature(key.id, private.sign(MESSAGE + contents.manifest).hex())
    path.write_bytes(packed(contents.manifest, contents.files, [right]))
    assert read_bundle(path).vouched.by == ("fleet",)


def test_a_threshold_counts_different_keys(keys: Path, tmp_path: Path) -> None:
    second = key_pair(keys, "second")
    (keys / THRESHOLD).write_text("2\n")
    one = signed(unsigned(tmp_path / "one.edgeemo"), keys / "fleet.key", keys / "fleet.key")
    with pytest.raises(UntrustedModel, match=r"expected signatures of 2 of fleet .*, second"):
        read_bundle(one)
    both = signed(one, second)
    assert read_bundle(both).vouched.by == ("fleet", "second")
    (keys / "again.pub").write_bytes((keys / "fleet.pub").read_bytes())  # one key, two names
    assert len(trusted_keys([keys]).keys) == 2
    (keys / THRESHOLD).write_text("3")
    with pytest.raises(InvalidInput, match="3 signatures are asked for and 2 keys"):
        read_bundle(both)


def test_what_is_configured_and_cannot_be_read_never_means_that_anything_runs(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = signed(unsigned(tmp_path / "mine.edgeemo"), keys / "fleet.key")
    with pytest.raises(InvalidInput, match="an empty|expected a list"):
        edgeemo.load_bundle(path, trusted_keys=[])
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "absent"))
    with pytest.raises(MissingFile, match="no such trusted key"):
        edgeemo.load_bundle(path)
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv(ENVIRONMENT, str(empty))
    with pytest.raises(MissingFile, match="found none"):
        edgeemo.load_bundle(path)
    (empty / "x.pub").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(InvalidInput, match="expected an Ed25519 public key"):
        edgeemo.load_bundle(path)
    monkeypatch.setenv(ENVIRONMENT, str(keys))
    (keys / "fleet.pub").chmod(0o666)
    with pytest.raises(InvalidInput, match="everybody may write it"):
        edgeemo.load_bundle(path)
    assert edgeemo.load_bundle("nano", trusted_keys=[find_key(tmp_path)]).vouched.shipped


def find_key(folder: Path) -> Path:
    return key_pair(folder, "other").with_suffix(".pub")


def test_keys_of_a_call_stand_in_place_of_the_configured_ones(keys: Path, tmp_path: Path) -> None:
    stranger = key_pair(tmp_path, "stranger")
    path = signed(unsigned(tmp_path / "mine.edgeemo"), stranger)
    with pytest.raises(UntrustedModel):
        edgeemo.load_bundle(path)
    theirs = [stranger.with_suffix(".pub")]
    assert edgeemo.load_bundle(path, trusted_keys=theirs).vouched.by == ("stranger",)


def test_without_cryptography_signatures_count_for_nothing_and_shipped_models_run(
    keys: Path, tmp_path: Path
) -> None:
    path = signed(unsigned(tmp_path / "mine.edgeemo"), keys / "fleet.key")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "cryptography").mkdir()  # a folder without code is no package
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n == 'cryptography' else find(n, *a)\n"
        "import edgeemo\n"
        "print(edgeemo.load_bundle('nano').vouched.shipped)\n"
        "try: edgeemo.load_bundle(sys.argv[1])\n"
        "except edgeemo.EdgeemoError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True,
        cwd=support.REPOSITORY, env=os.environ,
    )  # fmt: skip
    assert done.stdout.startswith("True\nMissingDependency cryptography")
    assert "edgeemo[trust]" in done.stdout or ".[trust]" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not valid"),
        (b'{"version":2,"signatures":[]}', "expected version 1"),
        (b'{"version":1,"signatures":[]}', "0 signatures, expected 1 to 16"),
        (b'{"version":1,"signatures":[{"key":"ab","signature":"cd"}]}', "expected a key of 64"),
        (b" " * 17000, "more than 16,384 bytes"),
        (
            json.dumps(
                {"version": 1, "signatures": [{"key": "a" * 64, "signature": "b" * 128}] * 2}
            ).encode(),
            "two signatures of one key",
        ),
        (
            json.dumps(
                {
                    "version": 1,
                    "signatures": [
                        {"key": f"{i:064x}", "signature": "b" * 128} for i in range(17)
                    ],
                }
            ).encode(),
            "17 signatures",
        ),
    ],
)  # fmt: skip
def test_a_hostile_list_of_signatures_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    def add(entries: dict[str, bytes]) -> None:
        entries[signatures.FILE] = text

    path = support.rezip(find_model("nano"), tmp_path / "x.edgeemo", add)
    with pytest.raises(BundleError, match=message):
        read_bundle(path)


def test_a_list_of_signatures_is_read_as_it_was_written() -> None:
    made = [Signature(f"{i:064x}", f"{i:0128x}") for i in (2, 1)]
    assert parse_signatures(signatures_bytes(made)) == tuple(reversed(made))


def test_one_more_entry_than_signatures_is_refused(tmp_path: Path) -> None:
    def add(entries: dict[str, bytes]) -> None:
        entries["extra.json"] = b"{}"

    path = support.rezip(find_model("nano"), tmp_path / "x.edgeemo", add)
    with pytest.raises(BundleError, match=r"unknown entries \['extra.json'\]"):
        read_bundle(path)


def test_verify_says_who_signed_and_exits_1_where_too_few_have(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = key_pair(tmp_path, "stranger")
    path = signed(unsigned(tmp_path / "mine.edgeemo"), stranger)
    done = run("verify", path, "--json")
    row = json.loads(done.stdout)
    assert (done.returncode, row["ok"], row["needed"]) == (1, False, 1)
    assert [one["state"] for one in row["signatures"]] == ["not trusted here"]
    assert "it would be refused" in done.stderr
    signed(path, keys / "fleet.key")
    done = run("verify", path)
    assert done.returncode == 0
    assert "fleet               right" in done.stdout
    assert "1 of 1 signatures that are needed" in done.stdout
    assert run("verify", path, "--key", stranger.with_suffix(".pub")).returncode == 0
    assert "ships with this edgeemo" in run("verify", "nano").stdout
    monkeypatch.delenv(ENVIRONMENT)
    assert "pass its maker's with --key" in run("verify", path).stderr


def test_public_keys_are_what_openssl_reads() -> None:
    pem = public_pem(RFC_KEY)
    done = subprocess.run(
        ["openssl", "pkey", "-pubin", "-noout", "-text"], input=pem, capture_output=True, check=True
    )
    assert RFC_KEY.hex()[:8] in done.stdout.decode().replace(":", "").replace(" ", "")
    assert TrustedKey("x", RFC_KEY).id == hashlib.sha256(RFC_KEY).hexdigest()
