"""A run made again from a bundle computes what the bundle does, in inference and with a batch's own
statistics.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import BundleError, RunError
from export.build import Settings, build
from tests.networks import known_run
from tests.support import matching_hashes, rezip
from training.fit.recipe import Recipe
from training.fit.train import train
from training.runs.restore import restore
from training.runs.run import load_run

pytestmark = pytest.mark.rounding


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """nano as a run that knows the drawn faces, as a bundle that has passed the gate, half of its
    training prior taken off.
    """
    folder = tmp_path_factory.mktemp("restore")
    run = known_run(prepared, folder / "run")
    settings = Settings(gate_min=1, adjustment=0.5)
    return build(run, prepared, folder / "nano.edgeemo", settings=settings)[0]


def test_restored_run_answers_like_the_bundle(
    trained: Bundle, prepared: Path, tmp_path: Path
) -> None:
    restore(trained.path, prepared, tmp_path / "again")
    assert len(list((tmp_path / "again").glob("*.png"))) == 4
    data = load_prepared(prepared, DEFAULT_SPEC)
    pictures = np.asarray(data.images[data.indices("train")])
    point = trained.manifest.operating_point
    assert point is not None
    assert point.adjustment == 0.5
    # What the network was trained to say, which is what one goes on from.
    expected = open_backend(trained, "fp32.onnx").infer(pictures) + 0.5 * point.log_prior
    run = load_run(tmp_path / "again")
    model = run.build()
    found = np.asarray(model.predict_on_batch(pictures.astype(np.float32)))
    assert np.abs(found - expected).max() < 0.01 * np.ptp(expected)
    # With the batch's own statistics, as when it is trained on: but for dropout it is the same
    # function still.
    without_dropout = keras.models.clone_model(model, clone_function=_without_dropout)
    without_dropout.set_weights(model.get_weights())
    in_training = np.asarray(without_dropout(pictures.astype(np.float32), training=True))
    assert np.abs(in_training - expected).max() < 0.01 * np.ptp(expected)
    assert run.config.restored_from is not None
    assert run.config.restored_from.bundle == "nano"
    assert run.recipe.model == "nano"


def _without_dropout(layer: keras.layers.Layer) -> keras.layers.Layer:
    changes = {"rate": 0.0} if isinstance(layer, keras.layers.Dropout) else {}
    return type(layer).from_config(layer.get_config() | changes)


def test_restored_run_can_be_gone_on_from_and_exported(
    trained: Bundle, prepared: Path, tmp_path: Path
) -> None:
    restore(trained.path, prepared, tmp_path / "again", pictures=False)
    more = Recipe(
        model="nano",
        epochs=1,
        warmup_epochs=0,
        learning_rate=1e-5,
        ema=0.0,
        init=str(tmp_path / "again"),
    )
    before = load_run(tmp_path / "again").build().get_weights()
    train(more, prepared, tmp_path / "more", pictures=False)
    after = load_run(tmp_path / "more").build().get_weights()
    assert max(np.abs(a - b).max() for a, b in zip(before[:1], after[:1], strict=True)) < 1e-2
    bundle, _ = build(
        tmp_path / "again",
        prepared,
        tmp_path / "again.edgeemo",
        settings=Settings(profile="mcu", gate_min=1),
    )
    assert bundle.manifest.training["parameters"] == trained.manifest.training["parameters"]


def test_restored_run_remembers_that_it_has_seen_validation(
    trained: Bundle, prepared: Path, tmp_path: Path
) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["training"]["recipe"]["with_validation"] = True
        entries["manifest.json"] = json.dumps(manifest).encode()

    seen = rezip(trained.path, tmp_path / "seen.edgeemo", change)
    restore(seen, prepared, tmp_path / "again", pictures=False)
    assert load_run(tmp_path / "again").recipe.with_validation
    with pytest.raises(RunError, match="was trained on the validation pictures too"):
        train(
            Recipe(model="nano", epochs=1, init=str(tmp_path / "again")),
            prepared,
            tmp_path / "more",
        )


def test_bundle_of_another_split_or_network_is_refused(
    trained: Bundle, tiny_bundle: Path, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="does not hold a network that training knows"):
        restore(tiny_bundle, prepared, tmp_path / "x")

    def another_hash(entries: dict[str, bytes]) -> None:
        entries["manifest.json"] = entries["manifest.json"].replace(
            trained.manifest.data.split_hash.encode(), b"0" * len(trained.manifest.data.split_hash)
        )

    def another_test_part(entries: dict[str, bytes]) -> None:
        another_hash(entries)
        report = json.loads(entries["report.json"])
        ids = report["pictures"]["ids"]
        report["pictures"]["ids"] = "0" * 24 + ids[24:]
        entries["report.json"] = json.dumps(report).encode()
        matching_hashes(entries, json.loads(entries["manifest.json"]))

    other = rezip(trained.path, tmp_path / "other.edgeemo", another_test_part)
    with pytest.raises(RunError, match="another split .* seen 2 of its test .*--split-from other"):
        restore(other, prepared, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    # A training picture's label or part is another one; the test pictures are the very same.
    same = rezip(trained.path, tmp_path / "same.edgeemo", another_hash)
    restore(same, prepared, tmp_path / "x", pictures=False)
