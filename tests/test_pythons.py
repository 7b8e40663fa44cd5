"""The wheel runs on Python 3.10, which JetPack 6 brings: by what vermin and pyproject.toml say."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def needed(*paths: Path) -> subprocess.CompletedProcess[str]:
    """vermin's verdict on Python files, against 3.10."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from vermin import main; main()",
            "-t=3.10-",
            "--no-tips",
            "--violations",
            *map(str, paths),
        ],
        capture_output=True,
        text=True,
    )


def test_the_wheel_needs_no_newer_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=3.10"
    assert project["tool"]["ruff"]["per-file-target-version"]["edgeemo/**"] == "py310"
    assert "mypy --python-version 3.10 " in (ROOT / "scripts" / "test").read_text()
    done = needed(ROOT / "edgeemo", ROOT / "firmware_examples")
    assert done.returncode == 0, done.stdout


def test_what_needs_a_newer_one_is_seen(tmp_path: Path) -> None:
    (tmp_path / "newer.py").write_text(
        "from typing import Self\nimport hashlib\nhashlib.file_digest\n"
    )
    done = needed(tmp_path)
    assert done.returncode != 0
    assert "3.11" in done.stdout
