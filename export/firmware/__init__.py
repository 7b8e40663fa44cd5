"""Plain C99 from a bundle: kernels, tables, a static memory plan, and self-test vectors."""

from contextlib import suppress

from edgeemo.errors import BrokenDependency
from edgeemo.registry import Registry
from export.firmware.targets import Target

TARGETS: Registry[Target] = Registry(
    "firmware target",
    "edgeemo.firmware_targets",
    {
        "c99": "export.firmware.targets:C99",
        "cortex-m": "export.firmware.targets:CORTEX_M",
        "esp32": "export.firmware.targets:ESP32",
        "library": "export.firmware.targets:LIBRARY",
    },
    entry=Target,
)
"""Targets by name. Another package's entry point is a `Target`."""


def target_summaries() -> str:
    """What each target is built with, in a sentence each; a package that cannot be imported is left
    out here and named when its target is asked for."""
    summaries = []
    for name in TARGETS:
        with suppress(BrokenDependency):
            summaries.append(f"{name}: {TARGETS.get(name).summary}.")
    return " ".join(summaries)
