"""What `python -m export firmware` prints can be typed as it stands, in any folder."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeemo.contract.container import sha256
from edgeemo.contract.detector_bundle import RowsTest, selftest_bytes, write_detector
from edgeemo.contract.manifest import COMPANIONS, Role
from edgeemo.models import find_detector
from edgeemo.trust import read_detector
from export.cli.main import main
from tests.support import REPOSITORY


def editable() -> bool:
    """Whether this Python has this checkout installed with -e."""
    try:
        text = importlib.metadata.distribution("edgeemo").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return False
    facts = json.loads(text or "{}")
    return bool(facts.get("dir_info", {}).get("editable")) and facts["url"] == REPOSITORY.as_uri()


def test_the_hint_works_for_a_folder_with_blanks(tmp_path: Path) -> None:
    out = tmp_path / "it's my firmware"
    done = CliRunner().invoke(main, ["firmware", "nano", "--out", str(out)])
    assert done.exit_code == 0, done.output
    hint = done.output.split("try it here: ")[1].splitlines()[0]
    made = subprocess.run(["sh", "-c", f"{hint} CFLAGS=-O0"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "self-test: 4 patterns answered as promised\n" in made.stdout


def test_the_checkout_is_on_the_path_of_an_editable_installation() -> None:
    # setuptools then writes the checkout's folder into a .pth, and not edgeemo alone.
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["package-dir"] == {"": "."}
    assert settings["packages"]["find"] == {"include": ["edgeemo*"]}


@pytest.mark.skipif(
    not editable(), reason="this checkout is not installed here with pip install -e"
)
def test_the_command_works_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()  # a folder of the same name does not hide it
    done = subprocess.run(
        [sys.executable, "-m", "export", "firmware", "nano", "--out", "c"],
        capture_output=True, text=True, cwd=tmp_path, env={"PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c" / "edgeemo_model.h").is_file()


def test_a_detector_whose_self_test_it_does_not_pass_becomes_no_c(tmp_path: Path) -> None:
    bundle = read_detector(find_detector("face-nano"))
    test = bundle.selftest()
    other = RowsTest(test.inputs, (test.rows.astype(np.int16) ^ 1).astype(np.int8))
    files = dict(bundle.files) | {COMPANIONS[Role.SELFTEST]: selftest_bytes(other)}
    companions = tuple(
        replace(one, bytes=len(files[one.file]), sha256=sha256(files[one.file]))
        for one in bundle.manifest.companions
    )
    path = tmp_path / "other.edgeemo"
    write_detector(path, replace(bundle.manifest, companions=companions), files)
    words = ["firmware", "nano", "--detector", str(path), "--out", str(tmp_path / "fw")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "its rows differ from the bundle's by up to 1 steps" in str(done.exception)
    assert not (tmp_path / "fw").exists()


def test_the_check_sees_damage_in_the_detectors_tables_too(tmp_path: Path) -> None:
    out = tmp_path / "fw"
    words = ["firmware", "nano", "--detector", "face-nano", "--out", str(out)]
    assert CliRunner().invoke(main, words).exit_code == 0
    model = out / "edgeemo_find_model.c"
    text = model.read_text()
    promised = re.search(r"promised = 0x([0-9A-F]+)U", text, re.IGNORECASE)
    assert promised is not None
    model.write_text(text.replace(promised[1], f"{int(promised[1], 16) ^ 1:08X}"))
    done = subprocess.run(["make", "-sC", out, "check"], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout == "the tables are damaged\n"


def test_a_detector_that_is_none_or_the_output_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["firmware", "nano", "--detector", "", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "an empty word after --detector" in done.output
    theirs = tmp_path / "photo.zip"
    theirs.write_bytes(b"theirs")
    words = ["firmware", "nano", "--target", "library", "--out", str(theirs)]
    assert CliRunner().invoke(main, words).exit_code == 1
    assert theirs.read_bytes() == b"theirs"
    mine = tmp_path / "mine.zip"
    content = find_detector("face").read_bytes()
    mine.write_bytes(content)
    words = ["firmware", "nano", "--detector", str(mine), "--out", str(mine)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert mine.read_bytes() == content
