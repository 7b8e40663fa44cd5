"""Epochs whose pictures are made inside the compiled step, against Keras' own steps on the same
pictures.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import Interrupted
from tests.networks import STILL, CtrlC
from tests.training.fast.test_seeds import RECIPE as SEEDS_RECIPE
from training.fast import augment as fast
from training.fast import on_device
from training.fast.xla import jax, jnp
from training.fit.anew import fitted_epochs
from training.fit.distill import Teachers
from training.fit.loop import Faces, new_model, restart_average, steps_per_epoch
from training.fit.recipe import Augmentation, Recipe
from training.fit.together import Learner, fit_together, order_of, together_of
from training.fit.train import train
from training.runs.run import load_run

RECIPE = replace(SEEDS_RECIPE, batch_size=16, pipeline="device")


def drawn_faces(weights: bool = False) -> Faces:
    """70 pictures of noise: five batches of 16 but for six pictures that are left over."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (70, 48, 48, 1), dtype=np.uint8)
    labels = np.eye(7, dtype=np.float32)[rng.integers(0, 7, 70)]
    names = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")
    of_class = rng.uniform(0.5, 2, 7).astype(np.float32) if weights else None
    return Faces(images, labels, names, of_class)


def learner(recipe: Recipe, faces: Faces) -> Learner:
    steps = steps_per_epoch(recipe, len(faces.images), 7)
    return Learner(new_model(recipe, steps, DEFAULT_SPEC, 7), recipe, faces)


def made(recipe: Recipe, faces: Faces, epoch: int) -> list[tuple[NDArray[np.float32], ...]]:
    """The batches of an epoch, made one by one of what the fast path's functions say."""
    order = order_of(recipe, epoch, faces)
    table = fast.share_table(recipe.mixup)
    batches = []
    for places, slots, u in zip(order.places, order.slots, order.mixing, strict=True):
        draws = fast.draws(jax.random.key(recipe.seed), order.view, jnp.asarray(slots))
        x = fast.augment(jnp.asarray(faces.images[places]), draws, recipe.augmentation)
        x, y = fast.mixed(x, jnp.asarray(faces.targets[places]), jnp.asarray(u[:, 0]), table)
        weights = np.ones(len(y)) if faces.weights is None else np.asarray(y) @ faces.weights
        batches.append((np.asarray(x), np.asarray(y), weights))
    return batches


def test_an_epoch_is_keras_own_steps_on_the_pictures_that_were_drawn() -> None:
    faces = drawn_faces(weights=True)
    ours, alone = learner(RECIPE, faces), learner(RECIPE, faces)
    together = together_of([ours])
    together.size = 3  # on a CPU it is 1; so four steps are a loop of three, and one alone
    for epoch in range(2):
        (loss,) = fit_together(together, epoch, title="")
        losses = []
        for x, y, weights in made(RECIPE, faces, epoch):
            alone.model.reset_metrics()
            losses.append(alone.model.train_on_batch(x, y, sample_weight=weights))
        assert loss == pytest.approx(float(np.mean(losses)), rel=1e-4)
        if epoch == 0:
            restart_average(alone.model)
    both = zip(ours.model.get_weights(), alone.model.get_weights(), strict=True)
    for a, b in both:
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    kept = zip(ours.model.optimizer.variables, alone.model.optimizer.variables, strict=True)
    for mine, theirs in kept:
        np.testing.assert_allclose(
            np.array(mine.value), np.array(theirs.value), rtol=1e-3, atol=1e-4
        )


def test_an_epoch_takes_each_picture_once_and_another_one_another_order() -> None:
    faces = drawn_faces()
    first, second = (order_of(RECIPE, epoch, faces) for epoch in (0, 1))
    assert first.places.shape == (4, 16)
    assert len(set(first.places.ravel())) == 64
    assert (first.places != second.places).any()
    assert (first.view, second.view) == (0, 1)
    again = order_of(RECIPE, 0, faces)
    np.testing.assert_array_equal(first.places, again.places)
    np.testing.assert_array_equal(first.mixing, again.mixing)


def test_balanced_classes_are_equally_many_and_copies_are_changed_anew() -> None:
    faces = drawn_faces()
    order = order_of(replace(RECIPE, balance=16, batch_size=16), 0, faces)
    assert order.places.shape == (7, 16)
    counts = np.bincount(faces.labels[order.places.ravel()], minlength=7)
    assert counts.tolist() == [16] * 7
    assert len(set(order.slots.ravel())) == 7 * 16  # each place has draws of its own


