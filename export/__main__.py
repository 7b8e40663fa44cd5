"""python -m export: build."""

from pathlib import Path

import click

from edgeemo.cli import shell
from edgeemo.cli.tables import scorecard_lines


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """From a trained run to a bundle that a device can trust.

    \b
    python -m export build runs/small --data prepared/ --out small.edgeemo
    """


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="The prepared folder that the run was trained on."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle to write, NAME.edgeemo.")
@click.option("--name", help="The bundle's name [default: the file's].")
@click.option("--version", default="0.1.0", help="The bundle's version.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, help="Seed of the calibration draw and the self-test's patterns."
)
def build(run: Path, data: Path, out: Path, name: str | None, version: str, seed: int) -> None:
    """Convert RUN to int8 TFLite, int8 ONNX and fp32 ONNX, run the acceptance gate, and write the bundle if all pass.

    The gate compares each int8 file with the float model on the whole test split; no option loosens it. When it
    refuses, no bundle is written, the reasons are printed, and the report is kept beside as NAME.report.json.
    """
    if out.suffix != ".edgeemo":
        raise click.UsageError(f"--out must end in .edgeemo, received {out}")
    from export.build import build as run_build

    bundle, verdicts = run_build(run, data, out, name=name, version=version, seed=seed)
    for line in scorecard_lines(next(iter(verdicts.values())).float_card, "float"):
        click.echo(line)
    for file, verdict in verdicts.items():
        for line in scorecard_lines(verdict.int8_card, file):
            click.echo(line)
        drop = verdict.drop
        click.echo(
            f"{file} against float: drop {100 * drop.drop:+.2f} pp (one-sided 95 % bound {100 * drop.upper95:+.2f}), "
            f"agreement {verdict.agreement:.2%}, discordant {drop.b}:{drop.c}, McNemar p {drop.mcnemar_p:.3f}, "
            f"KL {verdict.mean_kl:.5f}, ECE {verdict.ece_float:.3f} -> {verdict.ece_int8:.3f}: passed"
        )
    click.echo(f"wrote {out}: {bundle.manifest.name} {bundle.manifest.version}, {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    shell.run(main, "python -m export")
