"""python -m export adopt."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_output
from edgeemo.data.prepared import prepared_files
from export.cli.build import REPORTS
from export.cli.options import PATH, out
from export.profiles import PROFILES, profile_summaries
from export.prove.steps import STEPS

UNKNOWN_LICENCE = "unknown; ask who made the model"


@click.command()
@click.argument("model", type=PATH)
@click.option(
    "--labels",
    required=True,
    metavar="A,B,...",
    help="Names of the classes, in the order of the outputs.",
)
@click.option("--data", type=PATH, required=True, help="Labelled pictures.")
@out("The bundle to write, NAME.edgeemo.")
@click.option("--input", "size", metavar="HxW-grey|rgb", help="The input, such as 64x64-grey.")
@click.option("--scale", help="The first layer takes pixel * SCALE + OFFSET.")
@click.option("--offset", help="See --scale.")
@click.option("--mean", help="Instead of --scale: it takes (pixel - MEAN) / STD.")
@click.option("--std", help="See --mean.")
@click.option("--scores", type=click.Choice(["logits", "softmax"]), help="What the outputs are.")
@click.option("--reference", type=PATH, help="Of an int8 model, the float one.")
@click.option("--calibration", type=PATH, help="A folder of pictures to calibrate with.")
@click.option("--name", help="The bundle's name [default: the file's].")
@click.option("--version", default="0.1.0", help="The bundle's version.")
@click.option("--licence", default=UNKNOWN_LICENCE, help="What one may do with the model.")
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="all",
    help=f"For which devices. {profile_summaries()}",
)
@click.option("--max-step", type=click.Choice(STEPS), default=STEPS[-1], help="As of build.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Of all that is drawn.")
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
    name: str | None,
    version: str,
    licence: str,
    profile: str,
    max_step: str,
    seed: int,
) -> None:
    """Make a bundle of a MODEL from elsewhere."""
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
    from export.manifest import Named
    from export.report.tables import measurement_lines

    names = tuple(word.strip() for word in labels.split(","))
    check_labels(names, "--labels")
    wanted = Wanted(
        names,
        parse_size(size) if size else None,
        scaling_of(scale, offset, mean, std),
        Scores(scores) if scores else None,
    )
    request = Request(model, wanted, data, reference, calibration, profile, max_step, seed)
    bundle, measurements = run_adopt(request, out, Named(name or out.stem, version, licence))
    for line in measurement_lines(list(measurements.values())):
        say(line)
    say(
        f"wrote {out}: {bundle.manifest.name} {bundle.manifest.version}, "
        f"{out.stat().st_size:,} bytes, and {out.with_suffix('.report.html')}"
    )
