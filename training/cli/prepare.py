"""`prepare`: archives to a prepared folder."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.outputs import check_apart
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec, parse_size
from edgeemo.contract.labels import LABELS, check_labels
from edgeemo.data.prepared import SPLITS
from edgeemo.errors import InvalidInput
from training.data.conflicts import POLICIES
from training.data.own.layout import LAYOUTS, Asked
from training.data.own.own_set import FACES, LARGEST_CROP, OwnSource
from training.data.own.pattern import Pattern
from training.data.own.words import NUMBERINGS
from training.data.sources import SOURCES, Source, choose_sources
from training.data.splits import WAYS


def _spec(_: click.Context, __: click.Parameter, value: str) -> InputSpec:
    try:
        return parse_size(value)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


def _class_names(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    try:
        check_labels(names, "--classes")
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None
    return names


def _columns(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    if text is not None and (len(names) not in (2, 3) or not all(names)):
        raise click.BadParameter(f"expected PATH,LABEL or PATH,LABEL,SPLIT, received {text!r}")
    return names


def _pattern(_: click.Context, __: click.Parameter, text: str | None) -> Pattern | None:
    try:
        return None if text is None else Pattern(text)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME[=PATH]",
    help=(
        "Faces: any NAME of yours, and their folder, zip or tar archive, table (.csv, .tsv) or "
        "list (.txt); or one of these sets, which without =PATH is downloaded from Kaggle into "
        f"~/.cache/edgeemo/data: {', '.join(SOURCES)}. May be given several times. "
        "[default: all sets whose licence needs no consent]"
    ),
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="auto",
    help=(
        "Where the labels of your own sets are. folders: <class>/, at any depth, with train/, "
        "validation/ or test/ above or without. csv: a table with a path (or pixels) and a label a "
        "row. list: lines of a path and a label. names: in the files' names. auto: what is there."
    ),
)
@click.option(
    "--labels",
    metavar="MAP",
    help=(
        'What the words of your own sets stand for: a JSON file such as {"joie": "happy", "3": '
        '"sad", "blurred": null} (null: left out), or the documented numbers of '
        f"{', '.join(NUMBERINGS)}. Without it words of eight languages are known, and a file to "
        "fill in is written where others are met."
    ),
)
@click.option(
    "--drop",
    multiple=True,
    metavar="WORD",
    help="Leave a class of your own sets out, by its word there or by its label. May be given "
    "several times.",
)
@click.option(
    "--columns",
    metavar="PATH,LABEL[,SPLIT]",
    callback=_columns,
    help="Names of the table's columns, where they are not found by themselves; pixels may take "
    "the place of the path.",
)
@click.option(
    "--pattern",
    metavar="NAME",
    callback=_pattern,
    help="How names hold the label, * for any characters and ? for one: '*_{label}.jpg' reads "
    "anna_happy.jpg, '{label}/*/*' the second folder above the file. The names of JAFFE, KDEF and "
    "RaFD are known.",
)
@click.option(
    "--faces",
    type=click.Choice(FACES),
    default="auto",
    help=(
        "Pictures of your own sets: crop takes each as a face, detect searches each photo for its "
        f"largest face. auto: crop where half of them are at most {LARGEST_CROP} pixels."
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
    type=click.Choice(WAYS),
    default="grouped",
    help=(
        "grouped: 60/20/20, copies together; a test part that the field compares on (FER-2013's) "
        "is "
        "test with its copies, the rest then 75/25. official: that part alone is test, its copies "
        "are left out, the rest is 90/10. given: the parts that folders or rows name are kept; "
        "one that lacks is cut from train."
    ),
)
@click.option(
    "--split-from",
    type=click.Path(path_type=Path),
    metavar="FILE|FOLDER|BUNDLE",
    help=(
        "Keep the parts of a split file or prepared folder (split.json), or the test pictures of a "
        "bundle; other pictures go with their copies, else by hash. [default: for FER-2013 with "
        "seed 1 the split of the shipped models]"
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
    metavar="NAME,NAME,...",
    callback=_class_names,
    help=(
        "Names of the classes, 2 to 64, in the order of the network's outputs. Pictures of other "
        "known classes are left out and counted. [default: those that your own sets hold; with a "
        f"known set {','.join(LABELS)}]"
    ),
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
    python -m training prepare --source mine=faces/ --out prepared/
    python -m training prepare --source mine=faces.csv --input 96x96-rgb \\
        --out prepared/
    """
    from training.data.prepare import prepare as run_prepare

    chosen = _own(choose_sources(sources, accept_license=accept_license), choices)
    given = [path for _, path in chosen]
    check_apart(
        out,
        (
            *given,
            *(choices[n] for n in ("ferplus", "pixels", "reviewed", "labels", "split_from")),
        ),
    )
    archives = [(source, path or _downloaded(source.kaggle)) for source, path in chosen]
    dataset = run_prepare(archives, out, **choices)
    if as_json:
        say(strict.dumps(dataset, indent=None))
        return
    _show_own(dataset)
    _show_counts(dataset)
    _show_matched(dataset["ferplus_matched"])
    _show_settled(dataset)
    _show_split(dataset)
    say(
        f"wrote {out}: {count_of(dataset['images'], 'picture')} in "
        f"{count_of(dataset['groups'], 'group')}; look at "
        f"{out / 'report.html'}"
    )
    say(f"next: python -m training train --data {shlex.quote(str(out))} --out runs/NAME")


