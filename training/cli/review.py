"""`review`: labels that are probably wrong, for a person to decide on."""

from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_apart


@click.command()
@click.argument("data", metavar="PREPARED", type=click.Path(path_type=Path))
@click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path),
    required=True,
    help="The run whose recipe is fitted.",
)
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    default=5,
    help="Networks to fit, each to all folds but one.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Epochs of each [default: 12, or the run's where those are fewer].",
)
@click.option(
    "--top", type=click.IntRange(1), default=500, help="How many suspects to list at most."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The folder of the review [default: RUN/review]."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    help="Seed of the folds and of the networks.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="review.json on stdout, on one line, instead of the text.",
)
def review(data: Path, run: Path, out: Path | None, as_json: bool, **choices: Any) -> None:
    """Find labels that are probably wrong, for a person to decide on.

    Fits networks of the run's recipe to all folds but one and judges that one's labels, so that no
    network has seen a picture it judges, nor a copy of it. Writes review.csv (fill in its column
    `decision` and give it to prepare --reviewed), review.html with the pictures, and a sheet a
    class. A second call goes on with the folds that are done.

    \b
    python -m training review prepared/ --run runs/small
    """
    from training.machines.backend import choose_backend
    from training.machines.seen import announce

    backend = choose_backend()
    from training.studies.review import review as run_review
    from training.studies.review_files import summary_lines

    out = out or run / "review"
    check_apart(out, (data, run))
    announce(backend, err=True)
    summary = run_review(data, run, out, **choices)
    if as_json:
        say(strict.dumps(summary, indent=None))
        return
    for line in summary_lines(summary):
        say(line)
    say(
        f"wrote {out / 'review.csv'}; look at {out / 'review.html'}, fill in the column decision, "
        "and give it to prepare --reviewed"
    )
