"""python -m training: prepare, train, evaluate."""

from dataclasses import replace
from pathlib import Path

import click

from edgeemo.cli import shell
from edgeemo.cli.tables import scorecard_lines
from edgeemo.contract import strict


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """From archives of labelled faces to a trained float model.

    \b
    python -m training prepare --source fer2013=fer2013.zip --out prepared/
    python -m training train --data prepared/ --out runs/small
    python -m training evaluate runs/small --data prepared/
    """


@main.command()
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    metavar="NAME=PATH",
    help="A data set and its archive or folder; may be given several times. Known: fer2013.",
)
@click.option("--ferplus", type=click.Path(path_type=Path), help="FER+ votes (CSV), stored beside each picture.")
@click.option(
    "--split",
    type=click.Choice(["official"]),
    default="official",
    help="official: the set's own test part is `test`, a tenth of its training part `validation`.",
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Seed of the validation draw.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The prepared folder to write.")
def prepare(sources: tuple[str, ...], ferplus: Path | None, split: str, seed: int, out: Path) -> None:
    """Decode the pictures once, group copies, split, and write a prepared folder."""
    from training.prepare import prepare as run_prepare
    from training.sources import parse_source

    dataset = run_prepare([parse_source(text) for text in sources], out, ferplus=ferplus, split=split, seed=seed)
    for source, by_split in dataset["counts"].items():
        for name, by_label in sorted(by_split.items()):
            click.echo(
                f"{source} {name:<10} {sum(by_label.values()):>7,}  "
                + "  ".join(f"{k} {v:,}" for k, v in by_label.items())
            )
    for reason, count in dataset["rejected_counts"].items():
        click.echo(f"warning: {count:,} files left out: {reason}", err=True)
    click.echo(
        f"wrote {out}: {dataset['images']:,} pictures in {dataset['groups']:,} groups; look at {out / 'report.html'}"
    )


@main.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option("--model", type=click.Choice(["small"]), default="small", help="The network.")
@click.option("--labels", type=click.Choice(["fer2013"]), default="fer2013", help="Which labels to fit.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to write.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training faces [default: the recipe's].")
@click.option("--seed", type=click.IntRange(0), help="Seed of weights, order and augmentation [default: the recipe's].")
@click.option("--resume", is_flag=True, help="Continue an interrupted run from its last epoch, with its own recipe.")
def train(data: Path, model: str, labels: str, out: Path, epochs: int | None, seed: int | None, resume: bool) -> None:
    """Fit a network and write its run folder. Ctrl-C stops it; --resume goes on from the last epoch."""
    from training.backend import choose_backend

    choose_backend()
    from training.recipe import Recipe
    from training.run import load_run
    from training.train import train as run_train

    recipe = load_run(out).recipe if resume else Recipe(model=model, labels=labels)
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs)
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    card = run_train(recipe, data, out, resume=resume)
    _print_card(card, f"{out}, float, test")
    click.echo(f"wrote {out}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="test", help="Which pictures.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of the table.")
def evaluate(run: Path, data: Path, split: str, as_json: bool) -> None:
    """Evaluate a run's float model and write its predictions and confusion matrix into the run."""
    from training.backend import choose_backend

    choose_backend()
    from training.train import evaluate_run, scorecard_json

    card = evaluate_run(run, data, split)
    if as_json:
        click.echo(strict.dumps(scorecard_json(card), indent=None))
        return
    _print_card(card, f"{run}, float, {split}")
    click.echo(f"wrote {run / f'predictions_{split}.npz'} and {run / f'confusion_{split}.png'}")


def _print_card(card: object, title: str) -> None:
    for line in scorecard_lines(card, title):  # type: ignore[arg-type]
        click.echo(line)


if __name__ == "__main__":
    shell.run(main, "python -m training")