Chosen = list[tuple[Source | OwnSource, Path | None]]


def _own(chosen: Chosen, choices: dict[str, Any]) -> Chosen:
    """The sources with what is said of the own ones; that part leaves `choices`."""
    options = {name: choices.pop(name) for name in ("layout", "columns", "pattern", "faces")}
    named = [name for name, value in options.items() if value not in ("auto", (), None)]
    named += [name for name in ("labels", "drop") if choices[name]]
    if named and not any(isinstance(source, OwnSource) for source, _ in chosen):
        raise InvalidInput(
            f"--{named[0]} is for sets of your own, and there is none among the sources; remove "
            "it, or add --source NAME=PATH with a name of your own"
        )
    faces = options.pop("faces")
    return [
        (replace(source, asked=Asked(**options), faces=faces), path)
        if isinstance(source, OwnSource)
        else (source, path)
        for source, path in chosen
    ]


def _show_own(dataset: dict[str, Any]) -> None:
    """What was found out about own sets, so that a wrong guess is seen."""
    for source in dataset["sources"]:
        if "layout" not in source:
            continue
        taken = {
            "crop": "each picture is taken as a face",
            "detect": f"photos, searched for a face by {dataset['detector']}",
        }[source["faces"]]
        say(
            f"{source['name']}: {source['read_from']}; {taken} (half have a longer side of up to "
            f"{source['longer_side']:,} pixels; --faces changes that)"
        )
        words = source["words"]
        renamed = [
            f"{word} = {label}" for word, label in words.items() if label not in (None, word)
        ]
        if renamed:
            say(f"{source['name']}: {', '.join(renamed)}")


def _downloaded(dataset: str) -> Path:
    from training.data.kaggle import fetch

    return fetch(dataset)


def _show_counts(dataset: dict[str, Any]) -> None:
    for source, by_split in dataset["counts"].items():
        for name, by_label in sorted(by_split.items()):
            counts = "  ".join(f"{label} {count:,}" for label, count in by_label.items())
            say(f"{source} {name:<10} {sum(by_label.values()):>7,}  {counts}")
    for reason, count in dataset["rejected_counts"].items():
        say(f"warning: {count_of(count, 'file')} left out: {reason}", err=True)


def _show_matched(matched: dict[str, int]) -> None:
    if matched:
        exact, near, none = (matched.get(way, 0) for way in ("exact", "near", "none"))
        say(
            f"FER+ votes by pixels: {count_of(exact, 'picture')} equal to a row, {near:,} nearest "
            "to one"
        )
        if none:
            say(
                f"warning: {count_of(none, 'picture')} without votes: like no row of --pixels",
                err=True,
            )


def _show_settled(dataset: dict[str, Any]) -> None:
    for reason, count in dataset["excluded"].items():
        say(f"{count_of(count, 'picture')} in no split: {reason}")
    settled = dataset["conflicts"]
    say(
        f"{count_of(settled['groups'], 'picture')} with different labels in "
        f"{count_of(settled['pictures'], 'copy', 'copies')}; policy {settled['policy']}: "
        f"{count_of(settled['changed'], 'label')} changed, "
        f"{count_of(settled['dropped'], 'copy', 'copies')} dropped"
    )


def _show_split(dataset: dict[str, Any]) -> None:
    """What parts were taken over, and which classes lack in a part."""
    counts = dataset["split_from"]
    if counts and counts["known"]:
        say(
            f"split from {counts['origin']}: {count_of(counts['known'], 'picture')} known, "
            f"{counts['with_their_copies']:,} with their copies, {counts['by_hash']:,} by hash"
        )
        if counts["apart"]:
            say(
                f"warning: {count_of(counts['apart'], 'group')} of copies stay in several parts, "
                "where they are there",
                err=True,
            )
    if given := dataset.get("given"):
        say(
            f"split as given: {count_of(given['kept'], 'picture')} kept their part, "
            f"{given['cut_from_train']:,} cut from train by hash"
        )
        if given["copies_left_out"]:
            say(
                f"warning: {count_of(given['copies_left_out'], 'picture')} left out of train or "
                "validation, because a copy is in a part that judges",
                err=True,
            )
    for split in SPLITS:
        sums = [parts.get(split, {}) for parts in dataset["counts"].values()]
        lacking = [name for name in dataset["labels"] if not any(s.get(name) for s in sums)]
        if lacking:
            say(
                f"warning: {split} has no picture of {', '.join(lacking)}; add pictures, or choose "
                "another --seed",
                err=True,
            )
