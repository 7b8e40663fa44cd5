"""The tests of the fast path, in a process whose Keras runs on JAX."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import support

FOLDER = Path(__file__).parent / "fast"
SLOW = (FOLDER / "test_family.py", FOLDER / "test_seeds.py")
# Compiled without LLVM's slow passes: the programs run for milliseconds.
JAX = {
    "KERAS_BACKEND": "jax",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_backend_optimization_level=0",
}


def run_on_jax(*words: str) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed; it is part of the dev environment")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *words],
        env=os.environ | JAX,
        cwd=support.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_fast_path_on_jax() -> None:
    run_on_jax(str(FOLDER), *(f"--ignore={file}" for file in SLOW))


@pytest.mark.slow
@pytest.mark.parametrize("file", SLOW, ids=lambda file: file.stem)
def test_long_ones_on_jax(file: Path) -> None:
    run_on_jax(str(file))
