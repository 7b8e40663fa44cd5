"""Augmentation and mixup against independent computations."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats

from edgeemo.errors import InvalidInput
from training.fit.augment import augmented_epoch, mixed
from training.fit.recipe import Augmentation

OFF = Augmentation(
    flip=0, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, cutout=0, cutout_side=4, blur=0
)  # fmt: skip


def noise(count: int = 40, low: int = 0, high: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(low, high, (count, 48, 48, 1)).astype(np.uint8)


def smooth(count: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures without edges, so that interpolation hardly matters, all different, between 60 and
    190.
    """
    fields = np.random.default_rng(seed).normal(size=(count, 48, 48))
    fields = np.stack([ndimage.gaussian_filter(field, 6, mode="nearest") for field in fields])
    low, high = fields.min(axis=(1, 2), keepdims=True), fields.max(axis=(1, 2), keepdims=True)
    return (60 + 130 * (fields - low) / (high - low)).astype(np.uint8)[..., np.newaxis]


def blob(row: float, column: float, count: int) -> NDArray[np.uint8]:
    """`count` times a bright spot on dark ground, at a place measured from the picture's centre."""
    rows, columns = np.indices((48, 48)) - 23.5
    spot = 200 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 3**2))
    return np.repeat(spot.round().astype(np.uint8)[np.newaxis, ..., np.newaxis], count, axis=0)


