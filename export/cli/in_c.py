"""What is said of a bundle that becomes C and whose C nobody has measured."""

from typing import Any

from edgeemo.cli.shell import say
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.manifest import Format


def note_unmeasured(bundle: Bundle) -> None:
    """Say on stderr where a bundle's report has no figures of what a microcontroller computes."""
    files = [a.file for a in bundle.manifest.artifacts if a.format is Format.TFLITE]
    if any(_measured(bundle.report(), file) for file in files):
        return
    say(
        f"note: the report of {bundle.manifest.name} {bundle.manifest.version} says nothing of "
        "what C computes, which differs from LiteRT's default kernels on some faces; "
        "a bundle built with --profile mcu is held to the gate in C too",
        err=True,
    )


def _measured(report: dict[str, Any], file: str) -> bool:
    """Whether it has figures; a report's inside is not checked when it is read."""
    try:
        return isinstance(report["artifacts"][file]["in_c"], dict)
    except (KeyError, TypeError):
        return False
