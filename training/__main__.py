"""python -m training: prepare, stats, leaks, train, evaluate, review."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgeemo.cli import shell
from edgeemo.cli.tables import scorecard_lines
from edgeemo.contract import strict
from edgeemo.errors import InvalidInput
from edgeemo.evaluation import Scorecard


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """From archives of labelled faces to a trained float model.

    \b
    python -m training prepare --source fer2013=fer2013.zip --out prepared/
    python -m training stats prepared/
    python -m training leaks prepared/
    python -m training train --data prepared/ --out runs/small
    python -m training evaluate runs/small --data prepared/
    python -m training review prepared/ --run runs/small
    """


@main.command()
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME[=PATH]",
    help="A data set, and its archive or folder; without =PATH it is downloaded from Kaggle into ~/.cache/edgeemo/data. May be "
    "given several times. Known: fer2013, facial-emotion-expressions, face-emotion-dataset, facial-emotion-dataset, "
    "facial-emotion-recognition. [default: all whose licence needs no consent]",
)
@click.option(
    "--accept-license",
    is_flag=True,
    help="Take facial-emotion-recognition too: CC BY-NC-ND 4.0 (no commercial use, no derived works), and one subject is 15.",
)
@click.option("--ferplus", type=click.Path(path_type=Path), help="FER+ votes (CSV), stored beside each picture.")
@click.option(
    "--reviewed", type=click.Path(path_type=Path), help="The CSV of `review`, with a person's decisions filled in."
)
@click.option(
    "--split",
    type=click.Choice(["grouped", "official"]),
    default="grouped",
    help="grouped: 60/20/20, copies together, FER-2013's own test part in test. official: that part alone is test, its copies are "
    "left out, and the rest is 90/10.",
)
@click.option(
    "--conflicts",
    type=click.Choice(["majority", "drop", "keep"]),
    default="majority",
    help="Copies of one picture with different labels: take the majority's (FER+ votes first), drop them, or keep each as it is. "
    "Labels of FER-2013's test part never change.",
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Seed of the split.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The prepared folder to write.")
@click.option("--json", "as_json", is_flag=True, help="dataset.json on stdout, on one line, instead of the tables.")
def prepare(
    sources: tuple[str, ...],
    accept_license: bool,
    ferplus: Path | None,
    reviewed: Path | None,
    split: str,
    conflicts: str,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Decode the pictures once, find copies and near copies, settle conflicting labels, split, and write a prepared folder.

    \b
    python -m training prepare --source fer2013=fer2013.zip --ferplus ferplus_votes.csv --out prepared/
    """
    from training.prepare import prepare as run_prepare
    from training.sources import choose_sources

    chosen = choose_sources(sources, accept_license=accept_license)
    dataset = run_prepare(
        [(source, path or _downloaded(source.kaggle)) for source, path in chosen],
        out,
        ferplus=ferplus,
        reviewed=reviewed,
        split=split,
        conflicts=conflicts,
        seed=seed,
    )
    if as_json:
        click.echo(strict.dumps(dataset, indent=None))
        return
    for source, by_split in dataset["counts"].items():
        for name, by_label in sorted(by_split.items()):
            counts = "  ".join(f"{label} {count:,}" for label, count in by_label.items())
            click.echo(f"{source} {name:<10} {sum(by_label.values()):>7,}  {counts}")
    for reason, count in dataset["rejected_counts"].items():
        click.echo(f"warning: {count:,} files left out: {reason}", err=True)
    for reason, count in dataset["excluded"].items():
        click.echo(f"{count:,} pictures in no split: {reason}")
    settled = dataset["conflicts"]
    click.echo(
        f"{settled['groups']:,} pictures carry different labels in their {settled['pictures']:,} copies; policy "
        f"{settled['policy']}: {settled['changed']:,} labels changed, {settled['dropped']:,} copies dropped"
    )
    click.echo(
        f"wrote {out}: {dataset['images']:,} pictures in {dataset['groups']:,} groups; look at {out / 'report.html'}"
    )


