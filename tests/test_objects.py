"""The objects that firmware tests share are what a compiler makes of each source, and no error or
warning is lost by them."""

import subprocess
from pathlib import Path

import pytest

from tests import objects
from tests.export.firmware.firmware_support import program


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "objects"
    folder.mkdir()
    monkeypatch.setenv(objects.FOLDER, str(folder))
    return folder


def answer(folder: Path, number: str, *flags: str) -> str:
    """What a program says whose header, in a folder of its own, holds `number`."""
    folder.mkdir()
    (folder / "number.h").write_text(f"#define NUMBER {number}\n")
    (folder / "number.c").write_text('#include "number.h"\nint number(void) { return NUMBER; }\n')
    (folder / "main.c").write_text(
        "#include <stdio.h>\nint number(void);\n"
        'int main(void) { printf("%d\\n", number()); return 0; }\n'
    )
    sources = [str(folder / "main.c"), str(folder / "number.c")]
    words = [program("gcc"), *flags, f"-I{folder}", "-o", str(folder / "out"), *sources]
    done = objects.compiled(words)
    assert done.returncode == 0, done.stderr
    return subprocess.run([folder / "out"], capture_output=True, text=True).stdout


def test_a_source_is_compiled_once_for_the_same_text_and_flags(store: Path, tmp_path: Path) -> None:
    assert answer(tmp_path / "a", "4") == "4\n"
    assert len(list(store.iterdir())) == 2
    assert answer(tmp_path / "b", "4") == "4\n"
    assert len(list(store.iterdir())) == 2
    assert answer(tmp_path / "c", "5") == "5\n"  # another header
    assert len(list(store.iterdir())) == 3
    assert answer(tmp_path / "d", "MORE", "-DMORE=6") == "6\n"
    assert len(list(store.iterdir())) == 5


def test_a_warning_is_said_each_time_and_an_error_ends_it(store: Path, tmp_path: Path) -> None:
    source = tmp_path / "unused.c"
    source.write_text("int main(void) { int unused; return 0; }\n")
    words = [program("gcc"), "-Wall", "-o", str(tmp_path / "out"), str(source)]
    for _ in range(2):
        done = objects.compiled(words)
        assert done.returncode == 0
        assert "unused variable" in done.stderr
        refused = objects.compiled([*words, "-Werror"])
        assert refused.returncode == 1
        assert "unused variable" in refused.stderr
    source.write_text("#error never\n")
    assert "#error never" in objects.compiled(words).stderr
    assert list(store.iterdir()) == []
