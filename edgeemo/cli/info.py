"""edgeemo info"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgeemo.cli.options import bundle_argument
from edgeemo.cli.shell import say
from edgeemo.cli.tables import confusion_lines, say_wrapped

if TYPE_CHECKING:
    from edgeemo.contract.bundle import Bundle

# Of a text in the manifest, such as the licence; --json has it whole.
_MAX_SHOWN = 300


@click.command()
@bundle_argument(default="small")
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as one JSON object.")
def info(bundle: str, as_json: bool) -> None:
    """Show what a bundle holds: files, input, data, training, and the accuracy that was measured
    when it was built.

    \b
    edgeemo info small
    edgeemo info mine.edgeemo --json
    """
    from edgeemo.contract.checked import strict
    from edgeemo.recognizer import load_bundle

    opened = load_bundle(bundle)
    if as_json:
        say(strict.dumps_line(asdict(opened.manifest)))
        return
    for part in (_what_it_is, _files, _how_it_was_made, _accuracy):
        for line in part(opened):
            say_wrapped(line)


def _what_it_is(bundle: "Bundle") -> Iterator[str]:
    from edgeemo.contract.input_spec import CHANNELS

    manifest, spec = bundle.manifest, bundle.spec
    yield (
        f"{manifest.name} {manifest.version}  licence: {_short(manifest.licence)}  "
        f"(needs edgeemo {manifest.minimum_edgeemo})"
    )
    yield f"labels       {', '.join(manifest.labels)}"
    if by := _signed_by(bundle):
        yield f"signed       {by}"
    yield (
        f"input        {spec.height}x{spec.width}x{spec.channels} uint8 {CHANNELS[spec.channels]}, "
        f"spec {manifest.input_fingerprint}"
    )


def _signed_by(bundle: "Bundle") -> str:
    """Who answers for it where keys are trusted; empty where none are."""
    if bundle.vouched.shipped:
        return "ships with this edgeemo"
    return f"by {', '.join(bundle.vouched.by)}, trusted here" if bundle.vouched.by else ""


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}... ({len(text):,} characters)"


def _files(bundle: "Bundle") -> Iterator[str]:
    yield f"activations  {bundle.manifest.tensor_arena_bytes:,} bytes at their peak (int8)"
    for artifact in bundle.manifest.artifacts:
        source = artifact.input
        quantized = "no scale"
        if source.scale:
            quantized = f"scale {source.scale:g} zero point {source.zero_point}"
        opset = f"  opset {artifact.opset}" if artifact.opset else ""
        yield (
            f"  {artifact.file:<12} {artifact.bytes:>9,} bytes  "
            f"input {source.dtype} {quantized}{opset}"
        )


def _how_it_was_made(bundle: "Bundle") -> Iterator[str]:
    from edgeemo.contract.checked.text import printable
    from edgeemo.contract.quantize import calibrated_with

    data, calibration = bundle.manifest.data, bundle.manifest.calibration
    split = f"{_short(data.split)} ({data.split_hash[:12]})"
    yield f"data         {_short(', '.join(data.sets))}, split {split}"
    recipe = bundle.manifest.training.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    choices = [key for key in ("model", "labels", "epochs", "batch_size", "seed") if key in recipe]
    yield "training     " + ", ".join(
        f"{key} {printable(str(recipe[key])[:60])}" for key in choices
    )
    if point := bundle.manifest.operating_point:
        prior = ", ".join(
            f"{label} {share:.1%}" for label, share in zip(bundle.labels, point.prior, strict=True)
        )
        yield (
            f"scores       temperature {point.temperature:.2f}, {point.adjustment:.0%} of the "
            f"training prior taken off ({prior})"
        )
    yield (
        f"calibration  {calibrated_with(calibration.n, _short(calibration.split))}, "
        f"{_short(calibration.method)}"
    )


def _accuracy(bundle: "Bundle") -> Iterator[str]:
    from edgeemo.proof.conditions import too_few_pictures

    n = min((measured.n for measured in bundle.manifest.evaluation), default=0)
    if few := too_few_pictures(n):
        yield f"accuracy     {few}"
    for measured in bundle.manifest.evaluation:
        low, high = measured.drop_interval
        yield (
            f"{measured.artifact} on {_short(measured.split)} (n {measured.n:,}): "
            f"top-1 {measured.top1:.2%}, float {measured.float_top1:.2%}, "
            f"drop {100 * measured.drop:+.2f} pp "
            f"(90 % interval {100 * low:+.2f} to {100 * high:+.2f}), "
            f"agreement {measured.agreement:.2%}, macro-F1 {measured.macro_f1:.2%}"
        )
        if not bundle.manifest.artifact(measured.artifact).precision.is_integer:
            continue  # what the float files answer is the float model's matrix
        for line in confusion_lines(measured.confusion, measured.per_class_recall, bundle.labels):
            yield "  " + line
        if ferplus := _against_ferplus(bundle.report(), measured.artifact):
            yield ferplus


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
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
