"""Every step of the ladder on a float run, whether or not an earlier one passes.

It makes the table of docs/quantization.md:

python -m benchmarks.models.ladder RUN prepared/
"""

import time
from pathlib import Path

import click

from edgeemo.cli.shell import say
from export.convert.quantize import tried
from export.job import load_job
from export.profiles import PROFILES
from export.prove.ladder import climb
from export.prove.makers import Maker, OnnxMaker, TfliteMaker
from export.prove.steps import STEPS
from export.report.tables import attempt_heading, attempt_line


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True, help="Seed of the calibration draw.")
def main(run: Path, data: Path, seed: int) -> None:
    """Try all steps on RUN, a float run of the prepared folder DATA.

    They are judged on its validation split.
    """
    job = load_job(run, data, PROFILES.get("jetson"), STEPS, seed)
    say(attempt_heading())
    makers: tuple[Maker, ...] = (
        TfliteMaker(job.run.float_tflite(), job.calibration, seed, job.run.spec),
        OnnxMaker(job.run.float_onnx(), job.calibration, job.run.spec),
    )
    for maker in makers:
        ladder = climb(maker, maker.steps, lambda made: tried(job, made), time.perf_counter)
        for _, attempt in ladder:
            say(attempt_line(attempt))


if __name__ == "__main__":
    main()
