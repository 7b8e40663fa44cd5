"""Targets of firmware: a registry of frozen rows, which a package from outside extends."""

import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import InvalidInput
from edgeemo.models import find_model
from export.firmware import TARGETS, target_summaries
from export.firmware.generate import generate
from export.firmware.targets import C
from tests.support import REPOSITORY

MODULE = """
from pathlib import Path
from export.firmware.targets import Target
ZEPHYR = Target(
    summary="a Zephyr module",
    build="west build",
    files=(("zephyr_module.yml", "module.yml"),),
    folder=Path(__file__).parent,
    readme="| `module.yml` | what Zephyr reads |\\n",
)
"""


def outside_package(folder: Path, module: str) -> None:
    """A package with a target of its own, as pip leaves one."""
    info = folder / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    points = "[edgeemo.firmware_targets]\nzephyr = somebodys_target:ZEPHYR\n"
    (info / "entry_points.txt").write_text(points)
    (folder / "somebodys_target.py").write_text(module)
    (folder / "module.yml").write_text("name: edgeemo\n")


def firmware(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    path = f"{REPOSITORY}{os.pathsep}{folder}"
    return subprocess.run(
        [sys.executable, "-m", "export", "firmware", *words],
        capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["c99", "cortex-m", "esp32"])
def test_each_target_writes_its_files_beside_the_networks(name: str, tmp_path: Path) -> None:
    target = TARGETS.get(name)
    made = generate(read_bundle(find_model("nano")), tmp_path / "c", target=name)
    assert {"edgeemo_model.c", "edgeemo_kernels.c", "model_settings.h"} <= set(made.files)
    for written, file in target.files:
        text = (tmp_path / "c" / written).read_text()
        if file.endswith(".in"):
            assert not re.search(r"@[A-Z]+@", text)
        else:
            assert text == (C / file).read_text()
    assert target.build in (tmp_path / "c" / "README.md").read_text()
    assert f"{name}: {target.summary}." in target_summaries()
    with pytest.raises(FrozenInstanceError):
        target.summary = "another"  # type: ignore[misc]


def test_an_unknown_target_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="expected a firmware target of c99, cortex-m, esp32, library"
    ):
        generate(read_bundle(find_model("nano")), tmp_path / "c", target="abacus")
    assert not (tmp_path / "c").exists()


def test_another_packages_target_is_listed_and_written(tmp_path: Path) -> None:
    outside_package(tmp_path, MODULE)
    assert "zephyr: a Zephyr module." in " ".join(firmware(tmp_path, "--help").stdout.split())
    out = tmp_path / "c"
    done = firmware(tmp_path, "nano", "--out", str(out), "--target", "zephyr")
    assert done.returncode == 0, done.stderr
    assert (out / "zephyr_module.yml").read_text() == "name: edgeemo\n"
    assert "| `module.yml` | what Zephyr reads |\n" in (out / "README.md").read_text()


def test_another_packages_broken_target_harms_only_itself(tmp_path: Path) -> None:
    outside_package(tmp_path, "raise RuntimeError('broken')")
    assert firmware(tmp_path, "--help").returncode == 0
    words = ("nano", "--out", str(tmp_path / "c"), "--target")
    done = firmware(tmp_path, *words, "zephyr")
    assert done.returncode == 1
    assert "the firmware target zephyr of the package somebodys cannot be imported" in done.stderr
    assert firmware(tmp_path, *words, "c99").returncode == 0
