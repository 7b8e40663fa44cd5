"""edgeemo info"""

from dataclasses import asdict
from typing import Any

import click

from edgeemo.cli.tables import confusion_lines


@click.command()
@click.argument("bundle", default="small")
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as one JSON object.")
def info(bundle: str, as_json: bool) -> None:
    """Show what a bundle holds: files, input, data, training, and the accuracy that was measured
    when it was built.
    """
    from edgeemo.contract import strict
    from edgeemo.contract.input_spec import CHANNELS
    from edgeemo.recognizer import load_bundle

    opened = load_bundle(bundle)
    manifest = opened.manifest
    if as_json:
        click.echo(strict.dumps_line(asdict(manifest)))
        return
    spec = manifest.input_spec
    click.echo(
        f"{manifest.name} {manifest.version}  licence: {manifest.licence}  (needs edgeemo"
        f" {manifest.minimum_edgeemo})"
    )
    click.echo(f"labels       {', '.join(manifest.labels)}")
    click.echo(
        f"input        {spec.height}x{spec.width}x{spec.channels} uint8 {CHANNELS[spec.channels]}, "
        f"spec {manifest.input_fingerprint}"
    )
    click.echo(f"activations  {manifest.tensor_arena_bytes:,} bytes at their peak (int8)")
    for artifact in manifest.artifacts:
        quantized = (
            f"scale {artifact.input.scale:g} zero point {artifact.input.zero_point}"
            if artifact.input.scale
            else "no scale"
        )
        opset = f"  opset {artifact.opset}" if artifact.opset else ""
        click.echo(
            f"  {artifact.file:<12} {artifact.bytes:>9,} bytes  input {artifact.input.dtype}"
            f" {quantized}{opset}"
        )
    click.echo(
        f"data         {', '.join(manifest.data.sets)}, split {manifest.data.split}"
        f" ({manifest.data.split_hash[:12]})"
    )
    recipe = manifest.training.get("recipe", {})
    click.echo(
        "training     "
        + ", ".join(
            f"{k} {recipe[k]}"
            for k in ("model", "labels", "epochs", "batch_size", "seed")
            if k in recipe
        )
    )
    click.echo(
        f"calibration  {manifest.calibration.n} pictures of {manifest.calibration.split},"
        f" {manifest.calibration.method}"
    )
    for measured in manifest.evaluation:
        low, high = measured.drop_interval
        click.echo(
            f"{measured.artifact} on {measured.split} (n {measured.n:,}): top-1"
            f" {measured.top1:.2%}, float {measured.float_top1:.2%}, drop"
            f" {100 * measured.drop:+.2f} pp (90 % interval {100 * low:+.2f} to {100 * high:+.2f}),"
            f" agreement {measured.agreement:.2%}, macro-F1 {measured.macro_f1:.2%}"
        )
        if not manifest.artifact(measured.artifact).precision.is_integer:
            continue  # what the float files answer is the float model's matrix
        for line in confusion_lines(measured.confusion, measured.per_class_recall):
            click.echo("  " + line)
        if ferplus := _against_ferplus(opened.report(), measured.artifact):
            click.echo(f"  {ferplus}")


def _against_ferplus(report: dict[str, Any], artifact: str) -> str | None:
    """The report's line about the FER+ majority; None where it has none.

    A report's inside is not checked when it is read.
    """
    try:
        ferplus = report["artifacts"][artifact]["ferplus_majority"]
        card, full = ferplus["card"], ferplus["float_card"]
        return (
            f"against the FER+ majority (n {card['n']:,}): top-1 {card['top1']:.2%}, float"
            f" {full['top1']:.2%}, macro-F1 {card['macro_f1']:.2%}"
        )
    except (KeyError, TypeError, ValueError):
        return None
