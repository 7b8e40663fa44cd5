"""`leaks`: what a random split would have leaked."""

from pathlib import Path

import click

from edgeemo.cli.shell import NumberRange, say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_apart
from training.cli.paths import beside


@click.command()
@click.argument("prepared", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder to write [default: PREPARED-leaks]."
)
@click.option("--no-train", is_flag=True, help="Count only; train no network.")
@click.option(
    "--per-class",
    type=click.IntRange(10),
    default=4000,
    metavar="N",
    help=(
        "Faces of each class that both protocols work with; the reference work's 12,006 takes "
        "three times as long."
    ),
)
@click.option(
    "--share",
    type=NumberRange(0, 1, min_open=True),
    help=(
        "Share of the groups that they draw from [default: N / 12,006, so that copies are as "
        "frequent as at full size]."
    ),
)
@click.option(
    "--epochs", type=click.IntRange(1), default=15, help="Passes over the training pictures."
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, help="Seed of splits, copies, weights and order."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="leaks.json on stdout, on one line, instead of the table.",
)
def leaks(
    prepared: Path,
    out: Path | None,
    no_train: bool,
    per_class: int,
    share: float | None,
    epochs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Count the test pictures that a random split would have in train too, and train the reference
    work's protocol on them.

    Two networks are trained, one on classes balanced first and split at random, one on whole groups
    split first: about seven minutes on two cores for 37,000 pictures. --no-train takes seconds.

    \b
    python -m training leaks prepared/ --no-train
    python -m training leaks prepared/ --per-class 4000 --out leaks/
    """
    from edgeemo.contract.checked.folders import folder_written_beside
    from edgeemo.data.prepared import load_prepared
    from training.studies.leak_report import markdown_lines, write_leaks
    from training.studies.leaks import REFERENCE_PER_CLASS

    data = load_prepared(prepared)
    out = out or beside(prepared, "leaks")
    check_apart(out, (prepared,))
    share = share or min(1.0, per_class / REFERENCE_PER_CLASS)
    with folder_written_beside(out) as folder:
        training = None
        if not no_train:
            from training.machines.backend import choose_backend

            choose_backend()
            from training.studies.protocols import compare

            training = compare(data, per_class, share, epochs, seed)
        report = write_leaks(folder, data, seed, training)
    if as_json:
        say(strict.dumps(report, indent=None))
        return
    for line in markdown_lines(report):
        say(line)
    say(f"wrote {out}; look at {out / 'leaks.html'}")
