"""Other labels and another input, from archives to an evaluated run: nothing here has seven classes
or 48x48 grey.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.contract.run import read_predictions, read_run_config
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import RunError, SpecMismatch
from tests import support
from training.__main__ import main
from training.data.prepare import prepare
from training.data.sources import SOURCES
from training.fit.recipe import Recipe
from training.fit.train import train
from training.runs.evaluate import evaluate_run, scorecards
from training.runs.run import load_run

EIGHT = (*LABELS, "contempt")
RGB = InputSpec(112, 112, 3)
RECIPE = Recipe(model="nano", epochs=1, batch_size=32, warmup_epochs=0, ema=0.0, seed=3)
# (hue's red, green, blue) of each class: what a network without colours could not tell apart.
COLOURS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]]
)


def coloured(label: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (120, 120, 3) RGB: a class's colour under a texture of the picture's own."""
    texture = rng.normal(0, 40, (15, 15, 1)).repeat(8, axis=0).repeat(8, axis=1)
    noise = rng.normal(0, 4, (120, 120, 3))
    return (60 + 130 * COLOURS[label] + texture + noise).clip(0, 255).astype(np.uint8)


def archive(path: Path, *, colour: bool) -> Path:
    rng = np.random.default_rng(0)
    entries = {}
    for split, part, count in (("train", "Training", 12), ("test", "PublicTest", 4)):
        for label, name in enumerate(EIGHT):
            for i in range(count):
                if colour:
                    picture = coloured(label, rng)[..., ::-1]
                else:
                    picture = support.drawn_picture(label % 7, rng) // (1 + label // 7)
                file = f"{split}/{name}/{part}_{label:02}{i:06}.png"
                entries[file] = support.encoded(picture)
    path.write_bytes(support.zip_bytes(entries))
    return path


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes of 48x48 grey, with votes: seven for the picture's own class, three for
    contempt.
    """
    folder = tmp_path_factory.mktemp("eight")
    votes = folder / "votes.csv"
    columns = {
        "angry": 4,
        "neutral": 0,
        "disgust": 5,
        "fear": 6,
        "happy": 1,
        "sad": 3,
        "surprise": 2,
        "contempt": 7,
    }
    lines = [",".join(["filename", "usage", *FERPLUS_COLUMNS])]
    for label, name in enumerate(EIGHT):
        for i in range(12):
            row = [0] * 10
            row[columns[name]] += 7
            row[7] += 3
            lines.append(f"Training_{label:02}{i:06}.png,Training," + ",".join(map(str, row)))
    votes.write_text("\n".join(lines) + "\n")
    zipped = archive(folder / "eight.zip", colour=False)
    out = folder / "prepared"
    prepare(
        [(SOURCES["fer2013"], zipped)], out, split="official", class_names=EIGHT, ferplus=votes,
        progress=False,
    )  # fmt: skip
    return out


@pytest.fixture(scope="module")
def eight_run(eight: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "eight"
    train(RECIPE, eight, out, pictures=False)
    return out


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual seven classes of 112x112 RGB, prepared by the command."""
    folder = tmp_path_factory.mktemp("rgb")
    zipped = archive(folder / "rgb.zip", colour=True)
    arguments = ["prepare", "--source", f"fer2013={zipped}", "--split", "official"]
    arguments += ["--input", "112x112-rgb", "--out", str(folder / "prepared")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "prepared"


@pytest.fixture(scope="module")
def rgb_run(rgb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "rgb"
    train(RECIPE, rgb, out, pictures=False)
    return out


def test_eight_classes_are_prepared_with_their_pictures(eight: Path) -> None:
    data = load_prepared(eight)
    assert data.class_names == EIGHT
    assert np.bincount(data.labels).tolist() == [16] * 8
    assert set(data.dataset["counts"]["fer2013"]["test"]) == set(EIGHT)


def test_run_of_eight_classes_evaluates_and_says_what_it_is(eight: Path, eight_run: Path) -> None:
    config = read_run_config(eight_run)
    assert (config.labels, config.input_spec) == (EIGHT, DEFAULT_SPEC)
    card = evaluate_run(eight_run, eight, "test")
    assert list(card.per_class_recall) == list(EIGHT)
    assert np.array(card.confusion).shape == (8, 8)
    stored = read_predictions(eight_run, "test", 8)
    data = load_prepared(eight)
    right = stored.logits.argmax(axis=1) == data.labels[data.indices("test")]
    assert card.top1 == right.mean()
    assert scorecards(eight_run, eight, "test")["labels"] == card


def test_contempt_counts_among_the_votes_where_it_is_a_class(eight: Path) -> None:
    from training.fit.targets import targets

    data = load_prepared(eight)
    chosen = targets(data, data.indices("train"), "ferplus")
    assert len(chosen.rows) == len(data.indices("train"))
    for label, value in zip(data.labels[chosen.rows], chosen.values, strict=True):
        expected = np.zeros(8)
        expected[label] += 0.7
        expected[7] += 0.3
        np.testing.assert_allclose(value, expected, atol=1e-6)
    assert set(chosen.votes_dropped) == {"unknown", "NF"}


def test_mix_balance_and_teachers_train_on_eight_classes(
    eight: Path, eight_run: Path, tmp_path: Path
) -> None:
    recipe = replace(
        RECIPE, labels="mix", balance=8, teachers=(str(eight_run),), mixup=0.2, cutmix=1.0
    )
    card = train(recipe, eight, tmp_path / "run", pictures=False)
    assert card is not None
    assert card.n == 32
    assert read_run_config(tmp_path / "run").leaned_on[0].run == str(eight_run)


def test_pictures_are_prepared_in_colour_and_at_the_asked_size(rgb: Path) -> None:
    data = load_prepared(rgb)
    assert data.spec == RGB
    assert data.images.shape == (7 * 16, 112, 112, 3)  # contempt is none of the seven
    for label in range(7):
        means = data.images[data.labels == label].mean(axis=(0, 1, 2))
        np.testing.assert_allclose(means, 60 + 130 * COLOURS[label], atol=15)


def test_run_on_colour_pictures_evaluates(rgb: Path, rgb_run: Path) -> None:
    run = load_run(rgb_run)
    assert (run.spec, run.class_names) == (RGB, LABELS)
    assert run.build().input_shape == (None, 112, 112, 3)
    card = evaluate_run(rgb_run, rgb, "validation")
    assert card.n == len(load_prepared(rgb).indices("validation"))
    config = json.loads((rgb_run / "config.json").read_text())
    assert config["input_fingerprint"] == RGB.fingerprint()


@pytest.mark.parametrize("role", ["init", "teachers"])
def test_run_of_other_labels_or_another_input_cannot_be_leaned_on(
    role: str, eight_run: Path, rgb_run: Path, prepared: Path, tmp_path: Path
) -> None:
    # A run of other labels may be a start, but not one that may have seen the test pictures.
    of_eight = "trained on another split" if role == "init" else "expected the labels"
    for other, error, message in (
        (eight_run, RunError, of_eight),
        (rgb_run, SpecMismatch, "was trained for 112x112-rgb"),
    ):
        named = str(other) if role == "init" else (str(other),)
        with pytest.raises(error, match=message):
            train(replace(RECIPE, **{role: named}), prepared, tmp_path / "run", pictures=False)
        assert not (tmp_path / "run").exists()
