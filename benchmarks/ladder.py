"""Every step of the ladder on a float run, whether or not an earlier one passes: the table of docs/quantization.md.

python -m benchmarks.ladder RUN prepared/
"""

import time
from pathlib import Path

import click

from export.build import judged, prepare_job
from export.convert import onnx
from export.profiles import PROFILES
from export.prove.ladder import STEPS, Maker, OnnxMaker, TfliteMaker, climb
from export.report.tables import attempt_heading, attempt_line


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--seed", default=1, show_default=True, help="Seed of the calibration draw.")
def main(run: Path, data: Path, seed: int) -> None:
    """Try all steps on RUN, a float run of the prepared folder DATA; judged on its validation split."""
    job = prepare_job(run, data, PROFILES["jetson"], STEPS, seed)
    click.echo(attempt_heading())
    makers: tuple[Maker, ...] = (
        TfliteMaker(job.run.model, job.calibration, seed),
        OnnxMaker(onnx.convert_fp32(job.run.model), job.calibration),
    )
    for maker in makers:
        for _, attempt in climb(
            maker, maker.steps, lambda made: judged(job, made), time.perf_counter
        ):
            click.echo(attempt_line(attempt))


if __name__ == "__main__":
    main()
