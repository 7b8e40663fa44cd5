"""A build under way: a run and data that fit each other, and the pictures that it is proved on."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.operating_point import OperatingPoint
from edgeemo.contract.run import check_finished, read_run_config
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from export.convert import onnx
from export.convert.calibration import SPLIT, calibration_set
from export.profiles import Profile
from export.prove.selftest import selftest_inputs
from export.run import FloatRun, Subject, load_float_run
from workstation.operating_point import chosen_point

# The network that is converted must be the one whose predictions are stored: only the order of its
# sums may differ.
FLOAT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Pictures:
    """N pictures of one split, and what the float network answers to them."""

    images: NDArray[np.uint8]
    """uint8 (N, H, W, C)."""
    logits: NDArray[np.float32]
    """Of the float network, float32 (N, labels)."""
    labels: NDArray[np.int64]
    """True label numbers, (N,)."""


@dataclass(frozen=True)
class Job:
    """What a build works with; nothing of it changes on the way."""

    run: Subject
    """The float network."""
    data: Prepared
    """The pictures that it is calibrated and judged on."""
    profile: Profile
    """Which artifacts are wanted."""
    steps: tuple[str, ...]
    """Steps of the ladder that may be tried."""
    seed: int
    """Of the calibration draw, the samples of activations and the self-test's patterns."""
    calibration: NDArray[np.uint8]
    """The representative data set, uint8 (N, H, W, C)."""
    selftest: NDArray[np.uint8]
    """The self-test's patterns, uint8 (N, H, W, C)."""
    validation: Pictures
    """What a step of the ladder is judged on."""
    test: Pictures
    """What has the last word."""
    calibrated_on: str = SPLIT
    """Where the calibration pictures come from, in words."""


def load_job(
    run_path: Path,
    data_path: Path,
    profile: Profile,
    steps: tuple[str, ...],
    seed: int,
    adjustment: float | None = None,
) -> Job:
    """Everything that can be refused before anything takes time.

    The run is brought to its operating point; `adjustment` (0..1) takes the place of the one that
    validation chooses.

    Raises:
        MissingDependency: a runtime that the profile needs is not installed.
        EdgeemoError: the run or the data is damaged, or they do not fit each other.
    """
    if profile.with_onnx:
        onnx.check_installed(
            f"for the profile {profile.name}, whose ONNX files are measured with it "
            "(or choose --profile pi)"
        )
    config = read_run_config(run_path)
    check_finished(run_path)
    data = load_prepared(data_path)
    calibration = calibration_set(data, seed)
    rows, test_rows = data.indices("validation"), data.indices("test")
    run = load_float_run(run_path, config, data)
    images, test_images = np.asarray(data.images[rows]), np.asarray(data.images[test_rows])
    _check_predictions(run, test_images, data)
    logits = run.predict(images)
    point = _point(run, data, rows, logits, adjustment)
    try:
        run, logits = run.at(point), point.applied(logits)
    except RunError as error:  # a network from another package, say
        say(f"note: {error}; its scores stay as trained")
    validation = Pictures(images, logits, data.labels[rows])
    test = Pictures(test_images, run.logits, run.labels)
    patterns = selftest_inputs(seed, run.spec)
    return Job(run, data, profile, steps, seed, calibration, patterns, validation, test)


def _point(
    run: FloatRun,
    data: Prepared,
    rows: NDArray[np.int64],
    logits: NDArray[np.float32],
    adjustment: float | None,
) -> OperatingPoint:
    """By the network's logits (n, classes) on the pictures `rows` (n,), against what it was fitted
    to: FER+'s majority where that was votes, else the labels.
    """
    labels, known = data.labels[rows], np.ones(len(rows), bool)
    if run.config.recipe.get("labels") in ("ferplus", "mix") and data.votes is not None:
        labels, known = ferplus_majority(group_votes(data)[rows], run.class_names)
    return chosen_point(logits[known], labels[known], adjustment)


def _check_predictions(run: FloatRun, images: NDArray[np.uint8], data: Prepared) -> None:
    difference = float(np.abs(run.predict(images) - run.logits).max())
    if not difference <= FLOAT_TOLERANCE:
        raise RunError(
            f"{run.path}: its stored float predictions differ from its model's by up to "
            f"{difference:.3g}, allowed {FLOAT_TOLERANCE}; "
            "run: python -m training evaluate "
            + shlex.join([str(run.path), "--data", str(data.path)])
        )
