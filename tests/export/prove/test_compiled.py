"""C that this machine's compiler makes, or does not: what is left behind, and who answers then."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import BackendError
from edgeemo.firmware.layers import Network
from edgeemo.firmware.network import read_network
from edgeemo.models import find_model
from export.prove import compiled
from export.prove.compiled import CompiledNetwork, compiler
from tests.export.firmware.firmware_support import program

FILE = "int8.tflite"


@pytest.fixture(scope="module")
def network() -> Network:
    bundle = read_bundle(find_model("nano"))
    return read_network(bundle.files[FILE], bundle.spec, len(bundle.labels), FILE)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def script(folder: Path, text: str) -> str:
    (path := folder / "their-cc").write_bytes(f"#!/bin/sh\n{text}\n".encode("latin-1"))
    path.chmod(0o755)
    return str(path)


def refusal(network: Network, *cc: str) -> str:
    """What is said of a compiler, in one line."""
    with pytest.raises(BackendError) as caught, CompiledNetwork(network, cc, FILE) as c:
        c.infer(np.zeros((3, 48, 48, 1), np.uint8))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 3", "cannot compile the network (it ends with 3)"),
        ("printf 'a\\nb \\377' >&2; exit 1", "cannot compile the network (a b \ufffd)"),
        ("exit 0", "the C program of it does not start (No such file or directory)"),
    ],
)
def test_a_compiler_that_does_not_compile_is_told_in_one_line(
    network: Network, tmp_path: Path, place: Path, text: str, why: str
) -> None:
    assert why in refusal(network, script(tmp_path, text))
    assert len(list(place.iterdir())) == (text == "exit 0")  # the kernels', until the process ends


def test_what_cannot_be_run_is_no_compiler(network: Network, tmp_path: Path) -> None:
    assert "absent cannot compile the network (No such file" in refusal(network, "absent")
    (text := tmp_path / "text").write_text("exit 0\n")
    text.chmod(0o755)
    assert "(Exec format error)" in refusal(network, str(text))


def test_a_compiler_that_hangs_is_ended_with_what_it_called(
    network: Network, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_PATIENCE", 0.5)
    text = f'touch "$TMPDIR/half.s"; sleep 60 & echo $! > {tmp_path}/pid; wait'
    assert "(not done after 0.5 s)" in refusal(network, cc := script(tmp_path, text))
    start = time.monotonic()
    assert "(not done after 0.5 s)" in refusal(network, cc)  # once a process
    assert time.monotonic() - start < 0.4
    called = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    assert not called.exists() or called.read_text().split()[2] == "Z"
    assert list(place.iterdir()) == []


def test_a_program_that_ends_early_is_no_reader_that_has_gone(
    network: Network, tmp_path: Path
) -> None:
    # Small pictures wait in a buffer, which is written once more when it is closed.
    text = 'while [ "$1" != -o ]; do shift; done; printf "#!/bin/sh\\n" > "$2"; chmod +x "$2"'
    cc = script(tmp_path, text)
    with CompiledNetwork(network, (cc,), FILE) as c:
        c.program = "false"
        for _ in range(5):
            with pytest.raises(BackendError, match="ends with 1 after 0 of 9 pictures"):
                c.infer(np.zeros((9, 4, 4, 1), np.uint8))


def test_cc_may_have_arguments(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    program("cc")
    monkeypatch.setenv("CC", "cc -O1")
    words = compiler()
    assert words == ("cc", "-O1")
    with CompiledNetwork(network, words, FILE) as c:
        assert c.infer(np.zeros((1, 48, 48, 1), np.uint8)).shape == (1, 7)
    monkeypatch.setenv("CC", "cc 'x")
    assert compiler() == ("cc 'x",)
    monkeypatch.setenv("CC", " ")
    assert Path(compiler()[0]).is_absolute()  # type: ignore[index]


def test_no_place_for_a_program_is_said(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert "no place for a C program (No such file or directory)" in refusal(network, "cc", "-w")
