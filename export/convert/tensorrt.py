"""TensorRT engines of a bundle's ONNX files: the commands and, with `trtexec`, engines and check.

An engine fits the GPU and the TensorRT version that built it, so it is built on the device and is
no part of a bundle. This needs none of the workstation's packages: it runs on a Jetson with NumPy
and click.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.tensorrt_rules import broken_rules
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.folders import folder_written_beside
from edgeemo.contract.manifest import Artifact, Format, Precision
from edgeemo.contract.quantize import looked_up, scaled_pixels
from edgeemo.errors import BackendError, BundleError, MissingDependency

SCRIPT = "build-engines.sh"
# A QDQ graph says itself what is int8; --fp16 is for what it leaves float. TF32 would round what
# fp32.onnx promises.
_FLAGS = {
    Precision.INT8: ("--int8", "--fp16"),
    Precision.MIXED: ("--int8", "--fp16"),
    Precision.FP16: ("--fp16",),
    Precision.FP32: ("--noTF32",),
}
# Largest differences of a logit, in logits. TensorRT has kernels of its own, so these are wider
# than the self-test's for ONNX Runtime; none of them was measured on a Jetson.
BOUNDS = {Precision.FP32: 1e-3, Precision.FP16: 0.1}
INTEGER_BOUND = 0.5
_CHECKED = 8  # pictures of the self-test; each is a start of trtexec
_SECONDS = 1800  # an engine takes minutes on the smallest Jetson


@dataclass(frozen=True)
class Plan:
    """An engine that is to be built."""

    artifact: Artifact
    """The ONNX file that it is made from."""
    engine: str
    """File name of the engine, in the same folder."""

    @property
    def command(self) -> list[str]:
        """The words that build it, to be run in that folder."""
        return [
            "trtexec",
            f"--onnx={self.artifact.file}",
            f"--saveEngine={self.engine}",
            *_FLAGS[self.artifact.precision],
            "--skipInference",
        ]


@dataclass(frozen=True)
class Engine:
    """A built engine, and how far its logits are from the bundle's."""

    path: Path
    """Its file."""
    difference: float
    """Largest difference of a logit, in logits."""
    bound: float
    """The largest that is allowed."""

    @property
    def passed(self) -> bool:
        """Whether the engine answers as the bundle promises."""
        return self.difference <= self.bound


def write_commands(bundle: Bundle, out: Path) -> list[Plan]:
    """Write the bundle's ONNX files and the script that builds their engines into `out`.

    Those of `refused_files` are left out.

    Raises:
        BundleError: no ONNX file for TensorRT in the bundle.
        BackendError: a quantized ONNX file that cannot be read.
        StorageError: `out` cannot be written.
    """
    refused = refused_files(bundle)
    plans = [
        Plan(artifact, Path(artifact.file).with_suffix(".engine").name)
        for artifact in bundle.manifest.artifacts
        if artifact.format is Format.ONNX and artifact.file not in refused
    ]
    if not plans:
        raise BundleError(
            f"{bundle.path}: holds no ONNX file for TensorRT; "
            "build it with: python -m export build RUN --profile jetson"
        )
    lines = [
        "#!/bin/sh",
        (
            f"# TensorRT engines of {bundle.manifest.name} {bundle.manifest.version}; "
            "run this on the device that will use them."
        ),
        'set -eu; cd "$(dirname "$0")"',
        *(shlex.join(plan.command) for plan in plans),
    ]
    with folder_written_beside(out) as folder:
        for plan in plans:
            (folder / plan.artifact.file).write_bytes(bundle.files[plan.artifact.file])
        (folder / SCRIPT).write_text("\n".join(lines) + "\n")
        (folder / SCRIPT).chmod(0o755)
    return plans


def refused_files(bundle: Bundle) -> dict[str, list[str]]:
    """The quantized ONNX files that TensorRT does not take, and the rules that each breaks.

    Raises BackendError: one that cannot be read.
    """
    broken = {
        artifact.file: broken_rules(bundle.files[artifact.file], artifact.file)
        for artifact in bundle.manifest.artifacts
        if artifact.format is Format.ONNX and artifact.precision.is_integer
    }
    return {file: rules for file, rules in broken.items() if rules}


def find_trtexec() -> str | None:
    """The path of trtexec, from PATH or where JetPack puts it."""
    return shutil.which("trtexec", path=f"{os.environ.get('PATH', '')}:/usr/src/tensorrt/bin")


def build_engines(bundle: Bundle, out: Path, trtexec: str) -> list[Engine]:
    """Run the commands of `write_commands` and compare each engine with the self-test's logits.

    Raises:
        BackendError: trtexec fails or answers something else than logits.
    """
    selftest, classes = bundle.selftest(), len(bundle.labels)
    inputs = looked_up(scaled_pixels(bundle.spec), selftest.inputs[:_CHECKED])
    engines = []
    for plan in write_commands(bundle, out):
        _run([trtexec, *plan.command[1:]], out)
        path, file = out / plan.engine, plan.artifact.file
        logits = np.stack([_answer(trtexec, path, values, classes) for values in inputs])
        difference = float(np.abs(logits - selftest.logits[file][:_CHECKED]).max())
        engines.append(Engine(path, difference, BOUNDS.get(plan.artifact.precision, INTEGER_BOUND)))
    return engines


def _answer(
    trtexec: str, engine: Path, values: NDArray[np.float32], classes: int
) -> NDArray[np.float32]:
    """float32 (classes,) logits of an engine for one input, float32 (H, W, C)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pixels.bin").write_bytes(values.astype(np.float32).tobytes())
        words = [
            f"--loadEngine={engine.resolve()}",
            "--loadInputs=pixels:pixels.bin",
            "--exportOutput=logits.json",
        ]
        # One run: trtexec measures for seconds otherwise.
        _run([trtexec, *words, "--iterations=1", "--duration=0", "--warmUp=0"], Path(folder))
        try:
            (output,) = strict.loads(Path(folder, "logits.json").read_bytes())
            logits = np.array(output["values"], np.float32)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackendError(
                f"{engine}: trtexec wrote no output that can be read ({str(error)[:200]})"
            ) from None
    if logits.shape != (classes,) or not np.isfinite(logits).all():
        raise BackendError(f"{engine}: expected {classes} logits, trtexec wrote {logits.shape}")
    return logits


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BackendError(f"{shlex.join(command)}: not done after {_SECONDS} s") from None
    except OSError as error:
        raise MissingDependency(
            f"{command[0]}: cannot be run ({error.strerror}); "
            "install TensorRT (on a Jetson it comes with JetPack)"
        ) from None
    if done.returncode:
        output = " ".join((done.stderr or done.stdout).split())[-300:]
        raise BackendError(f"{shlex.join(command)} failed with {done.returncode}: {output}")
