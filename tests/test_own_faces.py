"""The commands of docs/own-faces.md, taken from the page, on a made set of three classes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.bundle import read_bundle
from tests.support import REPOSITORY

PAGE = REPOSITORY / "docs" / "own-faces.md"
VERBS = ["prepare", "train", "build", "info", "evaluate", "watch", "flash-image"]


def page_commands() -> list[str]:
    """The command lines of the page's sh blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


def lit(turned: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (48, 48): light from a direction that makes the class, on a texture of its own."""
    y, x = np.mgrid[:48, :48] - 23.5
    light = (x * np.cos(turned) + y * np.sin(turned)) / 24
    texture = cv2.resize(rng.normal(0, 30, (16, 16)), (48, 48), interpolation=cv2.INTER_CUBIC)
    return np.asarray((128 + 100 * light + texture).clip(0, 255), np.uint8)


def write_faces(folder: Path, count: int) -> None:
    """`count` pictures of each of three classes."""
    rng = np.random.default_rng(1)
    for label, turned in (("happy", 0.0), ("sad", 2.1), ("bored", 4.2)):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / label / f"{i}.png"), lit(turned, rng))


def test_page_has_a_command_for_each_step() -> None:
    found = [next(verb for verb in VERBS if f" {verb} " in line) for line in page_commands()]
    assert found == VERBS


@pytest.mark.slow
def test_the_page_leads_from_pictures_to_a_flash_image(tmp_path: Path) -> None:
    write_faces(tmp_path / "faces", 200)
    outputs = {}
    for line in page_commands():
        command = re.sub(r"^python ", f"{sys.executable} ", line)
        command = re.sub(r"^edgeemo ", f"{sys.executable} -m edgeemo ", command)
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        outputs[next(verb for verb in VERBS if f" {verb} " in line)] = done.stdout
    bundle = read_bundle(tmp_path / "mine.edgeemo")
    assert bundle.labels == ("happy", "sad", "bored")
    assert bundle.manifest.licence == "CC BY 4.0"
    assert bundle.manifest.evaluation[0].top1 > 0.9
    assert "last layer: keeps happy, sad; new bored" in outputs["train"]
    assert "fine-tuning: 20 epochs, batch 32, learning rate 0.001" in outputs["train"]
    seen = [json.loads(line) for line in outputs["watch"].splitlines() if line.startswith("{")]
    assert sum(row.get("emotion") == "happy" for row in seen) > 0.8 * len(seen) > 0
    assert (tmp_path / "model.bin").stat().st_size > 100_000
