"""python -m training: prepare, stats, leaks, train, family, finetune, evaluate, crossval, sweep,
review, restore, detector, doctor.
"""

import click

from edgeemo.cli import shell
from edgeemo.version import __version__
from training.cli.crossval import crossval
from training.cli.detector import detector
from training.cli.doctor import doctor
from training.cli.evaluate import evaluate
from training.cli.family import family
from training.cli.finetune import finetune
from training.cli.leaks import leaks
from training.cli.prepare import prepare
from training.cli.restore import restore
from training.cli.review import review
from training.cli.stats import stats
from training.cli.sweep import sweep
from training.cli.train import train


@click.group(
    cls=shell.Verbs, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.version_option(__version__, "-V", "--version", prog_name="edgeemo training")
def main() -> None:
    """From archives of labelled faces to a trained float model.

    \b
    python -m training doctor
    python -m training prepare --source fer2013=fer2013.zip --out prepared/
    python -m training stats prepared/
    python -m training leaks prepared/
    python -m training train --data prepared/ --out runs/small
    python -m training family --data prepared/ --out runs/family --budget 12m
    python -m training finetune --qat runs/small --data prepared/ --out runs/qat
    python -m training evaluate runs/small --data prepared/
    python -m training crossval prepared/ --out crossval/
    python -m training sweep --data prepared/ --out sweep/
    python -m training review prepared/ --run runs/small
    python -m training restore small.edgeemo --data prepared/ --out runs/small
    python -m training detector face --photos A.zip --scenes B.zip --out runs/face
    """


for command in (
    prepare,
    stats,
    leaks,
    train,
    family,
    finetune,
    evaluate,
    crossval,
    sweep,
    review,
    restore,
    detector,
    doctor,
):
    main.add_command(command)

if __name__ == "__main__":
    shell.run(main, "python -m training", extra="train")
