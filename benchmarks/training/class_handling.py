"""Four ways of handling classes of unequal size, with the same network and as many gradient steps.

python -m benchmarks.training.class_handling prepared/ --out FOLDER [--epochs E]
[--balance N] [--seeds 1,2]

Trains `small` with nothing, balance, weights and focal loss, and compares the float models on the
test split. Finished runs in FOLDER are kept and an interrupted one is continued. Writes table.md
and table.json into FOLDER."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgeemo.cli import shell
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.run import CHECKPOINT, WEIGHTS, read_predictions
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from edgeemo.proof.evaluation import PairedDrop, Scorecard, paired_drop, score
from training.fit.recipe import LABEL_CHOICES, Recipe
from training.machines.backend import choose_backend
from workstation.text import percent


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("prepared", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the runs and the table.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=15,
    help="Passes over the training faces as they are.",
)
@click.option(
    "--balance",
    type=click.IntRange(1),
    default=4000,
    help="Faces of each class an epoch, when balanced.",
)
@click.option(
    "--focal", type=click.FloatRange(0, min_open=True), default=2.0, help="Gamma of the focal loss."
)
@click.option(
    "--labels", type=click.Choice(LABEL_CHOICES), default="fer2013", help="Which labels to fit."
)
@click.option("--seeds", default="1", metavar="S,S", help="One training of each way for each seed.")
def main(
    prepared: Path, out: Path, epochs: int, balance: int, focal: float, labels: str, seeds: str
) -> None:
    """Train four ways and compare them on the test split."""
    choose_backend()
    data = load_prepared(prepared)
    plain = Recipe(labels=labels, epochs=epochs)
    ways = {
        "nothing": plain,
        f"balance {balance:,}": _same_steps(replace(plain, balance=balance), plain, data),
        "weights": replace(plain, class_weight=True),
        f"focal {focal:g}": replace(plain, focal=focal),
    }
    results = []
    for seed in _parse_seeds(seeds):
        right: dict[str, Any] = {}
        for way, recipe in ways.items():
            run = out / f"{way.replace(' ', '-').replace(',', '')}-seed{seed}"
            _trained(replace(recipe, seed=seed), prepared, data, run)
            result, right[way] = _result(run, data)
            drop = paired_drop(right["nothing"], right[way]) if way != "nothing" else None
            results.append({"way": way, "seed": seed, "change": drop and asdict(drop), **result})
            # After each run, so that an interrupted comparison shows what there is.
            _write(out, results)
    shell.say(*(out / "table.md").read_text().splitlines())


def _parse_seeds(text: str) -> list[int]:
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError:
        seeds = [-1]
    if min(seeds) < 0:
        raise click.UsageError(f"expected --seeds as whole numbers such as 1,2, received {text!r}")
    return seeds


def _same_steps(recipe: Recipe, plain: Recipe, data: Prepared) -> Recipe:
    """`recipe` with as many epochs as make nearest to as many gradient steps as `plain` takes."""
    from training.fit.loop import steps_per_epoch

    faces, classes = len(data.indices("train")), len(data.class_names)
    ratio = steps_per_epoch(plain, faces, classes) / steps_per_epoch(recipe, faces, classes)
    epochs, warmup = max(1, round(plain.epochs * ratio)), max(1, round(plain.warmup_epochs * ratio))
    return replace(recipe, epochs=epochs, warmup_epochs=warmup)


def _trained(recipe: Recipe, prepared: Path, data: Prepared, out: Path) -> None:
    """Train into `out` unless it holds the finished run; raises RunError when it holds another
    one."""
    import keras

    from training.fit.train import train
    from training.runs.run import load_run

    begun = (out / CHECKPOINT).is_file()
    if (out / WEIGHTS).is_file() and not begun:
        run = load_run(out)
        if run.recipe != recipe or run.config.split_hash != data.split_hash:
            raise RunError(
                f"{out}: holds a run of another recipe or other data; choose another --out"
            )
        shell.say(f"{out}: finished already")
        return
    shell.say(f"{out}:")
    train(recipe, prepared, out, resume=begun)
    keras.utils.clear_session()  # else each network of the comparison stays in memory


def _result(run: Path, data: Prepared) -> tuple[dict[str, Any], Any]:
    """A finished run's scorecards as JSON values, and bool (n,) which test pictures it got
    right."""
    from training.fit.loop import steps_per_epoch
    from training.runs.run import load_run

    trained = load_run(run)
    names, recipe, config = trained.class_names, trained.recipe, trained.config
    test, validation = (
        read_predictions(run, split, len(names)) for split in ("test", "validation")
    )
    predicted = test.logits.argmax(axis=1)
    faces = (config.faces or {})["train"]
    result = {
        "recipe": recipe.to_dict(),
        "steps": recipe.epochs * steps_per_epoch(recipe, faces, len(names)),
        "split_hash": data.split_hash,
        "history": asdict(config.history) if config.history else None,
        "test": asdict(score(test.labels, predicted, names)),
        "validation": asdict(score(validation.labels, validation.logits.argmax(axis=1), names)),
    }
    return result, test.labels == predicted


def _write(out: Path, results: list[dict[str, Any]]) -> None:
    make_folder(out)
    for name, text in (
        ("table.md", "\n".join(_table(results)) + "\n"),
        ("table.json", strict.dumps(results)),
    ):
        with written_beside(out / name) as part:
            part.write_text(text, encoding="utf-8")


def _table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: a row a run, then with several seeds the mean of each way."""
    head = [
        "way",
        "seed",
        "steps",
        "top-1 (95 % interval)",
        "against nothing (McNemar p)",
        "macro-F1",
        *results[0]["test"]["per_class_recall"],
    ]
    yield "| " + " | ".join(head) + " |"
    yield "|---" * len(head) + "|"
    yield from map(_result_row, results)
    seeds = {result["seed"] for result in results}
    for way in dict.fromkeys(result["way"] for result in results) if len(seeds) > 1 else ():
        cards = [Scorecard(**result["test"]) for result in results if result["way"] == way]
        yield _row(
            way,
            f"mean of {len(cards)}",
            "",
            percent(float(np.mean([c.top1 for c in cards])), 2),
            "",
            *_shares(cards),
        )


def _result_row(result: dict[str, Any]) -> str:
    card = Scorecard(**result["test"])
    low, high = (percent(bound, 2) for bound in card.interval)
    paired = "-"
    if result["change"]:
        change = PairedDrop(**result["change"])
        gain = 100 * (change.c - change.b) / change.n
        paired = f"{gain:+.2f} pp (p = {change.mcnemar_p:.2g})"
    top1 = f"{percent(card.top1, 2)} ({low} to {high})"
    steps = f"{result['steps']:,}"
    return _row(result["way"], str(result["seed"]), steps, top1, paired, *_shares([card]))


def _shares(cards: list[Scorecard]) -> list[str]:
    """Mean macro-F1 and recalls of some scorecards, in percent; all have the same labels."""
    recalls = [
        [card.per_class_recall[label] for card in cards] for label in cards[0].per_class_recall
    ]
    known = [[share for share in shares if share is not None] for shares in recalls]
    return [
        percent(float(np.mean(shares)) if shares else None, 2)
        for shares in ([card.macro_f1 for card in cards], *known)
    ]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    shell.run(main, "python -m benchmarks.training.class_handling")
