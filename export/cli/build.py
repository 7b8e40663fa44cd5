"""python -m export build."""

import shlex
from pathlib import Path

import click

from edgeemo.cli.shell import NumberRange, say
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.run import run_files
from edgeemo.data.prepared import prepared_files
from export.cli.bundle_options import bundle_options
from export.cli.options import PATH, RunPath, out

REPORTS = (".report.html", ".report.json")


@click.command()
@click.argument("run", type=RunPath())
@click.option(
    "--data", type=PATH, required=True, help="The prepared folder that the run was trained on."
)
@out("The bundle to write, NAME.edgeemo.")
@bundle_options(
    licence=(
        "What one may do with the bundle [default: MIT where all comes from FER-2013, else not "
        "stated]."
    ),
    seed="Seed of the calibration draw and the self-test's patterns.",
)
@click.option(
    "--adjustment",
    type=NumberRange(0, 1),
    metavar="SHARE",
    help=(
        "How much of the training prior is taken off the scores, 0 (as trained, best top-1) "
        "to 1 (rare classes as likely as others) [default: as much as costs one point of top-1 on "
        "validation]."
    ),
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
    adjustment: float | None,
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
        Settings(profile, max_step, gate_min, seed, adjustment),
    )
    for line in measurement_lines(list(measurements.values())):
        say(line)
    say(
        f"wrote {out}: {bundle.manifest.name} {bundle.manifest.version}, "
        f"{out.stat().st_size:,} bytes, and {out.with_suffix('.report.html')}"
    )
    say(f"next: edgeemo evaluate {shlex.join((str(out), str(data)))} --against report")
