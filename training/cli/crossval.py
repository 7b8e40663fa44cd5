"""`crossval`: what a recipe reaches, and how much that varies."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_apart
from training.cli.options import Given, recipe_options


@click.command()
@click.argument("data", metavar="PREPARED", type=click.Path(path_type=Path))
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    default=5,
    help="Networks to fit, each to all folds but one.",
)
# Another run has seen pictures of every fold, and without validation nothing stops early.
@recipe_options(
    "init", "teachers", "informed", "views", "distill", "temperature", "patience", "with_validation"
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="crossval.json on stdout, on one line, instead of the table.",
)
def crossval(data: Path, folds: int, given: Given, out: Path, as_json: bool) -> None:
    """Cross-validate a recipe on all pictures but those of the test split.

    Copies of a picture stay in one fold and classes are spread evenly. Shows recall of each class,
    top-1 and macro-F1 of every fold, and their mean and standard deviation. A second call goes on
    with the folds that are done.

    \b
    python -m training crossval prepared/ --model small --epochs 30 \\
        --out crossval/
    """
    check_apart(out, given.inputs(data))
    from training.machines.backend import choose_backend
    from training.machines.seen import announce

    announce(choose_backend(), err=True)
    from training.machines.choose import with_pipeline
    from training.machines.devices import ONE
    from training.studies.crossval import PICTURE, table_lines
    from training.studies.crossval import crossval as run_crossval

    recipe = with_pipeline(given.recipe(), ONE, settled=given.pipeline_settled)
    summary = run_crossval(recipe, data, out, folds=folds)
    if as_json:
        say(strict.dumps(summary, indent=None))
        return
    for line in table_lines(summary):
        say(line)
    say(f"wrote {out / 'crossval.json'} and {PICTURE} beside it")
