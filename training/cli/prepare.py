"""`prepare`: archives to a prepared folder."""

from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_apart
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec, parse_size
from edgeemo.contract.labels import LABELS, check_labels
from edgeemo.errors import InvalidInput
from training.data.conflicts import POLICIES
from training.data.sources import SOURCES, choose_sources
from training.data.splits import SPLITTERS


def _spec(_: click.Context, __: click.Parameter, value: str) -> InputSpec:
    try:
        return parse_size(value)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


def _class_names(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    try:
        check_labels(names, "--classes")
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None
    return names


@click.command()
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME[=PATH]",
    help=(
        "A data set, and its archive or folder; without =PATH it is downloaded from Kaggle into "
        f"~/.cache/edgeemo/data. May be given several times. Known: {', '.join(SOURCES)}. "
        "[default: all whose licence needs no consent]"
    ),
)
@click.option(
    "--accept-license",
    is_flag=True,
    help=(
        "Take facial-emotion-recognition too: CC BY-NC-ND 4.0 (no commercial use, no derived "
        "works), and one subject is 15."
    ),
)
@click.option(
    "--ferplus",
    type=click.Path(path_type=Path),
    help="FER+ votes (CSV): by file name, or the published fer2013new.csv. Stored beside each "
    "picture.",
)
@click.option(
    "--pixels",
    type=click.Path(path_type=Path),
    help="FER-2013's table (fer2013.csv): picture files get the votes of fer2013new.csv by their "
    "pixels.",
)
@click.option(
    "--reviewed",
    type=click.Path(path_type=Path),
    help="The CSV of `review`, with a person's decisions filled in.",
)
@click.option(
    "--split",
    type=click.Choice(list(SPLITTERS)),
    default="grouped",
    help=(
        "grouped: 60/20/20, copies together, FER-2013's own test part in test. official: that "
        "part "
        "alone is test, its copies are left out, and the rest is 90/10."
    ),
)
@click.option(
    "--conflicts",
    type=click.Choice(POLICIES),
    default="majority",
    help=(
        "Copies of one picture with different labels: take the majority's (FER+ votes first), "
        "drop "
        "them, or keep each as it is. Labels of FER-2013's test part never change."
    ),
)
@click.option(
    "--input",
    "spec",
    default=DEFAULT_SPEC.size,
    metavar="HxW-grey|rgb",
    callback=_spec,
    help=(
        "What the network sees: height x width in pixels, 8 to 512, and grey or rgb, such as "
        "112x112-rgb."
    ),
)
@click.option(
    "--classes",
    "class_names",
    default=",".join(LABELS),
    metavar="NAME,NAME,...",
    callback=_class_names,
    help="Names of the classes, 2 to 64, in the order of the network's outputs. Folders that name "
    "none of them are left out and counted.",
)
@click.option(
    "--allow-left-out",
    is_flag=True,
    help=(
        "Go on where more than 0.5 % of a set would be left out for another reason than broken "
        "files; else that is an error with the reasons."
    ),
)
@click.option("--seed", type=click.IntRange(0), default=1, help="Seed of the split.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The prepared folder to write."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="dataset.json on stdout, on one line, instead of the tables.",
)
def prepare(
    sources: tuple[str, ...], accept_license: bool, out: Path, as_json: bool, **choices: Any
) -> None:
    """Decode the pictures once, find copies, settle conflicting labels, split, and write a folder.

    \b
    python -m training prepare --source fer2013=fer2013.zip \\
        --ferplus ferplus_votes.csv --out prepared/
    """
    from training.data.prepare import prepare as run_prepare

    chosen = choose_sources(sources, accept_license=accept_license)
    given = [path for _, path in chosen]
    check_apart(out, (*given, *(choices[name] for name in ("ferplus", "pixels", "reviewed"))))
    archives = [(source, path or _downloaded(source.kaggle)) for source, path in chosen]
    dataset = run_prepare(archives, out, **choices)
    if as_json:
        say(strict.dumps(dataset, indent=None))
        return
    _show_counts(dataset)
    _show_matched(dataset["ferplus_matched"])
    _show_settled(dataset)
    say(
        f"wrote {out}: {dataset['images']:,} pictures in {dataset['groups']:,} groups; look at "
        f"{out / 'report.html'}"
    )


def _downloaded(dataset: str) -> Path:
    from training.data.kaggle import fetch

    return fetch(dataset)


def _show_counts(dataset: dict[str, Any]) -> None:
    for source, by_split in dataset["counts"].items():
        for name, by_label in sorted(by_split.items()):
            counts = "  ".join(f"{label} {count:,}" for label, count in by_label.items())
            say(f"{source} {name:<10} {sum(by_label.values()):>7,}  {counts}")
    for reason, count in dataset["rejected_counts"].items():
        say(f"warning: {count:,} files left out: {reason}", err=True)


def _show_matched(matched: dict[str, int]) -> None:
    if matched:
        exact, near, none = (matched.get(way, 0) for way in ("exact", "near", "none"))
        say(f"FER+ votes by pixels: {exact:,} pictures equal a row, {near:,} are nearest to one")
        if none:
            say(f"warning: {none:,} pictures without votes: like no row of --pixels", err=True)


def _show_settled(dataset: dict[str, Any]) -> None:
    for reason, count in dataset["excluded"].items():
        say(f"{count:,} pictures in no split: {reason}")
    settled = dataset["conflicts"]
    say(
        f"{settled['groups']:,} pictures carry different labels in their {settled['pictures']:,} "
        f"copies; policy {settled['policy']}: {settled['changed']:,} labels changed, "
        f"{settled['dropped']:,} copies dropped"
    )
