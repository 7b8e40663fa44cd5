"""python -m export adopt."""

import shlex
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_output
from edgeemo.data.prepared import prepared_files
from export.cli.build import REPORTS
from export.cli.bundle_options import bundle_options
from export.cli.options import PATH, out

UNKNOWN_LICENCE = "unknown; ask who made the model"


@click.command()
@click.argument("model", type=PATH)
@click.option(
    "--labels",
    required=True,
    metavar="A,B,...",
    help="Names of the classes, in the order of the outputs.",
)
@click.option(
    "--data",
    type=PATH,
    required=True,
    help=(
        "Labelled pictures of cropped faces to judge it on: a folder or zip archive of class "
        "folders (named as --labels, or by known words for them; train/, validation/ and test/ "
        "above count), or a prepared folder."
    ),
)
@out("The bundle to write, NAME.edgeemo.")
@click.option(
    "--input",
    "size",
    metavar="HxW-grey|rgb",
    help="Height, width and colour of the input, such as 64x64-grey [default: read from MODEL].",
)
@click.option(
    "--scale",
    metavar="NUMBER",
    help=(
        "The first layer takes pixel * SCALE + OFFSET: a number such as 1/127.5, or one a channel "
        "with commas between [default: what MODEL says, or the usual one that fits best]."
    ),
)
@click.option("--offset", metavar="NUMBER", help="See --scale [default: 0].")
@click.option(
    "--mean",
    metavar="NUMBER",
    help=(
        "Instead of --scale: the first layer takes (pixel - MEAN) / STD; numbers of at most 1 are "
        "for pixels of 0..1, as torchvision's Normalize has them."
    ),
)
@click.option("--std", metavar="NUMBER", help="See --mean.")
@click.option(
    "--scores",
    type=click.Choice(["logits", "softmax"]),
    help="What the outputs are [default: seen from MODEL's last operator].",
)
@click.option(
    "--reference",
    type=PATH,
    help="The float model of an int8 MODEL, which int8 is then judged against as it is.",
)
@click.option(
    "--calibration",
    type=PATH,
    help=(
        "A folder or zip archive of pictures without labels to calibrate with [default: a part of "
        "--data, which is then not tested on]."
    ),
)
@click.option(
    "--custom",
    type=PATH,
    multiple=True,
    metavar="FILE.py",
    help="A Python file that defines layers of MODEL; it is run. May be given again.",
)
@click.option(
    "--trust-code",
    is_flag=True,
    help="Run the code of Lambda layers in MODEL. Do so only if you trust who made it.",
)
@bundle_options(
    licence="What one may do with it.",
    seed="Seed of the parts, the calibration draw and the self-test's patterns.",
    default_licence=UNKNOWN_LICENCE,
)
def adopt(
    model: Path,
    labels: str,
    data: Path,
    out: Path,
    size: str | None,
    scale: str | None,
    offset: str | None,
    mean: str | None,
    std: str | None,
    scores: str | None,
    reference: Path | None,
    calibration: Path | None,
    custom: tuple[Path, ...],
    trust_code: bool,
    name: str | None,
    version: str,
    licence: str,
    profile: str,
    max_step: str,
    gate_min: int,
    seed: int,
) -> None:
    """Make a bundle of a MODEL that was trained elsewhere, through the ladder and the gate.

    MODEL is a .keras, .h5 or .hdf5 file (Keras 1 to 3), a SavedModel folder, an .onnx file, or a
    .tflite one. Softmax or sigmoid at its end is cut off, two classes as one sigmoid become two
    logits, NCHW and free batches are brought to one picture as pixels; what was made of it must
    give the scores that the file itself gives. What was read from the file and what had to be
    assumed is printed and stands in the report.

    \b
    python -m export adopt mine.keras --labels happy,sad,angry \\
        --data faces/ --out mine.edgeemo
    python -m export adopt net.onnx --labels a,b --data faces/ \\
        --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --out net.edgeemo
    python -m export adopt int8.tflite --reference float.tflite --labels a,b \\
        --data faces/ --scale 1/127.5 --offset -1 --out int8.edgeemo

    A .tflite becomes a bundle of TFLite, an .onnx one of ONNX alone (no microcontroller), the
    others one of both. PyTorch's .pt and .pth files hold pickled code and are never read: export
    ONNX. See docs/own-models.md.
    """
    if out.suffix != ".edgeemo":
        raise click.UsageError(f"--out must end in .edgeemo, received {out}")
    inputs = (model, data, reference, calibration, *prepared_files(data))
    for ending in (out.suffix, *REPORTS):
        check_output(out.with_suffix(ending), inputs)
    from edgeemo.contract.input_spec import parse_size
    from edgeemo.contract.labels import check_labels
    from export.adopt.adopt import Request
    from export.adopt.adopt import adopt as run_adopt
    from export.adopt.wanted import Scores, Wanted, scaling_of
    from export.build import Settings
    from export.manifest import Named
    from export.report.tables import measurement_lines

    names = tuple(word.strip() for word in labels.split(","))
    check_labels(names, "--labels")
    wanted = Wanted(
        names,
        None if size is None else parse_size(size),
        scaling_of(scale, offset, mean, std),
        Scores(scores) if scores else None,
        trust_code,
        tuple(map(str, custom)),
    )
    named = Named(name or out.stem, version, licence)
    settings = Settings(profile, max_step, gate_min, seed)
    request = Request(model, wanted, data, reference, calibration, settings)
    bundle, measurements = run_adopt(request, out, named)
    for line in measurement_lines(list(measurements.values())):
        say(line)
    say(
        f"wrote {out}: {bundle.manifest.name} {bundle.manifest.version}, "
        f"{out.stat().st_size:,} bytes, and {out.with_suffix('.report.html')}"
    )
    say(f"next: edgeemo evaluate {shlex.join((str(out), str(data)))} --against report")
