"""Keys are written once, for nobody else's eyes, and a signature changes nothing else."""

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeemo.contract.container import unpack
from edgeemo.trust import read_bundle
from export.cli.main import main
from export.signing.keys import KEY, PASSWORD
from tests import support
from tests.edgeemo.trust.signing_support import key_pair, signed, unsigned


def run(*words: object):  # type: ignore[no-untyped-def]
    return support.done_here(main, "python -m export", *words)


def test_a_key_is_its_owners_alone_and_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PASSWORD, "a word")
    assert run("keygen", "fleet").returncode == 0
    secret = Path("fleet.key")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in secret.read_bytes()
    before = secret.read_bytes()
    done = run("keygen", "fleet")
    assert (done.returncode, "never overwritten" in done.stderr) == (1, True)
    assert secret.read_bytes() == before
    assert not list(tmp_path.glob("*part*"))


def test_a_password_is_asked_for_twice_and_then_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSWORD, raising=False)
    done = CliRunner().invoke(main, ["keygen", "fleet"], input="one\none\n")
    assert done.exit_code == 0, done.output
    bundle = unsigned(tmp_path / "mine.edgeemo")
    before = bundle.read_bytes()
    wrong = CliRunner().invoke(main, ["sign", "mine.edgeemo", "--key", "fleet.key"], input="two\n")
    assert (wrong.exit_code, "another password" in str(wrong.exception)) == (1, True)
    assert bundle.read_bytes() == before
    right = CliRunner().invoke(main, ["sign", "mine.edgeemo", "--key", "fleet.key"], input="one\n")
    assert right.exit_code == 0, right.output
    assert read_bundle(bundle, [Path("fleet.pub")]).vouched.by == ("fleet",)


def test_ci_signs_with_key_and_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PASSWORD, "secret")
    run("keygen", "ci")
    monkeypatch.setenv(KEY, Path("ci.key").read_text())
    bundle = unsigned(tmp_path / "mine.edgeemo")
    done = run("sign", bundle, "--out", "signed.edgeemo")
    assert done.returncode == 0, done.stderr
    assert read_bundle("signed.edgeemo", [Path("ci.pub")]).vouched.by == ("ci",)
    monkeypatch.delenv(KEY)
    assert "expected --key NAME.key" in run("sign", bundle).stderr


def test_a_signature_changes_no_other_byte_and_the_same_key_gives_the_same_file(
    tmp_path: Path,
) -> None:
    bundle = unsigned(tmp_path / "mine.edgeemo")
    before = unpack(bundle.read_bytes(), bundle)
    first, second = key_pair(tmp_path, "first"), key_pair(tmp_path, "second")
    signed(bundle, first, second)
    once = bundle.read_bytes()
    after = unpack(once, bundle)
    assert (after.manifest, after.files) == (before.manifest, before.files)
    assert len(after.signatures) == 2
    signed(bundle, second, first)
    assert bundle.read_bytes() == once


def test_what_is_no_bundle_or_no_key_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_pair(tmp_path, "k")
    bundle = unsigned(tmp_path / "mine.edgeemo")
    bundle.write_bytes(bundle.read_bytes()[:-10])
    done = run("sign", bundle, "--key", key)
    assert (done.returncode, "not a bundle or a damaged one" in done.stderr) == (1, True)
    done = run("sign", "mine.edgeemo", "--key", tmp_path / "k.pub")
    assert (done.returncode, "no private key in PEM" in done.stderr) == (1, True)
    done = run("sign", "mine.edgeemo", "--key", tmp_path / "absent.key")
    assert "no such key" in done.stderr


def test_no_key_is_written_over_by_what_it_signs_and_a_name_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("fleet",), ("boards", "--for-images")):
        assert run("keygen", *words, "--no-password").returncode == 0
    bundle = unsigned(tmp_path / "mine.edgeemo")
    assert run("flash-image", bundle, "--out", "model.bin").returncode == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("*.key")}
    for words in (
        ("flash-image", bundle, "--key", "boards.key", "--out", "boards.key"),
        ("sign", "model.bin", "--key", "boards.key", "--out", "boards.key"),
        ("sign", bundle, "--key", "fleet.key", "--out", "fleet.key"),
    ):
        assert run(*words).returncode == 1, words
    picture = tmp_path / "keep.jpg"
    picture.write_bytes(b"\xff\xd8 mine")
    for words in (  # nor another's key, nor what is no file of ours
        ("flash-image", bundle, "--out", "fleet.key"),
        ("flash-image", bundle, "--out", "fleet.pub"),
        ("flash-image", bundle, "--out", picture),
        ("sign", bundle, "--key", "fleet.key", "--out", "boards.pub"),
        ("sign", "model.bin", "--key", "boards.key", "--out", picture),
    ):
        assert run(*words).returncode == 1, words
    assert picture.read_bytes() == b"\xff\xd8 mine"
    assert (tmp_path / "fleet.pub").read_bytes().startswith(b"-----BEGIN ")
    assert run("flash-image", bundle, "--out", "model.bin").returncode == 0  # its own, again
    assert {path: path.read_bytes() for path in tmp_path.glob("*.key")} == before
    done = run("keygen", "folder/", "--no-password")
    assert (done.returncode, "expected a name for the key" in done.stderr) == (1, True)
    assert run("keygen", "", "--no-password").returncode == 2
