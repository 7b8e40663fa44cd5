"""`evaluate`: a run's float model on one split."""

from pathlib import Path

import click

from edgeemo.contract import strict
from training.commands.cards import print_card, print_ferplus


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", help="Which pictures.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of the table.")
def evaluate(run: Path, data: Path, split: str, as_json: bool) -> None:
    """Evaluate a run's float model and write its predictions and confusion matrix into the run."""
    from training.backend import choose_backend

    choose_backend()
    from training.train import evaluate_run, ferplus_scorecard, scorecard_json

    card = evaluate_run(run, data, split)
    ferplus = ferplus_scorecard(run, data, split)
    if as_json:
        against = {"ferplus_majority": scorecard_json(ferplus) if ferplus else None}
        click.echo(strict.dumps(scorecard_json(card) | against, indent=None))
        return
    print_card(card, f"{run}, float, {split}")
    print_ferplus(ferplus, f"{run}, float, {split}")
    click.echo(f"wrote {run / f'predictions_{split}.npz'} and {run / f'confusion_{split}.png'}")
