"""python -m export tensorrt."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.errors import GateFailed
from edgeemo.models import find_model
from edgeemo.trust import read_bundle
from export.cli.options import out


@click.command()
@click.argument("bundle")
@out("The folder to write into.")
@click.option(
    "--trtexec",
    metavar="PATH",
    help="TensorRT's builder [default: the one in PATH or /usr/src/tensorrt/bin].",
)
def tensorrt(bundle: str, out: Path, trtexec: str | None) -> None:
    """Write BUNDLE's ONNX files and the commands that make TensorRT engines of them.

    Where TensorRT is installed, the engines too. Each is compared with the logits of the bundle's
    self-test; exit code 1 when one answers something else. An engine fits the GPU and the TensorRT
    version that built it, so run this on the device. A quantized file that breaks TensorRT's rules
    is left out, and the first of them said: bundles of --profile jetson keep them all.

    \b
    python -m export tensorrt small --out engines/
    """
    from export.convert.tensorrt import (
        SCRIPT,
        build_engines,
        find_trtexec,
        refused_files,
        write_commands,
    )

    opened, program = read_bundle(find_model(bundle)), trtexec or find_trtexec()
    if program is None:
        plans = write_commands(opened, out)
        _tell(refused_files(opened))
        for plan in plans:
            say(shlex.join(plan.command))
        say(
            f"TensorRT is not installed here; on the device run {out / SCRIPT}, "
            "or this command again for the check"
        )
        return
    engines = build_engines(opened, out, program)
    _tell(refused_files(opened))
    for engine in engines:
        say(
            f"{engine.path}: largest difference of a logit {engine.difference:.4g}, "
            f"allowed {engine.bound:g}: {'passed' if engine.passed else 'failed'}"
        )
    if failed := [str(engine.path) for engine in engines if not engine.passed]:
        raise GateFailed(
            f"{', '.join(failed)}: does not answer as the bundle promises; do not use it"
        )


def _tell(refused: Mapping[str, Sequence[str]]) -> None:
    """Which files were left out, and the first rule that each breaks."""
    for file, rules in refused.items():
        more = f" (and {len(rules) - 1} more)" if len(rules) > 1 else ""
        say(
            f"{file} is left out, because TensorRT does not take it: {rules[0]}{more}; build the"
            " bundle with --profile jetson for an int8 engine"
        )
