"""The run folder of a detector: the network and what it was made with."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.detector_run import DETECTOR_FILE, MODEL_FILE, DetectorRun
from edgeemo.contract.face_rows import FaceRows
from training.detector.fit import KINDS, Recipe, fit
from workstation.frames.finder import Finder, with_limits
from workstation.frames.judge import frames_to_judge, judge
from workstation.frames.known import Known, read_known
from workstation.frames.table import recall_table


def train_detector(
    name: str, photos: Sequence[Path], scenes: Sequence[Path], out: Path, recipe: Recipe
) -> DetectorRun:
    """Train `name` on archives of photos of one face and of scenes, choose its threshold on their
    validation split, and write the run to `out`.

    Raises:
        EdgeemoError: an archive is damaged, or `out` holds another run.
    """
    learned = {split: _known(photos, split) for split in ("train", "validation")}
    around = {split: _known(scenes, split) for split in ("train", "validation")}
    say(f"{len(learned['train'])} photos and {len(around['train'])} scenes to learn from")
    model = fit(name, learned["train"], around["train"], out, recipe)
    sources = tuple(path.name for path in (*photos, *scenes))
    return write_run(
        name, model, (learned["validation"], around["validation"]), out, recipe, sources
    )


def write_run(
    name: str,
    model: keras.Model,
    validation: tuple[Sequence[Known], Sequence[Known]],
    out: Path,
    recipe: Recipe,
    sources: tuple[str, ...],
) -> DetectorRun:
    """Choose a trained network's threshold on photos and scenes of `validation`, and write the run
    to `out`."""
    kind = KINDS[name]
    finder = Finder(rows_of(model), kind.spec, FaceRows(kind.grids, 0.0), 1.0, 0)
    finder = with_limits(finder, validation[1])
    reading = finder.reading
    say(f"thresholds {reading.threshold:.2f} and {reading.sure:.2f}, chosen on validation")
    counts = judge(finder.find, frames_to_judge(*validation, kind.smallest, most=60))
    for line in recall_table(counts):
        say(line)
    run = DetectorRun(
        name=name,
        input_spec=kind.spec,
        rows=finder.reading,
        smallest=kind.smallest,
        recipe=asdict(recipe),
        sources=sources,
        parameters=int(model.count_params()),
        validation={kind: count.to_dict() for kind, count in counts.items()},
    )
    with written_beside(out / MODEL_FILE) as part:
        model.save(part.with_suffix(".keras"))
        part.with_suffix(".keras").rename(part)
    with written_beside(out / DETECTOR_FILE) as part:
        part.write_text(run.to_json())
    return run


def rows_of(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The network as a function from uint8 (H, W, 1) to float32 (cells, 5)."""

    def rows(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer = model.predict_on_batch(pixels[np.newaxis].astype(np.float32))
        return np.asarray(answer[0], np.float32)

    return rows


def _known(archives: Sequence[Path], split: str) -> list[Known]:
    return [known for archive in archives for known in read_known(archive, split)]
