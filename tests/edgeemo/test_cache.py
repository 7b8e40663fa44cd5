"""Where the cache lies, with a home and without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeemo.cache import cache_folder


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
