"""Whole epochs of a small network: they learn, repeat, and go on from a checkpoint as if nothing
had been.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeemo.contract.input_spec import DEFAULT_SPEC
from training.fast.choices import Choice
from training.fast.engine import Programs, objective, on_device
from training.fast.job import (
    Job,
    Lesson,
    drawn,
    fitted,
    read_half,
    read_state,
    write_half,
    write_state,
)
from training.fast.optimizer import new_state
from training.fast.xla import jnp
from training.machines.compute import set_seed
from training.networks.blocks import classifier, convolution, rescaled_input

COUNT = 240
CHOICE = Choice(24, 0.02, 1, mixup=0.1, momentum=0.9, precision="float32")


def network(seed: int = 1) -> keras.Model:
    set_seed(seed)
    pixels, x = rescaled_input(DEFAULT_SPEC)
    x = convolution(layers.AveragePooling2D(8)(x), 8, "one")
    return classifier(pixels, x, "tiny", 7, dropout=0.1)


def bright_or_dark() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, COUNT)
    images = rng.integers(0, 90, (COUNT, 48, 48)) + 150 * labels[:, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module")
def setting() -> dict[str, Any]:
    images, labels = bright_or_dark()
    table = jnp.asarray(np.eye(7, dtype=np.float16)[labels])
    programs = Programs(network(), CHOICE.shape(COUNT))
    faces = on_device(images, np.arange(COUNT), 3)
    return {
        "programs": programs,
        "faces": faces,
        "table": table,
        "images": images,
        "labels": labels,
    }


def job(setting: dict[str, Any], folder: Path, epochs: int = 4, seed: int = 5) -> Job:
    programs, lesson = setting["programs"], Lesson([setting["table"]], fresh=True)
    numbers = CHOICE.numbers(programs.shape, epochs)
    return Job("tiny", programs, setting["faces"], lesson, numbers, epochs, seed, folder)


def nothing(done: int, state: Any, loss: float) -> None:
    """Nobody watches."""


def same(first: Any, second: Any) -> bool:
    lists = ("weights", "average", "first", "second", "others")
    return all(
        np.array_equal(a, b)
        for name in lists
        for a, b in zip(first[name], second[name], strict=True)
    )


def test_bright_and_dark_are_told_apart_after_a_few_epochs(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    done = job(setting, tmp_path, epochs=8)
    state, losses = fitted(done, lambda: new_state(network()), nothing)
    assert losses[-1] < 0.6 * losses[0]
    named = setting["programs"].scores(state, setting["images"]).argmax(axis=1)
    assert (named == setting["labels"]).mean() > 0.95


def test_same_seed_gives_the_same_weights_and_another_seed_others(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    runs = [
        fitted(job(setting, tmp_path / str(i), 2, seed), lambda: new_state(network()), nothing)
        for i, seed in enumerate((5, 5, 6))
    ]
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not same(runs[0][0], runs[2][0])


def test_interrupted_training_gives_what_an_uninterrupted_one_gives(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    def stop(done: int, state: Any, loss: float) -> None:
        if done == 2:
            write_state(tmp_path / "b", state, [1.0] * 2, 4)
            raise KeyboardInterrupt

    whole, _ = fitted(job(setting, tmp_path / "a"), lambda: new_state(network()), nothing)
    with pytest.raises(KeyboardInterrupt):
        fitted(job(setting, tmp_path / "b"), lambda: new_state(network()), stop)
    rest, losses = fitted(job(setting, tmp_path / "b"), lambda: new_state(network()), nothing)
    assert same(whole, rest)
    assert len(losses) == 4
    assert read_state(tmp_path / "b", lambda: new_state(network()))[1] == losses


def test_where_time_runs_out_the_schedule_ends_earlier_and_a_second_start_adds_nothing(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    def slow(done: int) -> float:
        return {1: 2, 2: 5}.get(done, 3)

    cut, losses = fitted(
        job(setting, tmp_path / "a", epochs=8), lambda: new_state(network()), nothing, possible=slow
    )
    assert len(losses) == 3
    again, losses = fitted(
        job(setting, tmp_path / "a", epochs=8), lambda: new_state(network()), nothing
    )
    assert same(cut, again)
    assert len(losses) == 3
    _, losses = fitted(
        job(setting, tmp_path / "b"), lambda: new_state(network()), nothing, possible=lambda _: -1.0
    )
    assert len(losses) == 1


def test_seconds_of_an_epoch_are_measured_without_changing_anything(
    setting: dict[str, Any],
) -> None:
    programs = setting["programs"]
    before = [np.array(weight) for weight in programs.model.get_weights()]
    numbers = CHOICE.numbers(programs.shape, 4)
    seconds = programs.seconds_of_epoch(setting["faces"], setting["table"], numbers)
    assert 0 < seconds < 60
    for ours, theirs in zip(programs.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_is_drawn_without_tensorflow() -> None:
    drawn("nano", 5, "float32")
    assert "tensorflow" not in sys.modules


def test_scores_are_those_of_the_network_that_is_kept(
    setting: dict[str, Any], tmp_path: Path
) -> None:
    state, _ = fitted(job(setting, tmp_path, 1), lambda: new_state(network()), nothing)
    scores = setting["programs"].scores(state, setting["images"])
    kept = setting["programs"].keep(state)
    theirs = kept.predict(setting["images"][..., None].astype(np.float32), verbose=0)
    np.testing.assert_allclose(scores, theirs, atol=1e-4)


def test_teachers_score_the_pixels_that_a_student_sees(setting: dict[str, Any]) -> None:
    programs = setting["programs"]
    state = programs.state()
    first = np.asarray(programs.scores_of_view(state, setting["faces"], 3))
    again = np.asarray(programs.scores_of_view(state, setting["faces"], 3))
    other = np.asarray(programs.scores_of_view(state, setting["faces"], 4))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (COUNT, 7)
    assert np.abs(first - other).max() > 1e-3


def test_objective_is_the_sum_of_keras_cross_entropies_of_the_heads() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, 14)).astype(np.float32)
    targets = rng.dirichlet(np.ones(7), (5, 2)).astype(np.float32)
    targets[2, 0] = 0
    expected = 0.0
    for head in range(2):
        of_head = keras.losses.categorical_crossentropy(
            targets[:, head], logits[:, 7 * head : 7 * head + 7], from_logits=True
        )
        expected += float(np.where(targets[:, head].sum(axis=1) > 0, of_head, 0).mean())
    assert float(objective(targets.reshape(5, 14), logits)) == pytest.approx(expected, rel=1e-5)


def test_views_come_in_turn() -> None:
    lesson = Lesson(["first", "second"])
    assert [lesson.of(epoch) for epoch in range(3)] == [(0, "first"), (1, "second"), (0, "first")]
    assert Lesson(["only"], fresh=True).of(2) == (2, "only")


def test_halved_weights_differ_by_less_than_a_thousandth(tmp_path: Path) -> None:
    weights = network().get_weights()
    write_half(tmp_path / "heads.npz", weights)
    for ours, theirs in zip(read_half(tmp_path / "heads.npz"), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
