"""`base` and `teacher` for a few hundred steps on drawn pictures: they train, resume, teach and
export. Minutes each.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeemo import load_bundle
from export.build import Settings, build
from tests.support import interrupted_after_first_epoch, write_drawn_archive
from training.data.prepare import prepare
from training.data.sources import SOURCES
from training.fit.recipe import Augmentation, Recipe
from training.fit.train import train
from training.runs.run import load_run

# A mirrored drawn picture is one of another class.
UNTURNED = Augmentation(flip=0, rotation=0)
STUDENT = Recipe(
    model="nano", epochs=30, batch_size=16, warmup_epochs=1, ema=0.9, mixup=0, augmentation=UNTURNED
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 drawn training pictures and 210 test pictures, prepared."""
    folder = tmp_path_factory.mktemp("many")
    archive = write_drawn_archive(folder / "drawn.zip", train=100, test=30)
    prepare([(SOURCES["fer2013"], archive)], folder / "prepared", split="official", progress=False)
    return folder / "prepared"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["base", "teacher"])
def test_a_large_network_trains_resumes_teaches_and_exports(
    many: Path, tmp_path: Path, model: str
) -> None:
    # About 310 steps: a tenth of the training pictures are for validation.
    recipe = replace(STUDENT, model=model, epochs=2, batch_size=4, learning_rate=5e-4)
    whole = train(recipe, many, tmp_path / "whole", pictures=False)
    assert whole.top1 > 0.9
    interrupted_after_first_epoch(many, tmp_path / "resumed", recipe, seconds=900).communicate(
        timeout=900
    )
    train(recipe, many, tmp_path / "resumed", resume=True, pictures=False)
    for one, other in zip(
        *(load_run(tmp_path / n).build().get_weights() for n in ("whole", "resumed")), strict=True
    ):
        assert np.array_equal(one, other)
    student = replace(STUDENT, teachers=(str(tmp_path / "whole"), str(tmp_path / "resumed")))
    assert train(student, many, tmp_path / "student", pictures=False).top1 > 0.9
    bundle, made = build(
        tmp_path / "whole", many, tmp_path / f"{model}.edgeemo", settings=Settings(gate_min=1)
    )
    assert all(measured.verdict.passed for measured in made.values())
    assert load_bundle(tmp_path / f"{model}.edgeemo").manifest == bundle.manifest
