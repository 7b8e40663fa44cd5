"""What one inference costs on each kind of processor, beside a peer.

python -m benchmarks.models.speed.measure mini_xception_int8.tflite [MODEL...] [--aarch64 ROOT]

MODEL is a bundle, or a .tflite file. Instructions do not depend on how busy this machine is: on
x86-64 with AVX2 and without VNNI by valgrind; on a Cortex-A72 (Raspberry Pi 4) and a Cortex-A76 (Pi
5) by qemu-user 7.2 or newer with a plugin, where ROOT is what ./scripts/aarch64-root made; on a
Cortex-M4 those of the generated C, by the example in QEMU. Times are of this machine's processor,
as it is and, where it has AVX-512, with that and VNNI hidden from LiteRT: processor time of one
thread, all models in turns, medians of the ratios by rounds. What is not installed is left out, and
said.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from benchmarks.models.family import int8_tflite
from benchmarks.models.firmware import cortex_m
from benchmarks.models.speed.counters import ARMS, Arm, Missing, aarch64, avx2, require, times
from edgeemo.cli import shell
from edgeemo.cli.processor import processor_features, processor_name
from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from edgeemo.models import find_model, shipped_models
from edgeemo.trust import read_bundle

TITLES = {
    "avx2": "AVX2, M instructions",
    "avx2_ms": "AVX2 (rest hidden), ms",
    "here_ms": "this machine, ms",
    "cortex-a72": "Cortex-A72, M instructions",
    "cortex-a76": "Cortex-A76, M instructions",
    "cortex-m4": "Cortex-M4 (C), M instructions",
}
"""Every processor, and what is counted on it."""
_M4 = ("m4", "-O2 SMLAD", ())
_FLASH = 900_000
"""Bytes of a model's file, above which the example's memory has no room for its tables."""


class Cost(NamedTuple):
    """Of one inference."""

    value: float
    """Instructions, or milliseconds."""
    ratio: float | None
    """To the peer's; None where that does not run."""


@click.command()
@click.argument("peer", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("models", nargs=-1)
@click.option(
    "--aarch64", "root", type=click.Path(path_type=Path), help="An aarch64 Python's root."
)
@click.option("--counted", default=4, show_default=True, help="Inferences that are counted.")
@click.option("--timed", default=400, show_default=True, help="Rounds that are timed.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write it here.")
def main(
    peer: Path,
    models: tuple[str, ...],
    root: Path | None,
    counted: int,
    timed: int,
    json_path: Path | None,
) -> None:
    """Measure PEER and MODELS, by default all that ship."""
    if json_path:
        check_output(json_path, (peer, *models))
    names = models or tuple(shipped_models())
    table: dict[str, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = [peer, *(_file(name, Path(folder)) for name in names)]
        for key, measured in _measures(files, names, root, counted, timed).items():
            try:
                costs = measured()
            except Missing as error:
                say(f"{TITLES[key]}: left out, {error.message}", err=True)
                continue
            for name, cost in costs.items():
                table.setdefault(name, {})[key] = cost
    say(*_lines(table))
    if json_path:
        with written_beside(json_path) as part:
            part.write_text(
                strict.dumps({"processor": processor_name(), "peer": peer.stem, "models": table})
            )


def _file(name: str, folder: Path) -> Path:
    """The int8 .tflite of a model, written into `folder` where it lies in a bundle."""
    if name.endswith(".tflite"):
        if not Path(name).exists():
            raise click.ClickException(f"{name}: no such file")
        return Path(name)
    bundle = read_bundle(find_model(name))
    path = folder / f"{Path(name).stem}.tflite"
    path.write_bytes(bundle.files[int8_tflite(bundle).file])
    return path


def _measures(
    files: Sequence[Path], names: Sequence[str], root: Path | None, counted: int, timed: int
) -> dict[str, Callable[[], Mapping[str, Cost]]]:
    """What measures `files`, the first of them the peer's, or the bundles among `names`."""
    measures: dict[str, Callable[[], Mapping[str, Cost]]] = {
        "avx2": lambda: _beside(files, avx2(files, counted)),
        "here_ms": lambda: _timed(files, times(files, timed)),
        "cortex-m4": lambda: _in_c([name for name in names if not name.endswith(".tflite")]),
    }
    if "avx512f" in processor_features():
        measures["avx2_ms"] = lambda: _timed(files, times(files, timed, hidden=True))
    if root:
        for arm in ARMS:
            measures[arm.name] = partial(_counted, arm, root, files, counted)
    return {key: measures[key] for key in TITLES if key in measures}


def _counted(arm: Arm, root: Path, files: Sequence[Path], runs: int) -> dict[str, Cost]:
    instructions, products = aarch64(arm, root, files, runs)
    if any(products) != ("asimddp" in arm.features):
        raise click.ClickException(f"LiteRT took the {arm.name} for another core")
    return _beside(files, instructions)


def _in_c(names: Sequence[str]) -> dict[str, Cost]:
    """Of the bundles whose tables fit the example's 1 MB of flash."""
    require("arm-none-eabi-gcc", "qemu-system-arm", "make")
    costs = {}
    for name in names:
        bundle = read_bundle(find_model(name))
        if int8_tflite(bundle).bytes < _FLASH:
            counted = cortex_m(bundle, *_M4)["instructions"]
            costs[Path(name).stem] = Cost(float(str(counted)), None)
    return costs


def _beside(files: Sequence[Path], instructions: Sequence[float]) -> dict[str, Cost]:
    return {
        file.stem: Cost(value, value / instructions[0])
        for file, value in zip(files, instructions, strict=True)
    }


def _timed(files: Sequence[Path], rows: Sequence[Sequence[float]]) -> dict[str, Cost]:
    table = np.asarray(rows)
    ratios = np.median(table / table[:, :1], axis=0).tolist()
    values = np.median(table, axis=0).tolist()
    return {
        file.stem: Cost(value, ratio)
        for file, value, ratio in zip(files, values, ratios, strict=True)
    }


def _lines(table: Mapping[str, Mapping[str, Cost]]) -> Iterator[str]:
    """Markdown: a row a model; the value, and in brackets its ratio to the peer's."""
    shown = [key for key in TITLES if any(key in row for row in table.values())]
    yield f"| model | {' | '.join(TITLES[key] for key in shown)} |"
    yield "|---|" + "---|" * len(shown)
    for name, row in table.items():
        yield f"| `{name}` | {' | '.join(_cell(key, row.get(key)) for key in shown)} |"


def _cell(key: str, cost: Cost | None) -> str:
    if cost is None:
        return ""
    value = f"{cost.value:.3f}" if key.endswith("_ms") else f"{cost.value / 1e6:.2f}"
    return value if cost.ratio is None else f"{value} ({cost.ratio:.2f})"


if __name__ == "__main__":
    shell.run(main, "benchmarks.models.speed.measure")
