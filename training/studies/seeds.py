"""One recipe by several seeds: a run folder each, and how much their figures vary."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.run import CHECKPOINT, run_files
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import Interrupted, RunError
from edgeemo.proof.evaluation import Scorecard
from training.fit.diverged import Diverged
from training.fit.events import Events
from training.fit.recipe import Recipe
from training.fit.side_by_side import AT_ONCE, train_side_by_side
from training.fit.train import train
from training.machines.devices import ONE, Devices
from training.runs.evaluate import scorecards, together
from training.runs.run import check_fits, check_free, has_run, load_run
from training.runs.seeds import (
    Seeds,
    check_seeds,
    holds_seeds,
    is_finished,
    read_seeds,
    seed_folder,
    write_seeds,
)
from training.studies.crossval import mean_and_sd

RESULTS = "results.json"
_SPLITS = ("validation", "test")
# Title of each figure of a split, and where it comes from.
_FIGURES = (
    ("top1", "top-1", "labels", "top1"),
    ("macro_f1", "macro-F1", "labels", "macro_f1"),
    ("ferplus_top1", "top-1, FER+", "ferplus_majority", "top1"),
)


def train_seeds(
    recipe: Recipe,
    seeds: Sequence[int],
    data_path: Path,
    out: Path,
    *,
    resume: bool = False,
    devices: Devices = ONE,
    events: Callable[[Path], Events] | None = None,
    pictures: bool = True,
    side_by_side: bool = False,
) -> dict[str, Any]:
    """Train a run by `recipe` for each of `seeds` into `out`/seed-N; returns what results.json
    says.

    Each is what `train` makes of that seed, bit for bit; `side_by_side`, which needs Keras on JAX
    and one device, but for rounding. With `resume` finished runs are read, and
    the others go on; seeds may be added. `events` makes what writes a run folder's event files.

    Raises:
        InvalidInput: no seeds, too many, or one twice.
        RunError: `out` holds a run or other seeds' runs already (or, with `resume`, none of this
            recipe and data), it was interrupted, or `train` gives up.
        DataError, SpecMismatch: see `train`.
    """
    check_seeds(seeds)
    data = load_prepared(data_path)
    begun = Seeds(replace(recipe, seed=seeds[0]).to_dict(), tuple(seeds), data.split_hash)
    if resume:
        _check_resumable(out, begun)
    else:
        _check_free(out, begun)
    write_seeds(out, begun)
    ahead = []
    for seed in seeds:
        run = seed_folder(out, seed)
        if is_finished(run):
            _check_same(run, replace(recipe, seed=seed), data)
        else:
            ahead.append(seed)
    at_once = AT_ONCE if side_by_side else 1
    for group in (ahead[i : i + at_once] for i in range(0, len(ahead), at_once)):
        say(_next(group, seeds))
        try:
            if len(group) == 1:
                _alone(replace(recipe, seed=group[0]), data_path, out, devices, events, pictures)
            else:
                train_side_by_side(
                    [replace(recipe, seed=seed) for seed in group],
                    data_path,
                    [seed_folder(out, seed) for seed in group],
                    events=events,
                    pictures=pictures,
                )
        except (Interrupted, KeyboardInterrupt):
            raise Interrupted(_stopped(out, data_path, group, begun)) from None
    return _results(out, data_path, begun)


def table_lines(results: dict[str, Any]) -> Iterator[str]:
    """What results.json says, in percent: a row a seed, then mean and standard deviation, then all
    runs as one, whose scores are the mean of theirs.
    """
    recipe, runs = results["recipe"], results["runs"]
    fitted = " (validation was fitted to)" if recipe["with_validation"] else ""
    seeds = count_of(len(runs), "seed")
    yield f"{recipe['model']}, {recipe['labels']}, {seeds}, figures in %{fitted}"
    columns = [
        (split, name, title)
        for split in _SPLITS
        for name, title, _, _ in _FIGURES
        if name in runs[0][split]
    ]
    yield " " * 10 + "".join(split.rjust(12) for split, _, _ in columns)
    titles = "".join(title.rjust(12) for _, _, title in columns)
    yield f"{'seed'.ljust(10)}{titles}{'epoch'.rjust(7)}{'seconds'.rjust(9)}"

    def cells(figures: dict[str, Any]) -> str:
        return "".join(_percent(figures[split][name]).rjust(12) for split, name, _ in columns)

    for row in runs:
        yield f"{row['seed']!s:10}{cells(row)}{row['best_epoch']:7}{row['seconds']:9,.0f}"
    for what in ("mean", "sd"):
        spread = {
            split: {name: of[what] for name, of in by_name.items()}
            for split, by_name in results["summary"].items()
        }
        yield what.ljust(10) + cells(spread)
    if len(runs) > 1:
        yield "together".ljust(10) + cells(results["together"])


def _next(group: Sequence[int], seeds: Sequence[int]) -> str:
    """Which of the seeds are trained now."""
    places = [list(seeds).index(seed) + 1 for seed in group]
    if len(group) == 1:
        return f"seed {group[0]}, run {places[0]} of {len(seeds)}"
    return f"seeds {_listed(group)} side by side, runs {_listed(places)} of {len(seeds)}"


def _alone(
    recipe: Recipe,
    data_path: Path,
    out: Path,
    devices: Devices,
    events: Callable[[Path], Events] | None,
    pictures: bool,
) -> None:
    """Train the run of one seed, or go on with it."""
    run = seed_folder(out, recipe.seed)
    try:
        train(
            recipe,
            data_path,
            run,
            resume=(run / CHECKPOINT).is_file(),
            devices=devices,
            events=None if events is None else events(run),
            pictures=pictures,
        )
    except Diverged as error:
        raise RunError(f"seed {recipe.seed}: {error}") from None


def _check_free(out: Path, begun: Seeds) -> None:
    """Raise RunError where something in `out` would be replaced."""
    if any(file.exists() for file in run_files(out)):
        raise RunError(f"{out}: holds a run of one seed already; choose another --out")
    there = read_seeds(out).seeds if holds_seeds(out) else ()
    if any(has_run(seed_folder(out, seed)) for seed in there):
        raise RunError(
            f"{out}: holds the runs of seeds {_listed(there)} already; add --resume to continue "
            "them or choose another --out"
        )
    for seed in begun.seeds:
        check_free(seed_folder(out, seed))


def _check_resumable(out: Path, begun: Seeds) -> None:
    """Raise RunError unless `out` was begun with this recipe and data, and these seeds or fewer."""
    if not holds_seeds(out):
        if any(file.exists() for file in run_files(out)):
            raise RunError(f"{out}: holds a run of one seed; resume it without --seeds")
        raise RunError(f"{out}: nothing to resume; run the same command without --resume")
    there = read_seeds(out)
    if missing := [seed for seed in there.seeds if seed not in begun.seeds]:
        raise RunError(
            f"{out}: was begun with the seeds {_listed(there.seeds)}, of which {_listed(missing)} "
            "is not named; name all of them, and others besides, or leave --seeds out"
        )
    if there.split_hash != begun.split_hash:
        raise RunError(
            f"{out}: was begun on other data (split hash differs); resume it with the data that it "
            "was begun on"
        )
    then, now = there.recipe, begun.recipe
    changed = ", ".join(
        f"{key} {then.get(key)} there and {now[key]} here"
        for key in now
        if key != "seed" and then.get(key) != now[key]
    )
    if changed:
        raise RunError(
            f"{out}: was begun with another recipe ({changed}); resume it with the same choices"
        )


def _check_same(folder: Path, recipe: Recipe, data: Prepared) -> None:
    """Raise RunError unless the finished run in `folder` is of this recipe and data."""
    run = load_run(folder)
    check_fits(run, data)
    if run.recipe != recipe or run.config.split_hash != data.split_hash:
        raise RunError(
            f"{folder}: is a run of another recipe or of other data; move it away, and resume"
        )


def _stopped(out: Path, data_path: Path, group: Sequence[int], begun: Seeds) -> str:
    words = shlex.join(["--data", str(data_path), "--out", str(out)])
    return (
        f"stopped in {_next(group, begun.seeds)}; nothing is lost: go on with: "
        f"python -m training train --resume {words}"
    )


def _results(out: Path, data_path: Path, begun: Seeds) -> dict[str, Any]:
    """What results.json says, which is written."""
    folders = [seed_folder(out, seed) for seed in begun.seeds]
    runs = []
    for seed, folder in zip(begun.seeds, folders, strict=True):
        history = load_run(folder).config.history
        assert history is not None  # a finished run has one
        row = {"seed": seed, "run": str(folder), **vars(history)}
        cards = {split: scorecards(folder, data_path, split) for split in _SPLITS}
        runs.append(row | {split: _figures(cards[split]) for split in _SPLITS})
    results = {
        "recipe": {name: value for name, value in begun.recipe.items() if name != "seed"},
        "split_hash": begun.split_hash,
        "runs": runs,
        "summary": {
            split: {
                name: mean_and_sd([row[split][name] for row in runs]) for name in runs[0][split]
            }
            for split in _SPLITS
        },
        "together": {split: _figures(together(folders, data_path, split)) for split in _SPLITS},
    }
    with written_beside(out / RESULTS) as part:
        part.write_text(strict.dumps(results))
    return results


def _figures(cards: dict[str, Scorecard]) -> dict[str, float]:
    return {
        name: float(getattr(cards[card], field))
        for name, _, card, field in _FIGURES
        if card in cards
    }


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
