"""Runs that came back from another machine: measured on the data at home, so that `export build`
takes them."""

from pathlib import Path

from edgeemo.contract.run import CONFIG, WEIGHTS, predictions_name
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import MissingFile
from training.networks.layers import without_simulation
from training.networks.qat import network
from training.runs.evaluate import write_split
from training.runs.run import check_fits, load_run, write_model
from workstation.text import percent


def finish_runs(folder: Path, data_path: Path) -> str:
    """Measure every run in `folder` that has weights and no predictions yet; returns a line a run.

    Raises:
        MissingFile: no run there.
        RunError, SpecMismatch: weights that do not fit, or data for another input.
    """
    folders = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    runs = [path for path in folders if (path / WEIGHTS).is_file()]
    if not runs:
        raise MissingFile(f"{folder}: expected run folders with {WEIGHTS}, found none")
    data = load_prepared(data_path)
    lines = []
    for path in runs:
        if (path / predictions_name("test")).is_file():
            lines.append(f"{path.name}: measured already")
            continue
        run = load_run(path)
        check_fits(run, data)
        trained = network(run.recipe, run.spec, len(run.class_names))
        trained.load_weights(path / WEIGHTS)
        write_model(path, trained)
        plain = without_simulation(trained) if run.recipe.qat else trained
        cards = [write_split(plain, data, split, path) for split in ("validation", "test")]
        lines.append(
            f"{path.name}: validation {percent(cards[0].top1, 2)}, test {percent(cards[1].top1, 2)}"
        )
    return "\n".join(lines)
