"""The whole pipeline in C, from a camera's frame to an emotion: flash, RAM, instructions in QEMU.

    python -m benchmarks.faces.firmware --picture photo.jpg [--detector face-nano] [--model nano]

The picture, which should show one face, is fitted into a frame of 320x240; a second frame shows
nobody. What runs is firmware_examples/cortex_m with its frames.c, so its packages are needed
(./scripts/system-packages). RAM is static memory and the painted stack.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from edgeemo.cli.shell import say
from edgeemo.models import find_detector, find_model
from edgeemo.trust import read_bundle, read_detector
from export.firmware.generate import generate

_EXAMPLE = Path(__file__).resolve().parents[2] / "firmware_examples" / "cortex_m"
_BUILDS = (
    ("m4", ("DSP=1",), "-O2 SMLAD"),
    ("m7", ("DSP=1",), "-O2 SMLAD"),
    ("m4", ("DSP=0",), "-O2 plain C"),
    ("m55", ("MVE=1",), "-O2 Helium"),
)
_FRAME_BYTES = {"grey": 320 * 240, "rgb565": 320 * 240 * 2, "yuyv": 320 * 240 * 2}
_ROOM = {"m4": "2M", "m7": "2M", "m55": "512K"}  # of RAM on the board
_HEAD = f"{'core':5} {'build':12} {'frame':7} {'flash':>9} {'RAM':>9} {'without':>9} {'stack':>6}"


@click.command()
@click.option("--picture", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--detector", default="face-nano", show_default=True, help="A name or a file.")
@click.option("--model", default="nano", show_default=True, help="A name or a file.")
def main(picture: Path, detector: str, model: str) -> None:
    """Print a row for each core and kind of frame."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(_EXAMPLE, Path(temporary, "example")))
        shutil.rmtree(folder / "build", ignore_errors=True)
        made = generate(
            read_bundle(find_model(model)),
            folder / "generated",
            target="cortex-m",
            detector=read_detector(find_detector(detector)),
        )
        say(f"{model} with {detector}: {made.table_bytes:,} bytes of tables, an arena of")
        say(
            f"{made.arena_bytes:,}; {made.multiply_accumulates:,} multiply-accumulates a face, "
            f"{made.detector_multiply_accumulates:,} a look"
        )
        say(f"{_HEAD} {'nobody':>12} {'one face':>12}   (instructions of a frame)")
        for core, options, build in _BUILDS:
            for kind in _FRAME_BYTES:
                say(f"{core:5} {build:12} {_row(folder, picture, core, options, kind)}")


def _row(folder: Path, picture: Path, core: str, options: tuple[str, ...], kind: str) -> str:
    counted = []
    for shown in (_nobody(folder), picture):
        _run(folder, sys.executable, "frames.py", "pack", shown, "--format", kind)
        size = f"OPT=-O2 -DFRAME_BYTES={_FRAME_BYTES[kind]}"
        words = (f"RAM={_ROOM[core]}", "DETECTOR=generated", "GENERATED=generated", size, *options)
        text = _run(folder, "make", f"run-{core}", *words)
        numbers = dict(re.findall(r"^([a-zA-Z][\w ,-]*) (\d+)$", text, re.MULTILINE))
        counted.append({name: int(value) for name, value in numbers.items()})
    empty, with_face = counted
    if (empty["faces"], with_face["faces"]) != (0, 1):
        raise click.ClickException(f"{picture}: expected one face, found {with_face['faces']}")
    sizes = _run(folder, "arm-none-eabi-size", f"build/{core}.elf").splitlines()[1].split()
    ram, name = with_face["RAM bytes in all"], "instructions per frame, at most"
    return (
        f"{kind:7} {int(sizes[0]) + int(sizes[1]):9,} {ram:9,} "
        f"{ram - with_face['frame bytes']:9,} {with_face['stack bytes']:6,} "
        f"{empty[name]:12,} {with_face[name]:12,}"
    )


def _nobody(folder: Path) -> Path:
    """A picture of nobody: a ramp of greys."""
    path = folder / "nobody.pgm"
    ramp = np.tile(np.linspace(40, 200, 320).astype(np.uint8), (240, 1))
    path.write_bytes(b"P5 320 240 255\n" + ramp.tobytes())
    return path


def _run(folder: Path, *words: object) -> str:
    done = subprocess.run([str(w) for w in words], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{words[0]} failed: {(done.stdout + done.stderr)[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
