"""What the command line tells of the models that ship: sizes, accuracy, time here."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeemo.models import PURPOSES, find_model, shipped_models

if TYPE_CHECKING:
    from edgeemo.contract.bundle import Bundle


@dataclass(frozen=True)
class Shipped:
    """A model that ships; accuracy is of its int8 file on the test split, 0..1."""

    name: str
    """What `--model` takes."""
    purpose: str
    """What it is for, in words."""
    path: str
    """Where its bundle lies."""
    version: str
    """The bundle's version."""
    bytes: int
    """Of its int8 file."""
    activation_bytes: int
    """Alive at once, at their peak."""
    multiply_accumulates: int | None
    """For one face."""
    ferplus_top1: float | None
    """Against the majority of FER+'s taggers."""
    ferplus_mean_recall: float | None
    """Mean over the emotions, against the same."""
    labels_top1: float | None
    """Against the data set's labels."""
    ms: float | None = None
    """Median milliseconds of one face here; None: not measured."""


def family() -> list[tuple[Shipped, "Bundle"]]:
    """The models that ship and their bundles, the smallest first."""
    from edgeemo.trust import read_bundle

    rows = [_row(name, read_bundle(find_model(name))) for name in shipped_models()]
    return sorted(rows, key=lambda row: (row[0].bytes, row[0].name))


def family_lines(rows: Sequence[Shipped]) -> Iterator[str]:
    """A table of 80 columns, a line a model."""
    timed = any(row.ms is not None for row in rows)
    yield (
        f"{'':<14}{'int8':>7}{'memory':>8}{'FER+':>7}{'mean':>8}{'FER-2013':>9}"
        f"{'ms here' if timed else '':>{8 if timed else 0}}"
    )
    units = f"{'name':<14}{'KB':>7}{'KB':>8}{'top-1':>7}{'recall':>8}{'top-1':>9}"
    yield f"{units}{' ' * 8 * timed}  for"
    for row in rows:
        time = f"{row.ms:>8.2f}" if row.ms is not None else ""
        yield (
            f"{row.name:<14}{row.bytes / 1000:>7.0f}{row.activation_bytes / 1000:>8.0f}"
            f"{_share(row.ferplus_top1):>7}{_share(row.ferplus_mean_recall):>8}"
            f"{_share(row.labels_top1):>9}{time}  {row.purpose}"
        )


def _row(name: str, bundle: "Bundle") -> tuple[Shipped, "Bundle"]:
    from edgeemo.backends import default_artifacts

    manifest = bundle.manifest
    artifact = default_artifacts(bundle)[0]
    macs = manifest.training.get("multiply_accumulates")
    measured = (e.top1 for e in manifest.evaluation if e.artifact == artifact.file)
    shipped = Shipped(
        name,
        PURPOSES.get(name, ""),
        str(bundle.path),
        manifest.version,
        artifact.bytes,
        manifest.tensor_arena_bytes,
        macs if isinstance(macs, int) else None,
        *_against_ferplus(bundle.report(), artifact.file),
        next(measured, None),
    )
    return shipped, bundle


def _against_ferplus(report: dict[str, Any], file: str) -> tuple[float | None, float | None]:
    """Top-1 and mean recall; None where a report does not say, for its inside is not checked when
    it is read.
    """
    try:
        card = report["artifacts"][file]["ferplus_majority"]["card"]
        recalls = [float(r) for r in card["per_class_recall"].values() if r is not None]
        return float(card["top1"]), math.fsum(recalls) / len(recalls)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None, None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
