"""`restore`: a run again from a bundle whose run folder is gone."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_apart
from edgeemo.models import find_model
from workstation.text import percent


@click.command()
@click.argument("bundle")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="The prepared folder that the bundle was trained on.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The run folder to write."
)
def restore(bundle: str, data: Path, out: Path) -> None:
    """Make a float run of the float weights in BUNDLE, to go on from where its run folder is gone.

    Its normalization, which export folds into the convolutions, is made anew from the training
    faces so that the network computes the same. The run serves as --init, as a teacher and for
    finetune; what it was trained with is noted in its config.json.

    \b
    python -m training restore small --data prepared/ --out runs/small
    python -m training train --init runs/small --data prepared/ \\
        --out runs/small-longer
    """
    from training.machines.backend import choose_backend

    path = find_model(bundle)
    choose_backend()
    from training.runs.restore import restore as run_restore
    from training.runs.run import load_run

    check_apart(out, (path, data))
    top1 = run_restore(path, data, out)
    fitted = ", which it was fitted to" * load_run(out).recipe.with_validation
    say(f"wrote {out}: top-1 {percent(top1, 2)} on validation{fitted}")