def test_cutmix_sets_a_box_of_the_neighbour_in_and_mixes_targets_by_its_area() -> None:
    count = 4000
    x = np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones(
        (1, 12, 20, 1), np.float32
    )
    targets = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    u = np.random.default_rng(1).random((count, 3)).astype(np.float32)
    blend, y = fast.cut_mixed(
        jnp.asarray(x), jnp.asarray(targets), jnp.asarray(u), fast.box_table(1.0)
    )
    blend, y = np.asarray(blend), np.asarray(y)
    own = (blend == x).mean(axis=(1, 2, 3))
    assert ((blend == x) | (blend == np.roll(x, 1, axis=0))).all()
    np.testing.assert_allclose((y * targets).sum(axis=1), own, atol=1e-5)
    # Beta(1, 1) is uniform, and so is the area that is left, but for whole pixels.
    assert own.mean() == pytest.approx(0.5, abs=0.02)
    covered = (blend != x)[..., 0]
    boxed = covered.any(axis=(1, 2))
    for picture in covered[boxed][:50]:  # one box: rows and columns that are covered span it
        rows, columns = picture.any(axis=1), picture.any(axis=0)
        np.testing.assert_array_equal(picture, np.outer(rows, columns))
        assert (np.diff(np.flatnonzero(rows)) == 1).all()
    assert covered[boxed].mean(axis=0).min() > 0.1  # anywhere


def test_pictures_of_colour_that_are_not_square_are_changed_alike_in_all_channels() -> None:
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 256, (20, 24, 40, 1), dtype=np.uint8)
    u = fast.draws(jax.random.key(2), 0, jnp.arange(20))
    choice = Augmentation()
    one = np.asarray(fast.augment(jnp.asarray(grey), u, choice))
    three = np.asarray(fast.augment(jnp.asarray(np.repeat(grey, 3, axis=3)), u, choice))
    assert three.shape == (20, 24, 40, 3)
    np.testing.assert_allclose(three, np.repeat(one, 3, axis=3), atol=1e-3)


def test_a_run_on_the_device_is_the_same_after_an_interruption(voted: Path, tmp_path: Path) -> None:
    train(RECIPE, voted, tmp_path / "whole", pictures=False)
    with pytest.raises(Interrupted):
        train(RECIPE, voted, tmp_path / "two", events=CtrlC(), pictures=False)
    train(RECIPE, voted, tmp_path / "two", resume=True, pictures=False)
    whole, two = (load_run(tmp_path / name) for name in ("whole", "two"))
    assert whole.recipe.pipeline == "device"
    for a, b in zip(whole.build().get_weights(), two.build().get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_teachers_are_asked_about_the_very_pixels_that_the_student_sees(
    voted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(replace(RECIPE, epochs=1), voted, tmp_path / "teacher", pictures=False)
    asked: list[NDArray[np.float32]] = []
    answered = Teachers.view_scores

    def watched(self: Teachers, view: int, images: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(images)
        return answered(self, view, images)

    monkeypatch.setattr(Teachers, "view_scores", watched)
    recipe = replace(
        RECIPE, epochs=3, teachers=(str(tmp_path / "teacher"),), views=2, mixup=0.0, batch_size=8
    )
    data = load_prepared(voted)
    losses = [loss for _, loss in fitted_epochs(recipe, data, data.indices("train"))]
    assert len(losses) == 3
    assert len(asked) == 2  # once a view; the third epoch sees the first view again
    images = data.images[data.indices("train")]
    order = order_of(recipe, 2, Faces(images, np.eye(7, dtype=np.float32)[:1], data.class_names))
    assert order.view == 0
    u = fast.draws(jax.random.key(recipe.seed), 0, jnp.asarray(order.slots[0]))
    seen = fast.augment(jnp.asarray(images[order.places[0]]), u, recipe.augmentation)
    np.testing.assert_allclose(asked[0][order.places[0]], seen, atol=1e-3)


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    faces = drawn_faces()
    still = on_device.OnDevice(
        [learner(RECIPE, faces).model], replace(RECIPE, augmentation=STILL), faces.images, None
    )
    np.testing.assert_array_equal(still.view(1, 0), faces.images)
