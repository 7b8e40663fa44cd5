"""TensorRT engines of a bundle's ONNX files: the commands, and where `trtexec` is installed the engines and their check.

An engine fits the GPU and the TensorRT version that built it, so it is built on the device and is no part of a bundle. This
needs none of the workstation's packages: it runs on a Jetson with NumPy and click.
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

from edgeemo.contract import strict
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.files import written_beside
from edgeemo.contract.labels import LABELS
from edgeemo.errors import BackendError, BundleError, MissingDependency
from edgeemo.proof.selftest import replays

SCRIPT = "build-engines.sh"
# A QDQ graph says itself what is int8; --fp16 is for what it leaves float. TF32 would round what fp32.onnx promises.
_FLAGS = {
    "int8": ("--int8", "--fp16"),
    "mixed": ("--int8", "--fp16"),
    "fp16": ("--fp16",),
    "fp32": ("--noTF32",),
}
_CHECKED = 8  # pictures of the self-test; each is a start of trtexec
_SECONDS = 1800  # an engine takes minutes on the smallest Jetson


@dataclass(frozen=True)
class Engine:
    """A built engine and the largest difference of its logits from the bundle's; `passed` says whether it is within `bound`."""

    path: Path
    difference: float
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the engine answers as the bundle promises."""
        return self.difference <= self.bound


def write_commands(bundle: Bundle, out: Path) -> list[list[str]]:
    """Write the bundle's ONNX files and the script that builds their engines into `out`; the commands, one a file.

    Raises:
        BundleError: no ONNX file in the bundle.
        StorageError: `out` cannot be written.
    """
    files = [artifact for artifact in bundle.manifest.artifacts if artifact.format == "onnx"]
    if not files:
        raise BundleError(
            f"{bundle.path}: holds no ONNX file for TensorRT; build it with: python -m export build RUN --profile jetson"
        )
    commands = []
    for artifact in files:
        with written_beside(out / artifact.file) as part:
            part.write_bytes(bundle.files[artifact.file])
        engine = artifact.file.replace(".onnx", ".engine")
        commands.append(
            [
                "trtexec",
                f"--onnx={artifact.file}",
                f"--saveEngine={engine}",
                *_FLAGS[artifact.precision],
                "--skipInference",
            ]
        )
    lines = [
        "#!/bin/sh",
        f"# TensorRT engines of {bundle.manifest.name} {bundle.manifest.version}; run this on the device that will use them.",
        'set -eu; cd "$(dirname "$0")"',
        *map(shlex.join, commands),
    ]
    with written_beside(out / SCRIPT) as part:
        part.write_text("\n".join(lines) + "\n")
    (out / SCRIPT).chmod(0o755)
    return commands


def find_trtexec() -> str | None:
    """The path of trtexec, from PATH or where JetPack puts it."""
    return shutil.which("trtexec", path=f"{os.environ.get('PATH', '')}:/usr/src/tensorrt/bin")


def build_engines(bundle: Bundle, out: Path, trtexec: str) -> list[Engine]:
    """Run the commands of `write_commands` and hold each engine against the self-test's logits.

    Raises:
        BackendError: trtexec fails or answers something else than logits.
    """
    selftest = bundle.selftest()
    bounds = {plan.artifact.file: plan.bound for plan in replays(bundle.manifest)}
    engines = []
    for command in write_commands(bundle, out):
        file = command[1].removeprefix("--onnx=")
        _run([trtexec, *command[1:]], out)
        path = out / file.replace(".onnx", ".engine")
        answered = np.stack(
            [_answer(trtexec, path, picture) for picture in selftest.inputs[:_CHECKED]]
        )
        difference = float(np.abs(answered - selftest.logits[file][:_CHECKED]).max())
        engines.append(Engine(path, difference, bounds[file]))
    return engines


def _answer(trtexec: str, engine: Path, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 (7,) logits of an engine for one uint8 (48, 48, 1) picture."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pixels.bin").write_bytes(picture.astype(np.float32).tobytes())
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
    if logits.shape != (len(LABELS),) or not np.isfinite(logits).all():
        raise BackendError(f"{engine}: expected {len(LABELS)} logits, trtexec wrote {logits.shape}")
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
            f"{command[0]}: cannot be run ({error.strerror}); install TensorRT (on a Jetson it comes with JetPack)"
        ) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise BackendError(f"{shlex.join(command)} failed with {done.returncode}: {said}")
