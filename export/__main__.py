"""python -m export: build, inspect, compare, tensorrt, firmware, flash-image."""

from pathlib import Path

import click

from edgeemo.cli import shell
from export.convert.activations import METHODS
from export.firmware import TARGETS, target_summaries
from export.profiles import PROFILES
from export.prove.ladder import STEPS


def _bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A number of bytes, with K or M for 1,024 and its square."""
    if text is None:
        return None
    factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 1)
    digits = text if factor == 1 else text[:-1]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
        raise click.BadParameter(f"expected bytes such as 65536 or 64K, received {text[:40]!r}")
    return int(digits) * factor


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """From a trained run to a bundle that a device can trust.

    \b
    python -m export build runs/small --data prepared/ --out small.edgeemo   # int8, proved
    python -m export inspect runs/small --data prepared/                     # where int8 loses what, layer by layer
    python -m export compare A.edgeemo B.edgeemo --data prepared/            # is B better than A?
    python -m export tensorrt small.edgeemo --out engines/                   # on a Jetson: engines from its ONNX files
    python -m export firmware nano --out firmware/                           # C99 for microcontrollers, bit for bit
    python -m export flash-image nano --out model.bin                        # the content of an ESP32's model partition
    """


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="The prepared folder that the run was trained on.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The bundle to write, NAME.edgeemo.",
)
@click.option("--name", help="The bundle's name [default: the file's].")
@click.option("--version", default="0.1.0", help="The bundle's version.")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="all",
    help="For which devices. " + " ".join(f"{p.name}: {p.for_whom}." for p in PROFILES.values()),
)
@click.option(
    "--max-step",
    type=click.Choice(STEPS),
    default=STEPS[-1],
    help="The last step of the ladder that may be tried: ranges by min-max, percentile or entropy, corrected biases, mixed precision.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    help="Seed of the calibration draw and the self-test's patterns.",
)
def build(
    run: Path,
    data: Path,
    out: Path,
    name: str | None,
    version: str,
    profile: str,
    max_step: str,
    seed: int,
) -> None:
    """Convert RUN, climb the ladder until int8 passes, and write the bundle if every artifact passes the gate.

    A step is tried on the validation split; what passes there has to pass on the whole test split, and no option loosens the
    gate. Beside the bundle lies NAME.report.html, which shows both confusion matrices, their difference, and each picture whose
    label changed. When the gate refuses, no bundle is written, the reasons are printed, and NAME.report.json is kept.
    """
    if out.suffix != ".edgeemo":
        raise click.UsageError(f"--out must end in .edgeemo, received {out}")
    from export.build import build as run_build
    from export.report.tables import measured_lines

    bundle, made = run_build(
        run, data, out, name=name, version=version, seed=seed, profile=profile, max_step=max_step
    )
    for line in measured_lines(made):
        click.echo(line)
    click.echo(
        f"wrote {out}: {bundle.manifest.name} {bundle.manifest.version}, {out.stat().st_size:,} bytes, "
        f"and {out.with_suffix('.report.html')}"
    )


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The prepared folder that the run was trained on [default: where the run says it was].",
)
@click.option(
    "--ranges",
    type=click.Choice(list(METHODS)),
    default=STEPS[0],
    help="How ranges are found; a run of quantization-aware training has its own.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1, 500),
    default=64,
    help="About how many calibration pictures to look at.",
)
@click.option(
    "--worst", "count", type=click.IntRange(1), default=5, help="How many layers to give advice on."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Where to draw it [default: int8_layers.png in RUN].",
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Seed of the calibration draw.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a layer on stdout, in the order of execution.",
)
def inspect(
    run: Path,
    data: Path | None,
    ranges: str,
    pictures: int,
    count: int,
    plot: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Show where RUN loses what in int8: its layers in float and in int8 side by side, the worst ones, and what to do.

    SQNR is signal to quantization noise in dB: 30 and more is good, below 20 is poor. A layer's noise comes from those before it
    and from itself; `adds` is its own part.
    """
    from dataclasses import asdict

    from edgeemo.contract import strict
    from export.prove.inspect import inspect_run, plot_layers
    from export.report.tables import layer_lines

    detail, layers = inspect_run(run, data, ranges, pictures, seed)
    picture = plot or run / "int8_layers.png"
    plot_layers(picture, f"{run}: {detail}", layers, count)
    if as_json:
        for layer in layers:
            # JSON has no infinity: nothing was lost.
            lossless = {"sqnr_db": None} if layer.sqnr_db == float("inf") else {}
            click.echo(strict.dumps_line(asdict(layer) | {"advice": layer.advice} | lossless))
        return
    click.echo(f"{run}: {detail}")
    for line in layer_lines(layers, count):
        click.echo(line)
    click.echo(f"wrote {picture}")


