"""`sweep`: a search for a better recipe."""

import shlex
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.outputs import check_apart
from training.cli.options import Given, recipe_options
from workstation.text import percent


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The prepared folder.")
@click.option(
    "--trials",
    type=click.IntRange(1),
    default=20,
    help="Recipes to try, those of an earlier call counted.",
)
# Each trial begins from random weights, and is given up where it lags behind instead of where it
# stands still.
@recipe_options("init", "patience", "with_validation")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The result as one JSON object on stdout instead of the text.",
)
def sweep(data: Path, trials: int, given: Given, out: Path, as_json: bool) -> None:
    """Search for a better recipe with Optuna, by validation top-1 after a few epochs (10, unless
    --epochs or --recipe say).

    Varies learning rate, weight decay, label smoothing, mixup, CutMix, averaging, augmentation and,
    with --distill, the teachers' share and temperature; what is given as an option stays as given.
    A second call goes on where the first ended. Writes best.json, trials.csv and sweep.png.

    \b
    python -m training sweep --data prepared/ --model nano --out sweep/
    python -m training train --data prepared/ \\
        --recipe sweep/best.json --epochs 120 --out runs/nano
    """
    check_apart(out, given.inputs(data))
    check_apart(out / "best.json", (given.file,))
    from training.machines.backend import choose_backend
    from training.machines.seen import announce

    announce(choose_backend(), err=True)
    from training.fit.recipe import Recipe
    from training.machines.choose import with_pipeline
    from training.machines.devices import ONE
    from training.studies.sweep import BEST
    from training.studies.sweep import sweep as run_sweep

    recipe = given.recipe(Recipe(epochs=10))
    recipe = with_pipeline(recipe, ONE, settled=given.pipeline_settled)
    result = run_sweep(recipe, data, out, trials=trials, fixed=tuple(given.choices))
    if as_json:
        say(strict.dumps(result, indent=None))
        return
    say(
        f"{count_of(result['trials'], 'trial')}, {result['pruned']} given up early; best: trial "
        f"{result['best_trial']} with validation top-1 "
        f"{percent(result['best_validation_top1'], 2)}"
    )
    for name, weight in list(result["importances"].items())[:5]:
        say(f"  {name.ljust(15)} {weight:6.1%} of what made the difference")
    say(
        f"wrote {out / BEST}; go on with: python -m training train "
        f"{shlex.join(['--data', str(data), '--recipe', str(out / BEST)])} --out RUN"
    )
