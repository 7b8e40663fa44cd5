"""`stats`: what a prepared folder holds."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_apart
from training.cli.paths import beside


@click.command()
@click.argument("prepared", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the pictures go [default: PREPARED-stats].",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout instead of the tables."
)
def stats(prepared: Path, out: Path | None, as_json: bool) -> None:
    """Count a prepared folder by source, split and class, with copies, overlap and conflicts, and
    draw it.

    \b
    python -m training stats prepared/
    python -m training stats prepared/ --out pictures/ --json
    """
    from edgeemo.data.prepared import load_prepared
    from training.studies.stats import statistics, stats_lines, write_pictures

    data = load_prepared(prepared)
    counted = statistics(data)
    # Beside the folder: what is in it is checked, and replaced when it is made again.
    out = out or beside(prepared, "stats")
    check_apart(out, (prepared,))
    written = write_pictures(data, counted, out)
    if as_json:
        say(strict.dumps(counted, indent=None))
        return
    for line in stats_lines(counted):
        say(line)
    say(f"wrote {out}: {', '.join(path.name for path in written)}")
