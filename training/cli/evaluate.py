"""`evaluate`: a run's float model on one split."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.data.prepared import SPLITS
from training.cli.cards import cards_json, print_cards


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    help="Which pictures.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout instead of the table."
)
def evaluate(run: Path, data: Path, split: str, as_json: bool) -> None:
    """Evaluate a run's float model, and write its predictions, confusion matrices and reliability
    diagrams into the run.

    Top-1 is shown against the data set's labels and, where votes are known, against the FER+
    majority; both again with each picture and its mirror image averaged.

    \b
    python -m training evaluate runs/small --data prepared/
    python -m training evaluate runs/small --data prepared/ --split validation
    """
    from training.machines.backend import choose_backend

    choose_backend()
    from training.runs.evaluate import evaluate_run, scorecards
    from training.runs.run import load_run

    evaluate_run(run, data, split)
    cards = scorecards(run, data, split)
    if as_json:
        say(strict.dumps(cards_json(cards), indent=None))
        return
    fitted = split == "train" or (split == "validation" and load_run(run).recipe.with_validation)
    print_cards(cards, f"{run}, float, {split}{' (fitted to)' * fitted}")
    say(
        f"wrote {run / f'predictions_{split}.npz'} and pictures beside it, among them "
        f"confusion_{split}.png"
    )