def centroids(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 2) row and column of each picture's centre of brightness, from the picture's centre."""
    places = np.indices((48, 48)) - 23.5
    weights = pictures[..., 0].astype(float)
    return np.einsum("nij,aij->na", weights, places) / weights.sum(axis=(1, 2))[:, np.newaxis]


def augmented(images: NDArray[np.uint8], seed: int = 1, **choice: Any) -> NDArray[np.float32]:
    return augmented_epoch(images, replace(OFF, **choice), np.random.default_rng(seed))


def test_all_off_is_the_identity() -> None:
    images = noise()
    result = augmented(images)
    assert result.dtype == np.float32
    assert np.array_equal(result, images)


def test_the_same_stream_gives_the_same_bytes_and_another_one_others() -> None:
    images, choice = smooth(), Augmentation()
    first, again, other = (
        augmented_epoch(images, choice, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert first.tobytes() == again.tobytes()
    assert (np.abs(first - other).max(axis=(1, 2, 3)) > 1).all()


def test_copies_of_one_picture_are_each_changed_in_their_own_way() -> None:
    # What balancing relies on: a row that is drawn several times in an epoch is never fitted twice
    # as the same picture.
    copies = augmented_epoch(
        np.repeat(smooth(1), 30, axis=0), Augmentation(), np.random.default_rng(0)
    ).reshape(30, -1)
    distances = np.abs(copies[:, np.newaxis] - copies).max(axis=2)
    assert (distances[~np.eye(30, dtype=bool)] > 1).all()


def test_the_pictures_handed_in_stay_as_they_are() -> None:
    images = noise()
    before = images.copy()
    augmented_epoch(images, Augmentation(cutout=1, blur=1), np.random.default_rng(0))
    assert np.array_equal(images, before)


def test_flip_mirrors_exactly_and_as_often_as_asked() -> None:
    images = noise(400)
    assert np.array_equal(augmented(images, flip=1), images[:, :, ::-1])
    some = augmented(images, flip=0.25)
    kept = (some == images).all(axis=(1, 2, 3))
    mirrored = (some == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    # Within four standard deviations of 400 draws.
    assert abs(mirrored.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)


def test_shift_moves_evenly_by_at_most_its_share_of_the_side_on_each_axis() -> None:
    moved = augmented(blob(0, 0, 400), shift=0.1)
    for axis in centroids(moved).T:
        assert np.abs(axis).max() <= 4.8 + 0.05
        assert stats.kstest(axis, stats.uniform(-4.8, 9.6).cdf).pvalue > 0.001


def test_rotation_turns_about_the_centre_with_the_given_spread() -> None:
    turned = centroids(augmented(blob(0, 12, 400), rotation=9))
    angles = np.rad2deg(np.arctan2(turned[:, 0], turned[:, 1]))
    assert np.abs(np.hypot(*turned.T) - 12).max() < 0.1
    assert stats.kstest(angles, stats.norm(0, 9).cdf).pvalue > 0.001


def test_zoom_changes_sizes_within_its_range() -> None:
    # A dark disc of radius 12 on bright ground: its area measures the zoom of both axes together.
    rows, columns = np.indices((48, 48)) - 23.5
    disc = np.where(rows**2 + columns**2 <= 144, 50, 200).astype(np.uint8)
    zoomed = augmented(np.repeat(disc[np.newaxis, ..., np.newaxis], 200, axis=0), zoom=0.2)
    area = ((200 - zoomed[..., 0]) / 150).sum(axis=(1, 2)) / ((200.0 - disc) / 150).sum()
    # Both axes by 1 +- 0.2, one of them by a third of that again.
    assert area.min() >= (0.8**2) * (1 - 0.2 / 3) - 0.01
    assert area.max() <= (1.2**2) * (1 + 0.2 / 3) + 0.01
    assert area.min() < 0.75
    assert area.max() > 1.25


def test_brightness_adds_one_bounded_number_to_a_whole_picture() -> None:
    images = noise(300, low=100, high=156)
    change = augmented(images, brightness=0.2) - images
    lift = change.mean(axis=(1, 2, 3))
    assert np.abs(change - lift[:, None, None, None]).max() < 1e-3
    assert np.abs(lift).max() <= 0.2 * 255
    # Uniform over the whole range.
    assert stats.kstest(lift, stats.uniform(-51, 102).cdf).pvalue > 0.001


def test_contrast_scales_about_the_picture_s_mean_within_its_range() -> None:
    images = noise(300, low=100, high=156)
    result = augmented(images, contrast=0.3)
    flat, changed = images.reshape(300, -1).astype(float), result.reshape(300, -1)
    gain = [np.polyfit(x, y, 1)[0] for x, y in zip(flat, changed, strict=True)]
    assert 0.7 - 1e-4 <= min(gain) < 0.75
    assert 1.25 < max(gain) <= 1.3 + 1e-4
    assert np.abs(changed.mean(axis=1) - flat.mean(axis=1)).max() < 1e-2
    expected = flat.mean(axis=1, keepdims=True) + np.array(gain)[:, None] * (
        flat - flat.mean(axis=1, keepdims=True)
    )
    assert np.abs(changed - expected).max() < 1e-2


def test_blur_is_the_3x3_gaussian() -> None:
    images = noise()
    kernel = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])
    expected = np.stack(
        [ndimage.correlate(p[..., 0].astype(float), kernel, mode="mirror") for p in images]
    )
    # OpenCV rounds the result to whole grey values.
    assert np.abs(augmented(images, blur=1)[..., 0] - expected).max() <= 0.5 + 1e-6


@given(side=st.integers(4, 48), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_cutout_blanks_one_rectangle_of_at_most_its_side_with_one_grey(
    side: int, seed: int
) -> None:
    images = noise(20)
    result = augmented(images, seed, cutout=1, cutout_side=side)
    for before, after in zip(images[..., 0], result[..., 0], strict=True):
        rows, columns = np.nonzero(after != before)
        patch = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert max(patch.shape) <= side
        assert len(np.unique(patch)) == 1
        assert 0 <= patch[0, 0] <= 255


def test_cutout_is_as_frequent_as_asked() -> None:
    images = noise(400)
    changed = (augmented(images, cutout=0.3) != images).any(axis=(1, 2, 3)).mean()
    assert abs(changed - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 400)


choices = st.builds(
    Augmentation,
    flip=st.floats(0, 1),
    rotation=st.floats(0, 60),
    zoom=st.floats(0, 0.9),
    shift=st.floats(0, 1),
    brightness=st.floats(0, 1),
    contrast=st.floats(0, 2),
    cutout=st.floats(0, 1),
    cutout_side=st.integers(4, 60),
    blur=st.floats(0, 1),
)


@given(choice=choices, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_values_stay_between_0_and_255_whatever_the_choice(choice: Augmentation, seed: int) -> None:
    result = augmented_epoch(noise(8), choice, np.random.default_rng(seed))
    assert result.shape == (8, 48, 48, 1)
    assert result.min() >= 0
    assert result.max() <= 255


def test_the_i_th_result_is_made_of_the_i_th_picture() -> None:
    images = smooth(80)
    choice = replace(OFF, rotation=4, zoom=0.05, shift=0.03)
    result = augmented_epoch(images, choice, np.random.default_rng(2))
    correlation = np.corrcoef(images.reshape(80, -1).astype(float), result.reshape(80, -1))[
        :80, 80:
    ]
    assert np.array_equal(correlation.argmax(axis=1), np.arange(80))


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"cutout": -0.1},
        {"blur": 2},
        {"rotation": -1},
        {"zoom": 1},
        {"shift": -0.1},
        {"brightness": -1},
        {"contrast": -1},
        {"cutout_side": 3},
        {"cutout_side": 0},
        {"flip": float("nan")},
    ],
)
def test_a_choice_that_cannot_be_drawn_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="augmentation"):
        replace(OFF, **wrong)  # type: ignore[arg-type]


# --- mixup


def test_mixup_blends_each_picture_and_its_target_with_one_other_by_the_same_share() -> None:
    count = 300
    images = noise(count).astype(np.float32)
    pictures, targets = mixed(
        images, np.eye(count, dtype=np.float32), 0.4, np.random.default_rng(0)
    )
    assert np.abs(targets.sum(axis=1) - 1).max() < 1e-6
    shares = np.diag(targets)
    assert (shares >= 0.5).all()
    partners = []
    for i in range(count):
        others = [j for j in np.flatnonzero(targets[i] > 1e-9) if j != i]
        assert len(others) <= 1
        j = others[0] if others else i
        partners.append(j)
        blend = shares[i].astype(float) * images[i] + (1 - shares[i].astype(float)) * images[j]
        assert np.abs(pictures[i] - blend).max() < 1e-3
    assert len(set(partners)) > 0.9 * count


def test_mixup_shares_follow_the_larger_of_a_beta_draw_and_its_rest() -> None:
    count = 3000
    _, targets = mixed(
        np.zeros((count, 1, 1, 1), np.float32),
        np.eye(count, dtype=np.float32),
        0.1,
        np.random.default_rng(1),
    )
    shares = np.diag(targets)
    beta = stats.beta(0.1, 0.1)
    for limit in (0.6, 0.8, 0.95, 0.999):
        expected = beta.cdf(limit) - beta.cdf(1 - limit)
        assert abs(np.mean(shares <= limit) - expected) < 4 * np.sqrt(
            expected * (1 - expected) / count
        )


def test_mixup_without_alpha_changes_nothing() -> None:
    images, targets = noise().astype(np.float32), np.eye(40, dtype=np.float32)
    pictures, same = mixed(images, targets, 0.0, np.random.default_rng(0))
    assert np.array_equal(pictures, images)
    assert np.array_equal(same, targets)


def test_mixup_treats_pictures_beyond_the_first_chunk_as_it_treats_targets() -> None:
    # Targets that are the pictures themselves must come out as the pictures do, in all three
    # chunks.
    values = np.random.default_rng(0).uniform(0, 255, (9000, 4)).astype(np.float32)
    pictures, targets = mixed(values.reshape(-1, 2, 2, 1), values, 0.4, np.random.default_rng(1))
    assert np.abs(pictures.reshape(-1, 4) - targets).max() < 1e-3
    assert (np.abs(targets - values).max(axis=1) > 1e-3).mean() > 0.5
