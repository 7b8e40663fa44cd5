"""Where the cache lies, with a home and without."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeemo.cache import cache_folder
from tests import support


def test_xdg_cache_home_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgeemo"


@pytest.mark.parametrize("word", ["", "relative/cache"])
def test_the_home_folder_comes_next_and_a_relative_word_does_not_count(
    word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", word)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "edgeemo"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user id that no user has")
def test_a_user_without_a_home_has_a_folder_of_its_own_among_the_temporary_ones() -> None:
    code = "import os; from edgeemo.cache import cache_folder; os.setuid(123456); "
    code += "print(cache_folder())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CACHE_HOME")
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().endswith("/edgeemo-123456")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("kind", ["another user's folder", "a link", "one that all may write"])
def test_a_folder_that_others_could_fill_is_no_cache(kind: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    planted = tmp_path / "edgeemo-123456"
    if kind == "a link":
        (tmp_path / "elsewhere").mkdir()
        planted.symlink_to(tmp_path / "elsewhere")
    else:
        planted.mkdir()
    if kind == "one that all may write":
        os.chown(planted, 123456, 123456)
        planted.chmod(0o777)
    code = "import os; from edgeemo.cache import cache_folder; os.setuid(123456); "
    code += "folder = cache_folder(); state = folder.stat(); "
    code += "print(folder, state.st_uid, oct(state.st_mode & 0o777))"
    without = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=without | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, owner, mode = done.stdout.split()
    assert folder != str(planted)
    assert Path(folder).parent == tmp_path
    assert (owner, mode) == ("123456", "0o700")
    assert not Path(folder).exists()  # it went with its process


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and read, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def as_nobody(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`edgeemo WORDS` under a user id that no user has, without groups and HOME."""
    setpriv = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    return subprocess.run(
        [*setpriv, sys.executable, "-m", "edgeemo", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=kept | {"PYTHONPATH": str(support.REPOSITORY)} | environment,
    )


@pytest.mark.parametrize("home", ["none", "closed", "read-only"])
def test_without_a_home_everything_that_needs_no_cache_works(home: str, open_folder: Path) -> None:
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, and setpriv of util-linux, to become a user id that no user has")
    if (code := as_nobody("--version", cwd=open_folder)).returncode:
        pytest.skip(f"needs an environment that every user may read ({code.stderr[-80:].strip()})")
    picture, folder = open_folder / "face.png", open_folder / "home"
    picture.write_bytes(support.png_of(96, 96))
    picture.chmod(0o644)
    folder.mkdir(mode=0o700 if home == "closed" else 0o555)
    given = {"TMPDIR": str(open_folder)} | ({} if home == "none" else {"HOME": str(folder)})
    for words in (
        ("predict", picture, "--artifact", "int8.onnx"),
        ("watch", picture, "--json"),
        ("models", "list"),
    ):
        done = as_nobody(*words, cwd=open_folder, **given)
        assert done.returncode == 0, done.stderr
        assert done.stdout
