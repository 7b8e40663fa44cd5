"""python -m export build."""

import shlex
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.run import run_files
from edgeemo.data.prepared import prepared_files
from edgeemo.proof.conditions import PICTURES_NEEDED
from export.cli.options import PATH, checked_licence, out
from export.profiles import PROFILES, profile_summaries
from export.prove.steps import STEPS

REPORTS = (".report.html", ".report.json")


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--data", type=PATH, required=True, help="The prepared folder that the run was trained on."
)
@out("The bundle to write, NAME.edgeemo.")
@click.option("--name", help="The bundle's name [default: the file's].")
@click.option("--version", default="0.1.0", help="The bundle's version.")
@click.option(
    "--licence",
    metavar="TEXT",
    callback=checked_licence,
    help=(
        "What one may do with the bundle [default: MIT where all comes from FER-2013, else not "
        "stated]."
    ),
)
@click.option(
    "--profile",
    type=click.Choice(list(PROFILES)),
    default="all",
    help=f"For which devices. {profile_summaries()}",
)
@click.option(
    "--max-step",
    type=click.Choice(STEPS),
    default=STEPS[-1],
    help=(
        "The last step of the ladder that may be tried: ranges by min-max, percentile or entropy, "
        "corrected biases, mixed precision."
    ),
)
@click.option(
    "--gate-min",
    type=click.IntRange(1),
    metavar="PICTURES",
    default=PICTURES_NEEDED,
    help=(
        "Judge by a test split of so many pictures or more. It loosens no limit, and less than "
        "the default is said in the bundle's report."
    ),
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
    licence: str | None,
    profile: str,
    max_step: str,
    gate_min: int,
    seed: int,
) -> None:
    """Convert RUN, climb the ladder until int8 passes, and write the bundle if all pass the gate.

    \b
    python -m export build runs/small --data prepared/ --out small.edgeemo
    python -m export build runs/mine --data mine/ --gate-min 60 --profile mcu \\
        --out mine.edgeemo

    A step is tried on the validation split; what passes there has to pass on the whole test split,
    and no option loosens the gate. Beside the bundle lies NAME.report.html, which shows both
    confusion matrices, their difference, and each picture whose label changed. When the gate
    refuses, no bundle is written, the reasons are printed, and NAME.report.json is kept.
    """
    if out.suffix != ".edgeemo":
        raise click.UsageError(f"--out must end in .edgeemo, received {out}")
    inputs = (*run_files(run), *prepared_files(data))
    for ending in (out.suffix, *REPORTS):
        check_output(out.with_suffix(ending), inputs)
    from export.build import Settings
    from export.build import build as run_build
    from export.manifest import Named
    from export.report.tables import measurement_lines

    bundle, measurements = run_build(
        run,
        data,
        out,
        Named(name or out.stem, version, licence),
        Settings(profile, max_step, gate_min, seed),
    )
    for line in measurement_lines(list(measurements.values())):
        say(line)
    say(
        f"wrote {out}: {bundle.manifest.name} {bundle.manifest.version}, "
        f"{out.stat().st_size:,} bytes, and {out.with_suffix('.report.html')}"
    )
    say(f"next: edgeemo evaluate {shlex.join((str(out), str(data)))} --against report")
