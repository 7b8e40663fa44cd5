"""The generated C of the shipped models: flash, RAM and instructions on Cortex-M, and time on this
machine beside LiteRT.

python -m benchmarks.models.firmware [MODEL...] [--json]

The Cortex-M rows come from firmware_examples/cortex_m in QEMU, so they need its packages
(./scripts/system-packages). Code is every function that is linked, start-up and C library included;
tables are the model's; the self-test is its patterns and its function; flash is all of it. RAM is
static memory and the painted stack. Host times are of gcc -O3 in
turns with LiteRT on one thread (XNNPACK), ratios by pairs.
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from edgeemo.backends.litert import open_interpreter
from edgeemo.cli.bench import alternate
from edgeemo.cli.shell import say
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.quantize import pixels_to_int8
from edgeemo.firmware.network import integer_artifact
from edgeemo.models import find_model, shipped_models
from edgeemo.trust import read_bundle
from export.firmware.generate import generate

_EXAMPLE = Path(__file__).resolve().parents[2] / "firmware_examples" / "cortex_m"
_BUILDS = (
    ("m4", "-O2 SMLAD", ()),
    ("m4", "-O2 SMLAD clang", ("CLANG=clang",)),
    ("m4", "-O2 plain C", ("DSP=0",)),
    ("m4", "-Os SMLAD", ("OPT=-Os",)),
    ("m7", "-O2 SMLAD", ()),
    ("m55", "-O2 Helium", ()),
    ("m55", "-O2 plain C", ("DSP=0", "MVE=0")),
    ("m0", "-O2 plain C", ()),
)
"""The core, what the build is called, and what it sets of the example's Makefile."""


@click.command()
@click.argument("models", nargs=-1)
@click.option("--compiler", default="gcc", show_default=True, help="For this machine.")
@click.option(
    "--runs",
    type=click.IntRange(10),
    default=600,
    show_default=True,
    help="Timed inferences of each.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row on stdout.")
def main(models: tuple[str, ...], compiler: str, runs: int, as_json: bool) -> None:
    """Measure the generated C of MODELS [default: all that ship]."""
    for model in models or shipped_models():
        bundle = read_bundle(find_model(model))
        rows = [cortex_m(bundle, *build) for build in _BUILDS] + [host(bundle, compiler, runs)]
        for row in rows:
            size = len(bundle.files[integer_artifact(bundle).file])
            printed = {"model": model, "tflite_bytes": size, **row}
            say(
                strict.dumps_line(printed)
                if as_json
                else "  ".join(f"{key} {value}" for key, value in printed.items())
            )


def cortex_m(
    bundle: Bundle, target: str, build: str, settings: tuple[str, ...]
) -> dict[str, object]:
    """Sizes in bytes and instructions of one inference, from the example run in QEMU on a few drawn
    faces."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(
            shutil.copytree(
                _EXAMPLE,
                Path(temporary, "example"),
                ignore=shutil.ignore_patterns("build", "*.bin"),
            )
        )
        made = generate(bundle, Path(temporary, "c"), target="cortex-m")
        bundle.selftest().inputs[:4].tofile(folder / "faces.bin")
        options = [f"GENERATED={temporary}/c", f"PYTHON={sys.executable}", *settings]
        printed = _run("make", "-C", folder, f"run-{target}", *options)
        numbers = {
            name: int(value)
            for name, value in re.findall(r"^([a-zA-Z0-9, -]+) (\d+)$", printed, re.MULTILINE)
        }
        program = folder / "build" / f"{target}.elf"
        symbols = _run("arm-none-eabi-readelf", "-sW", program)
        text, data = _run("arm-none-eabi-size", program).splitlines()[1].split()[:2]
    of_selftest = r"(inputs|outputs|edgeemo_selftest)"
    functions = re.findall(r"^ *\d+: [0-9a-f]{8} +(\d+) FUNC ", symbols, re.MULTILINE)
    selftest = re.findall(rf"^ *\d+: [0-9a-f]+ +(\d+) .* {of_selftest}$", symbols, re.MULTILINE)
    return {
        "target": f"cortex-{target}",
        "build": build,
        "code_bytes": sum(map(int, functions)),
        "table_bytes": made.table_bytes,
        "selftest_bytes": sum(int(size) for size, _ in selftest),
        "flash_bytes": int(text) + int(data),
        "arena_bytes": made.arena_bytes,
        "stack_bytes": numbers["stack bytes"],
        "ram_bytes": numbers["RAM bytes in all"],
        "instructions": numbers["instructions per inference, at most"],
        "multiply_accumulates": made.multiply_accumulates,
    }


def host(bundle: Bundle, compiler: str, runs: int) -> dict[str, object]:
    """Milliseconds of one inference here and LiteRT's, medians, and the median of the ratios by
    pairs."""
    face = bundle.selftest().inputs[0]
    file = integer_artifact(bundle).file
    interpreter = open_interpreter(bundle.files[file], file)
    interpreter.set_tensor(
        interpreter.get_input_details()[0]["index"], pixels_to_int8(face)[np.newaxis]
    )
    with tempfile.TemporaryDirectory() as folder:
        generate(bundle, Path(folder, "c"))
        sources = [Path(folder, "c", f"{name}.c") for name in ("edgeemo_model", "edgeemo_kernels")]
        _run(compiler, "-O3", "-std=c99", "-shared", "-fPIC", "-o", Path(folder, "c.so"), *sources)
        library = ctypes.CDLL(str(Path(folder, "c.so")))
        pixels, logits = (
            ctypes.c_void_p(face.ctypes.data),
            ctypes.create_string_buffer(len(bundle.labels)),
        )
        ours, theirs = alternate(
            [lambda: library.edgeemo_infer(pixels, logits), interpreter.invoke], runs
        )
    return {
        "target": "this machine",
        "build": f"{compiler} -O3",
        "ms": round(1000 * float(np.median(ours)), 4),
        "litert_ms": round(1000 * float(np.median(theirs)), 4),
        "ratio": round(float(np.median(np.asarray(ours) / np.asarray(theirs))), 2),
    }


def _run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"{words[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