def _downloaded(dataset: str) -> Path:
    from training.kaggle import fetch

    return fetch(dataset)


@main.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option("--model", type=click.Choice(["small"]), default="small", help="The network.")
@click.option(
    "--labels",
    type=click.Choice(["fer2013", "ferplus", "mix"]),
    help="fer2013: the hard labels. ferplus: the shares of FER+'s votes among the seven; pictures most of whose votes are for "
    "contempt, unknown or not-a-face are left out. mix: half votes, half hard label [default: fer2013].",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run folder to write.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training faces [default: the recipe's].")
@click.option(
    "--balance",
    type=click.IntRange(1),
    metavar="N",
    help="Fit N faces of each class an epoch: drawn without replacement where there are more, augmented copies where there are "
    "fewer. Not with --class-weight or --focal.",
)
@click.option(
    "--class-weight",
    is_flag=True,
    default=None,
    help="Weigh each face's loss by how rare its class is, faces / (classes * faces of the class). Not with --balance or --focal.",
)
@click.option(
    "--focal",
    type=click.FloatRange(0, min_open=True),
    metavar="GAMMA",
    help="Focal loss: faces that are right and sure count less, the more so the larger GAMMA (2 is usual). Not with --balance or "
    "--class-weight.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of weights, order and augmentation [default: the recipe's].")
@click.option("--resume", is_flag=True, help="Continue an interrupted run from its last epoch, with its own recipe.")
def train(data: Path, model: str, out: Path, resume: bool, **choices: object) -> None:
    """Fit a network and write its run folder. Ctrl-C stops it; --resume goes on from the last epoch."""
    from training.backend import choose_backend

    choose_backend()
    from training.recipe import Recipe
    from training.run import load_run
    from training.train import ferplus_scorecard
    from training.train import train as run_train

    recipe = load_run(out).recipe if resume else Recipe(model=model)
    given: dict[str, Any] = {name: value for name, value in choices.items() if value is not None}
    try:
        recipe = replace(recipe, **given)
    except InvalidInput as error:
        raise click.UsageError(str(error)) from None
    card = run_train(recipe, data, out, resume=resume)
    _print_card(card, f"{out}, float, test")
    _print_ferplus(ferplus_scorecard(out, data, "test"), f"{out}, float, test")
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
    from training.train import evaluate_run, ferplus_scorecard, scorecard_json

    card = evaluate_run(run, data, split)
    ferplus = ferplus_scorecard(run, data, split)
    if as_json:
        against = {"ferplus_majority": scorecard_json(ferplus) if ferplus else None}
        click.echo(strict.dumps(scorecard_json(card) | against, indent=None))
        return
    _print_card(card, f"{run}, float, {split}")
    _print_ferplus(ferplus, f"{run}, float, {split}")
    click.echo(f"wrote {run / f'predictions_{split}.npz'} and {run / f'confusion_{split}.png'}")


@main.command()
@click.argument("data", metavar="PREPARED", type=click.Path(path_type=Path))
@click.option("--run", "run", type=click.Path(path_type=Path), required=True, help="The run whose recipe is fitted.")
@click.option("--folds", type=click.IntRange(2, 20), default=5, help="Networks to fit, each to all folds but one.")
@click.option(
    "--epochs", type=click.IntRange(1), help="Epochs of each [default: 12, or the run's where those are fewer]."
)
@click.option("--top", type=click.IntRange(1), default=500, help="How many suspects to list at most.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the review [default: RUN/review].")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, help="Seed of the folds and of the networks.")
@click.option("--json", "as_json", is_flag=True, help="review.json on stdout, on one line, instead of the text.")
def review(data: Path, run: Path, out: Path | None, as_json: bool, **choices: Any) -> None:
    """Find labels that are probably wrong, for a person to decide on.

    Fits networks of the run's recipe to all folds but one and judges that one's labels, so that no network has seen a picture
    it judges, nor a copy of it. Writes review.csv (fill in its column `decision` and give it to prepare --reviewed),
    review.html with the pictures, and a sheet a class. A second call goes on with the folds that are done.

    \b
    python -m training review prepared/ --run runs/small
    """
    from training.backend import choose_backend

    choose_backend()
    from training.review import review as run_review
    from training.review import summary_lines

    out = out or run / "review"
    summary = run_review(data, run, out, **choices)
    if as_json:
        click.echo(strict.dumps(summary, indent=None))
        return
    for line in summary_lines(summary):
        click.echo(line)
    click.echo(
        f"wrote {out / 'review.csv'}; look at {out / 'review.html'}, fill in the column decision, and give it to prepare --reviewed"
    )


@main.command()
@click.argument("prepared", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the pictures go [default: PREPARED-stats].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout instead of the tables.")
def stats(prepared: Path, out: Path | None, as_json: bool) -> None:
    """Count a prepared folder by source, split and class, with copies, overlap and conflicts, and draw it."""
    from edgeemo.contract.input_spec import DEFAULT_SPEC
    from edgeemo.contract.prepared import load_prepared
    from training.stats import statistics, stats_lines, write_pictures

    data = load_prepared(prepared, DEFAULT_SPEC)
    counted = statistics(data)
    # Beside the folder: what is in it is checked, and replaced when it is made again.
    out = out or _beside(prepared, "stats")
    written = write_pictures(data, counted, out)
    if as_json:
        click.echo(strict.dumps(counted, indent=None))
        return
    for line in stats_lines(counted):
        click.echo(line)
    click.echo(f"wrote {out}: {', '.join(path.name for path in written)}")


@main.command()
@click.argument("prepared", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write [default: PREPARED-leaks].")
@click.option("--no-train", is_flag=True, help="Count only; train no network.")
@click.option(
    "--per-class",
    type=click.IntRange(10),
    default=4000,
    metavar="N",
    help="Faces of each class that both protocols work with; the reference work's 12,006 takes three times as long.",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the groups that they draw from [default: N / 12,006, so that copies are as frequent as at full size].",
)
@click.option("--epochs", type=click.IntRange(1), default=15, help="Passes over the training pictures.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Seed of splits, copies, weights and order.")
@click.option("--json", "as_json", is_flag=True, help="leaks.json on stdout, on one line, instead of the table.")
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
    """Count the test pictures that a random split would have in train too, and train the reference work's protocol on them.

    Two networks are trained, one on classes balanced first and split at random, one on whole groups split first: about seven
    minutes on two cores for 37,000 pictures. --no-train takes seconds.
    """
    from edgeemo.contract.files import folder_written_beside
    from edgeemo.contract.input_spec import DEFAULT_SPEC
    from edgeemo.contract.prepared import load_prepared
    from training.leak_report import LEAKS, markdown_lines, write_leaks
    from training.leaks import REFERENCE_PER_CLASS

    data = load_prepared(prepared, DEFAULT_SPEC)
    out = out or _beside(prepared, "leaks")
    with folder_written_beside(out, marker=LEAKS) as folder:
        training = None
        if not no_train:
            from training.backend import choose_backend

            choose_backend()
            from training.protocols import compare

            training = compare(data, per_class, share or min(1.0, per_class / REFERENCE_PER_CLASS), epochs, seed)
        report = write_leaks(folder, data, seed, training)
    if as_json:
        click.echo(strict.dumps(report, indent=None))
        return
    for line in markdown_lines(report):
        click.echo(line)
    click.echo(f"wrote {out}; look at {out / 'leaks.html'}")


def _beside(prepared: Path, what: str) -> Path:
    absolute = prepared.absolute()
    return absolute.with_name(f"{absolute.name}-{what}")


def _print_card(card: object, title: str) -> None:
    for line in scorecard_lines(card, title):  # type: ignore[arg-type]
        click.echo(line)


def _print_ferplus(card: Scorecard | None, title: str) -> None:
    if card is not None:
        click.echo(next(iter(scorecard_lines(card, f"{title}, against the FER+ majority"))))


if __name__ == "__main__":
    shell.run(main, "python -m training")
