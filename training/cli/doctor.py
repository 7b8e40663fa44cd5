"""`doctor`: what training finds on this machine."""

import click

from edgeemo.cli.checks import show


@click.command()
@click.option("--step/--no-step", "steps", default=True, help="Time gradient steps of `small`.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a check on stdout.")
def doctor(steps: bool, as_json: bool) -> None:
    """Check driver, GPU, backend, memory, precisions and the speed of a gradient step, and print
    the command that fixes each problem.

    A machine without a GPU is sound, and is told so. Exit code 1 when training does not work, or a
    GPU lies idle.

    \b
    python -m training doctor
    KERAS_BACKEND=jax python -m training doctor
    """
    from training.machines.diagnosis import diagnosis

    show(diagnosis(steps), "python -m training", as_json)