@main.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A prepared folder.")
@click.option(
    "--artifact",
    metavar="FILE",
    help="Of both bundles [default: the int8 model that this machine can run].",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    help="Which pictures.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object for each kind of labels on stdout."
)
def compare(a: Path, b: Path, data: Path, artifact: str | None, split: str, as_json: bool) -> None:
    """Compare the bundles A and B picture by picture: who is right where the other is not.

    The difference in top-1 stands with its 90 % interval and the exact McNemar test; it is paired, so it tells smaller
    differences than two intervals side by side. Where the data holds FER+ votes, the majority's faces are counted too.
    """
    from dataclasses import asdict

    from edgeemo.contract import strict
    from export.prove.compare import compare as run_compare
    from export.report.tables import comparison_lines

    titles, found = run_compare((a, b), data, artifact=artifact, split=split)
    for comparison in found:
        if as_json:
            click.echo(
                strict.dumps_line(
                    {"bundles": titles, **asdict(comparison), "verdict": comparison.verdict}
                )
            )
    if not as_json:
        for line in comparison_lines(titles, found):
            click.echo(line)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder to write into."
)
@click.option(
    "--trtexec",
    metavar="PATH",
    help="TensorRT's builder [default: found in PATH or /usr/src/tensorrt/bin].",
)
def tensorrt(bundle: Path, out: Path, trtexec: str | None) -> None:
    """Write BUNDLE's ONNX files and the commands that make TensorRT engines of them; where TensorRT is installed, the engines.

    Each engine is held against the logits of the bundle's self-test; exit code 1 when one answers something else. An engine
    fits the GPU and the TensorRT version that built it, so run this on the device.
    """
    from edgeemo.contract.bundle import read_bundle
    from edgeemo.errors import GateFailed
    from export.convert.tensorrt import SCRIPT, build_engines, find_trtexec, write_commands

    opened, program = read_bundle(bundle), trtexec or find_trtexec()
    if program is None:
        for command in write_commands(opened, out):
            click.echo(" ".join(command))
        click.echo(
            f"TensorRT is not installed here; on the device run {out / SCRIPT}, or this command again for the check"
        )
        return
    engines = build_engines(opened, out, program)
    for engine in engines:
        click.echo(
            f"{engine.path}: largest difference of a logit {engine.difference:.4g}, allowed {engine.bound:g}: "
            + ("passed" if engine.passed else "failed")
        )
    if failed := [str(engine.path) for engine in engines if not engine.passed]:
        raise GateFailed(
            f"{', '.join(failed)}: does not answer as the bundle promises; do not use it"
        )


@main.command()
@click.argument("bundle")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The folder to write into."
)
@click.option(
    "--target",
    type=click.Choice(list(TARGETS)),
    default="c99",
    help=f"What it will be built with. {target_summaries()}",
)
@click.option(
    "--max-ram",
    metavar="BYTES",
    help="Refuse when the arena is larger; 64K is 65536.",
    callback=_bytes,
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def firmware(bundle: str, out: Path, target: str, max_ram: int | None, as_json: bool) -> None:
    """Write BUNDLE's int8 model (a file, or a shipped name) as plain C99: no interpreter, no heap, no dependencies.

    \b
    edgeemo_model.c/.h       tables, a static memory plan, edgeemo_init, edgeemo_infer, edgeemo_softmax_q15
    edgeemo_kernels.c/.h     the kernels: the logits are those of LiteRT's reference kernels, bit for bit
    edgeemo_preprocess.c/.h  crop, grey and resize of a camera's frame, with the bytes that training saw
    edgeemo_vectors.c        edgeemo_selftest
    model_settings.h         labels, input, scales, smoothing, hashes
    README.md, Makefile      how to build and call it

    A layer that the kernels do not cover (floats, 16-bit activations) is refused by name. docs/microcontrollers.md has
    sizes and speeds.
    """
    from dataclasses import asdict

    from edgeemo.contract import strict
    from edgeemo.contract.bundle import read_bundle
    from edgeemo.models import find_model
    from export.firmware.generate import generate

    made = generate(read_bundle(find_model(bundle)), out, target=target, max_ram=max_ram)
    if as_json:
        click.echo(strict.dumps_line({"out": str(out), **asdict(made)}))
        return
    click.echo(
        f"wrote {out} for {target}: {made.table_bytes:,} bytes of tables in flash, {made.arena_bytes:,} bytes of RAM beside the "
        f"stack, {made.multiply_accumulates:,} multiply-accumulates an inference"
    )
    click.echo(
        f"see {out / 'README.md'}"
        + (f"; try it here: make -C {out} check" if target == "c99" else "")
    )


@main.command("flash-image")
@click.argument("bundle")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file to write, model.bin."
)
@click.option(
    "--max-ram",
    metavar="BYTES",
    help="Refuse when the arena is larger; 64K is 65536.",
    callback=_bytes,
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def flash_image(bundle: str, out: Path, max_ram: int | None, as_json: bool) -> None:
    """Write BUNDLE's int8 model (a file, or a shipped name) as the content of a flash partition.

    Firmware made with `firmware --target esp32` loads it without being built again: it checks header, SHA-256, label order,
    input and layers, runs the self-test, and keeps its old model when anything is wrong. `edgeemo flash` writes it to a device.
    """
    from dataclasses import asdict

    from edgeemo.contract import strict
    from edgeemo.contract.bundle import read_bundle
    from edgeemo.contract.files import written_beside
    from edgeemo.firmware.image import build_image, read_header
    from edgeemo.models import find_model
    from export.firmware.generate import check_ram

    opened = read_bundle(find_model(bundle))
    check_ram(opened, max_ram)
    image = build_image(opened)
    header = read_header(image)
    with written_beside(out) as part:
        part.write_bytes(image)
    if as_json:
        click.echo(strict.dumps_line({"out": str(out), **asdict(header)}))
        return
    click.echo(
        f"wrote {out}: {header.name} {header.version}, {len(image):,} bytes, needs {header.arena_bytes:,} bytes of RAM"
    )


if __name__ == "__main__":
    shell.run(main, "python -m export")
