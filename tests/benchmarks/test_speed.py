"""What benchmarks/models/speed draws and compiles."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.models.speed.plot import front, series
from tests.support import REPOSITORY

SPEED = REPOSITORY / "benchmarks" / "models" / "speed"


def test_on_the_line_is_what_no_other_beats_in_both() -> None:
    nano, peer, small, base = (0.4, 86.0), (1.0, 70.0), (1.4, 89.0), (3.8, 88.0)
    assert front([base, small, peer, nano]) == [nano, small]
    assert front([(1.0, 70.0), (1.0, 72.0)]) == [(1.0, 72.0)]
    assert front([]) == []


def test_the_peer_stands_in_every_measure_and_ours_in_the_labels_they_learned() -> None:
    ferplus = {"top1": 0.5, "per_class_recall": {"a": 0.25, "b": 0.75}}
    peer = {"int8": {"fer2013": {"top1": 0.6}, "ferplus": ferplus}}
    standing = {"by_prior": {"ferplus": {"default": {"top1": 0.9, "mean_recall": 0.8}}}}
    cards = {"peer": peer, "nano": peer | standing, "nano-fer2013": peer | standing}
    top1, recall, literature = (one.values for one in series(cards))
    assert top1 == {"peer": 50.0, "nano": 90.0}
    assert recall == {"peer": 50.0, "nano": 80.0}
    assert literature == {"peer": 60.0, "nano-fer2013": 60.0}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="not installed: gcc")
@pytest.mark.parametrize("source", ["count.c", "hide.c"])
def test_what_counts_and_hides_compiles_without_warnings(source: str, tmp_path: Path) -> None:
    if source == "hide.c" and b"x86" not in subprocess.check_output(["gcc", "-dumpmachine"]):
        pytest.skip("hide.c is for x86-64")
    words = ["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([*words, SPEED / source, "-o", tmp_path / "made.so"], check=True)
