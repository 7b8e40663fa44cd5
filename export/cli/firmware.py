"""python -m export firmware."""

import shlex
from dataclasses import asdict
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.container import ZIP
from edgeemo.errors import BundleError
from edgeemo.models import find_detector, find_model
from edgeemo.trust import read_bundle, read_detector
from export.cli.in_c import note_unmeasured
from export.cli.options import as_json, max_ram, out
from export.firmware import TARGETS, target_summaries

_SELF_TEST = 60.0  # seconds that a detector's may take


@click.command()
@click.argument("bundle")
@out("The folder to write into, or a .zip.")
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="c99",
    help=f"What it will be built with. {target_summaries()}",
)
@click.option(
    "--prefix",
    default="edgeemo",
    show_default=True,
    help="What its functions, types, macros and files begin with: another one for each model of a "
    "program that runs several.",
)
@click.option(
    "--detector",
    metavar="NAME",
    help="A face detector beside it: face, or the path of a detector's .edgeemo file.",
)
@max_ram
@as_json("One JSON object on stdout.")
def firmware(
    bundle: str,
    out: Path,
    target: str,
    prefix: str,
    detector: str | None,
    max_ram: int | None,
    as_json: bool,
) -> None:
    """Write BUNDLE's int8 model (a file, or a shipped name) as plain C99.

    No interpreter, no heap, no dependencies.

    \b
    python -m export firmware nano --out firmware/
    python -m export firmware nano --detector face --out firmware/

    \b
    edgeemo_model.c/.h       tables, a static memory plan, edgeemo_init,
                             edgeemo_infer, edgeemo_softmax_q15
    edgeemo_kernels.c/.h     the kernels: the logits are those of LiteRT's
                             reference kernels, bit for bit
    edgeemo_preprocess.c/.h  crop, grey and resize of a camera's frame, with
                             the bytes that training saw
    edgeemo_find.c/.h        with --detector: edgeemo_find, faces in a frame
    edgeemo_vectors.c        edgeemo_selftest
    model_settings.h         labels, input, scales, smoothing, hashes
    README.md, Makefile      how to build and call it

    \b
    python -m export firmware nano --target library --out edgeemo.zip
    python -m export firmware small --prefix door --out door/

    A layer that the kernels do not cover (floats, 16-bit activations) is refused by name.
    docs/microcontrollers.md has sizes and speeds.
    """
    from edgeemo.proof.selftest_faces import fault_apart
    from export.firmware.generate import generate

    path = find_model(bundle)
    of_detector = None if detector is None else find_detector(detector)
    if out.suffix == ".zip":
        check_output(out, (path, *([of_detector] if of_detector else ())), ours=(ZIP,))
    opened = read_bundle(path)
    finder = read_detector(of_detector) if of_detector else None
    if of_detector and (fault := fault_apart(of_detector, _SELF_TEST)):
        raise BundleError(f"{of_detector}: {fault}")
    made = generate(opened, out, target=target, prefix=prefix, max_ram=max_ram, detector=finder)
    note_unmeasured(opened)
    if as_json:
        say(strict.dumps_line({"out": str(out), **asdict(made)}))
        return
    looks = made.detector_multiply_accumulates
    look = f", {looks:,} a look of the detector" if looks else ""
    say(
        f"wrote {out} for {target}: {made.table_bytes:,} bytes of tables in flash, "
        f"{made.arena_bytes:,} bytes of RAM beside the stack, "
        f"{made.multiply_accumulates:,} multiply-accumulates an inference{look}"
    )
    if out.suffix != ".zip":
        check = f"; try it here: make -C {shlex.quote(str(out))} check" if target == "c99" else ""
        say(f"see {out / 'README.md'}{check}")
