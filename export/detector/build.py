"""A detector's run -> bundle: quantize, judge, write; only what passes the gate is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import ends, open_interpreter
from edgeemo.backends.rows import RowsModel
from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.container import sha256
from edgeemo.contract.crop import Crop
from edgeemo.contract.detector_bundle import (
    OLDEST_READER,
    SCHEMA_VERSION,
    DetectorBundle,
    DetectorManifest,
    RowsTest,
    selftest_bytes,
    write_detector,
)
from edgeemo.contract.detector_run import MODEL_FILE, DetectorRun, read_detector_run
from edgeemo.contract.manifest import (
    COMPANIONS,
    FACE_DETECTOR,
    Artifact,
    Calibration,
    Companion,
    Role,
)
from edgeemo.contract.preprocess import face_to_input, whole_frame
from edgeemo.errors import GateFailed
from edgeemo.optional import need
from export.convert import tflite
from export.convert.activations import METHODS, record
from export.convert.artifacts import INT8_TFLITE
from export.convert.calibration import RAW_PIXELS, pixels_sha256, with_ends
from export.convert.graph import activation_bytes
from export.detector.gate import DetectorVerdict, judge_detector, median_overlap
from export.manifest import Named
from export.prove.selftest import selftest_inputs
from workstation.frames.canvas import Canvas
from workstation.frames.finder import Finder, with_limits
from workstation.frames.judge import frames_to_judge, judge
from workstation.frames.known import Known, read_known
from workstation.frames.table import recall_table

_CALIBRATION = 600
_FRAMES = 215  # of each kind, that are judged by
_OF_A_KIND = 80  # training frames of each kind, to calibrate with
_PATTERNS = 4
_STEPS = ("percentile", "least-error", "min-max")
LICENCE = "MIT; trained on photos of people in the news and films, faces as YuNet found them"
CROP = Crop(1136, 11, -13)
"""Measured as that of YuNet and Haar (docs/preprocessing.md)."""
Reader = Callable[[NDArray[np.uint8]], NDArray[Any]]


def build_detector(
    run_path: Path, photos: Sequence[Path], scenes: Sequence[Path], out: Path, named: Named
) -> tuple[DetectorBundle, DetectorVerdict]:
    """Convert a detector's run and write `out` if int8 passes the gate on the test split.

    Raises:
        GateFailed: no step passes; nothing is written.
        EdgeemoError: the run or an archive is damaged, or a package is missing.
    """
    run = read_detector_run(run_path)
    keras = need("keras", "export", "to read the network")
    fp32 = tflite.convert_fp32(keras.saving.load_model(run_path / MODEL_FILE, compile=False))
    known = {split: _known(photos, scenes, split) for split in ("train", "validation", "test")}
    calibration = _calibration(frames_to_judge(*known["train"], run.smallest, _OF_A_KIND), run)
    activations = record(fp32, calibration, 1, RAW_PIXELS)
    frames_of = {
        split: frames_to_judge(*known[split], run.smallest, _FRAMES)
        for split in ("validation", "test")
    }
    reasons: tuple[str, ...] = ()
    for at_once in (True, False):
        asked = replace(run, rows=replace(run.rows, large_at_once=at_once))
        full = Finder(_float_rows(fp32), run.input_spec, asked.rows, 1.0, 0)
        full = with_limits(full, known["validation"][1])
        for step in _STEPS:
            int8 = tflite.quantize(fp32, METHODS[step](activations))
            # At limits of its own, so that both show as many false faces on validation.
            whole = with_limits(_finder(int8, asked), known["validation"][1])
            verdict = _verdict(step, full, whole, frames_of)
            if verdict.passed:
                chosen = replace(asked, rows=whole.reading)
                return _written(chosen, int8, step, calibration, verdict, out, named), verdict
            reasons = verdict.reasons
    raise GateFailed(f"{run_path}: no step passes ({'; '.join(reasons)})")


def _verdict(
    step: str, full: Finder, whole: Finder, frames_of: Mapping[str, dict[str, list[Canvas]]]
) -> DetectorVerdict:
    """Of validation, and of the test split where that passes."""
    verdict = _compared(full, whole, frames_of["validation"])
    say(f"{step}: {'passes' if verdict.passed else '; '.join(verdict.reasons)} (validation)")
    if verdict.passed:
        verdict = _compared(full, whole, frames_of["test"], aloud=True)
        if not verdict.passed:
            say(f"  but not on the test split: {'; '.join(verdict.reasons)}")
    return verdict


def _compared(
    full: Finder, whole: Finder, frames: dict[str, list[Canvas]], aloud: bool = False
) -> DetectorVerdict:
    """int8 against the float network on frames of a split."""
    counts, float_counts = judge(whole.find, frames), judge(full.find, frames)
    if aloud:
        for line in ["float", *recall_table(float_counts), "int8", *recall_table(counts)]:
            say(line)
    everywhere = [frame for of_kind in frames.values() for frame in of_kind]
    return judge_detector(float_counts, counts, median_overlap(full.find, whole.find, everywhere))


def _finder(int8: bytes, run: DetectorRun) -> Finder:
    model = RowsModel(int8, INT8_TFLITE.file, run.input_spec)
    output = model.output_info
    return Finder(model.rows, run.input_spec, run.rows, output.scale or 1.0, output.zero_point or 0)


def _float_rows(fp32: bytes) -> Reader:
    """The float .tflite as a function from uint8 (H, W, 1) to float32 (cells, 5)."""
    interpreter = open_interpreter(fp32, "fp32.tflite")
    source, target = ends(interpreter)

    def rows(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.set_tensor(source["index"], pixels[np.newaxis].astype(np.float32))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(target["index"])[0], np.float32)

    return rows


def _known(
    photos: Sequence[Path], scenes: Sequence[Path], split: str
) -> tuple[list[Known], list[Known]]:
    of_photos, of_scenes = (
        [one for archive in archives for one in read_known(archive, split)]
        for archives in (photos, scenes)
    )
    return of_photos, of_scenes


def _calibration(frames: dict[str, list[Canvas]], run: DetectorRun) -> NDArray[np.uint8]:
    """uint8 (N, H, W, 1): frames of each kind as the network sees them, and two flat ones."""
    spec = run.input_spec
    each = -(-_CALIBRATION // len(frames))
    pictures = []
    for of_kind in frames.values():
        for frame in of_kind[:each]:
            height, width = frame.grey.shape
            pictures.append(face_to_input(frame.grey, whole_frame(width, height, spec), spec))
    return with_ends(np.stack(pictures))


def _written(
    run: DetectorRun,
    int8: bytes,
    step: str,
    calibration: NDArray[np.uint8],
    verdict: DetectorVerdict,
    out: Path,
    named: Named,
) -> DetectorBundle:
    model = RowsModel(int8, INT8_TFLITE.file, run.input_spec, reference_kernels=True)
    patterns = selftest_inputs(1, run.input_spec)[-_PATTERNS:]
    test = RowsTest(patterns, np.stack([model.rows(pattern) for pattern in patterns]))
    report = {"verdict": asdict(verdict), "validation": run.validation, "step": step}
    files = {
        COMPANIONS[Role.REPORT]: strict.dumps(report).encode(),
        COMPANIONS[Role.SELFTEST]: selftest_bytes(test),
    }
    companions = tuple(
        Companion(file, role, len(files[file]), sha256(files[file]))
        for role, file in COMPANIONS.items()
    )
    kind = INT8_TFLITE
    artifact = Artifact(
        file=kind.file,
        format=kind.format,
        precision=kind.precision,
        bytes=len(int8),
        sha256=sha256(int8),
        input=model.input_info,
        output=model.output_info,
        opset=None,
    )
    manifest = DetectorManifest(
        kind=FACE_DETECTOR,
        schema_version=SCHEMA_VERSION,
        name=named.name,
        version=named.version,
        licence=named.licence or LICENCE,
        minimum_edgeemo=OLDEST_READER,
        input_spec=run.input_spec,
        input_fingerprint=run.input_spec.fingerprint(),
        rows=run.rows,
        smallest=run.smallest,
        crop=CROP,
        artifact=artifact,
        companions=companions,
        training={"recipe": run.recipe, "parameters": run.parameters, "sources": run.sources},
        calibration=Calibration(
            len(calibration), f"ranges by {step}", "train", pixels_sha256(calibration)
        ),
        looks=verdict.looks,
        box_overlap=verdict.overlap,
        tensor_arena_bytes=activation_bytes(int8),
    )
    return write_detector(out, manifest, files | {artifact.file: int8})
