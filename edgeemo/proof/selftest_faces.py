"""Replays a detector's self-test: does this machine's interpreter answer what its builder got?"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from edgeemo.backends.rows import open_rows
from edgeemo.contract.checked.text import printable
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.errors import EdgeemoError
from edgeemo.proof.selftest import OPTIMIZED_BOUND_LSB
from edgeemo.trust import read_detector


def detector_fault(bundle: DetectorBundle) -> str:
    """What is wrong with a detector on this machine, in words; "" where nothing is.

    The reference kernels must give the very rows of the bundle, the default ones rows within
    OPTIMIZED_BOUND_LSB steps of them. It runs in this process.

    Raises:
        MissingDependency, BrokenDependency, BackendError: no interpreter that runs the model.
    """
    test = bundle.selftest()
    for reference, bound in ((True, 0.0), (False, OPTIMIZED_BOUND_LSB)):
        model = open_rows(bundle, reference_kernels=reference)
        rows = np.stack([model.rows(pixels) for pixels in test.inputs])
        difference = float(np.abs(rows.astype(np.int16) - test.rows).max())
        if difference > bound:
            kernels = "reference" if reference else "default"
            return (
                f"its rows differ from the bundle's by up to {difference:.0f} steps with "
                f"{kernels} kernels, allowed {bound:.0f}"
            )
    return ""


def fault_apart(path: Path, time_limit: float) -> str:
    """`detector_fault` of a bundle file in a process of its own, which a damaged model may crash or
    hang; what went wrong there in words, "" where nothing did.
    """
    words = [sys.executable, "-m", "edgeemo.proof.selftest_faces", str(path)]
    try:
        done = subprocess.run(
            words, capture_output=True, timeout=time_limit, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"its self-test gave no answer in {time_limit:.0f} s; do not use this detector"
    if done.returncode < 0:
        return f"its self-test crashed (signal {-done.returncode}); do not use this detector"
    said = printable(done.stdout.decode("utf-8", "replace").strip()[:400])
    return said if said or not done.returncode else "its self-test failed without a word"


def _main() -> int:
    """The child of `fault_apart`: prints what is wrong."""
    try:
        fault = detector_fault(read_detector(sys.argv[1]))
    except EdgeemoError as error:
        fault = str(error)
    sys.stdout.write(fault)
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(_main())
