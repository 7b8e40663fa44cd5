"""Two bundles on the same pictures: known differences are found with their interval, and like is
compared with like.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from edgeemo.contract.container import sha256
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import DataError
from export.build import Settings, build
from export.cli.main import main
from export.prove.compare import compare
from tests.support import done_here, matching_hashes, quadrant_logits, rezip, store_model

pytestmark = pytest.mark.rounding

EXCHANGED = [0, 1, 2, 5, 4, 3, 6]


@pytest.fixture(scope="module")
def blind(tiny_run: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network with two outputs exchanged, so that it calls sad faces frightened and
    frightened ones sad.
    """
    import shutil

    import keras

    folder = tmp_path_factory.mktemp("blind")
    run = Path(shutil.copytree(tiny_run, folder / "run"))
    model = keras.models.load_model(run / "model.keras")
    weights, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([weights[:, EXCHANGED], bias[EXCHANGED]])
    store_model(run, model, prepared)
    build(run, prepared, folder / "blind.edgeemo", settings=Settings(profile="mcu", gate_min=1))
    return folder / "blind.edgeemo"


def test_difference_is_counted_picture_by_picture(
    tiny_bundle: Path, blind: Path, prepared: Path
) -> None:
    titles, (found,) = compare((tiny_bundle, blind), prepared)
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = data.indices("test")
    logits = quadrant_logits(np.asarray(data.images[rows]))
    right = logits.argmax(axis=1) == data.labels[rows]
    blind_right = logits[:, EXCHANGED].argmax(axis=1) == data.labels[rows]
    lost, won = int(np.sum(right & ~blind_right)), int(np.sum(~right & blind_right))
    assert titles == ["tiny 0.1.0 int8.tflite", "blind 0.1.0 int8.tflite"]
    assert (found.drop.b, found.drop.c, found.drop.n) == (lost, won, len(rows))
    assert lost == 16
    assert found.drop.mcnemar_p == pytest.approx(binomtest(min(lost, won), lost + won).pvalue)
    assert found.class_drops["sad"].drop == found.class_drops["fear"].drop == 1
    assert found.class_drops["happy"].drop == 0
    assert found.verdict == "A is better"
    assert compare((blind, tiny_bundle), prepared)[1][0].verdict == "B is better"
    assert (
        compare((blind, blind), prepared)[1][0].verdict
        == "no difference that these pictures can show"
    )


def test_votes_give_a_second_comparison(tiny_bundle: Path, voted: Path, tmp_path: Path) -> None:
    # The split is that of the bundle, votes are not part of its hash.
    _, found = compare((tiny_bundle, tiny_bundle), voted)
    assert [comparison.labels for comparison in found] == [
        "labels of the data set",
        "FER+ majority",
    ]
    assert found[1].a.n < found[0].a.n


def test_bundle_that_may_have_seen_the_test_pictures_is_refused(
    tiny_bundle: Path, prepared: Path, tmp_path: Path
) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["data"]["split_hash"] = sha256(b"another")
        entries["manifest.json"] = json.dumps(manifest).encode()

    # Its report lists these pictures as those that it was tested on.
    other = rezip(tiny_bundle, tmp_path / "other.edgeemo", change)
    assert len(compare((tiny_bundle, other), prepared)[1]) == 1

    def forget(entries: dict[str, bytes]) -> None:
        report = json.loads(entries["report.json"])
        ids = report["pictures"]["ids"]
        report["pictures"]["ids"] = "0" * (len(ids) // 2) + ids[len(ids) // 2 :]
        entries["report.json"] = json.dumps(report).encode()
        manifest = json.loads(entries["manifest.json"])
        manifest["data"]["split_hash"] = sha256(b"another")
        matching_hashes(entries, manifest)

    other = rezip(tiny_bundle, tmp_path / "another.edgeemo", forget)
    with pytest.raises(DataError, match="so it may have seen 28 of these pictures"):
        compare((tiny_bundle, other), prepared)


def test_command_prints_lines_or_json(tiny_bundle: Path, blind: Path, prepared: Path) -> None:
    def run(*options: str) -> str:
        words = ["compare", tiny_bundle, blind, "--data", prepared, *options]
        done = done_here(main, "export", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "labels of the data set, n 56: A is better" in run()
    row = json.loads(run("--json"))
    assert row["verdict"] == "A is better"
    assert row["bundles"][1] == "blind 0.1.0 int8.tflite"
