"""The augmentation inside the compiled step against the one in OpenCV."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from training.fast import augment as fast
from training.fast.xla import jax, jnp
from training.fit import augment as slow
from training.fit.recipe import Augmentation

NOTHING = Augmentation(
    flip=0, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, cutout=0, blur=0
)
COUNT = 2000


def only(**choices: float) -> Augmentation:
    return Augmentation(**{**vars(NOTHING), **choices})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """A bright blob off the centre, in a picture that is not black at its edge."""
    y, x = np.mgrid[:48, :48]
    blob = 40 + 160 * np.exp(-((x - 28) ** 2 + (y - 20) ** 2) / 60)
    return np.tile(blob.astype(np.uint8), (COUNT, 1, 1))


def in_jax(pictures: NDArray[np.uint8], choice: Augmentation, view: int = 0) -> NDArray[np.float32]:
    u = fast.draws(jax.random.key(5), view, jnp.arange(len(pictures)))
    return np.asarray(fast.augment(jnp.asarray(pictures)[..., None], u, choice))


def in_opencv(pictures: NDArray[np.uint8], choice: Augmentation) -> NDArray[np.float32]:
    return slow.augmented_epoch(pictures[..., None], choice, np.random.default_rng(5))


def places(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, 5): where the blob's centre is, its spread each way, and the covariance of the two."""
    weight = np.maximum(x[..., 0] - 60, 0).astype(np.float64)
    weight /= weight.sum(axis=(1, 2), keepdims=True)
    at = np.arange(48)
    along, down = weight.sum(axis=1), weight.sum(axis=2)
    cx, cy = along @ at, down @ at
    vx, vy = along @ at**2 - cx**2, down @ at**2 - cy**2
    cov = np.einsum("nyx,y,x->n", weight, at, at) - cx * cy
    return np.stack([cx, cy, vx, vy, cov], axis=1)


def test_no_strength_leaves_every_pixel_as_it_is() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (20, 48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(in_jax(noise, NOTHING)[..., 0], noise)


def test_flip_of_all_is_the_mirror_image() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (20, 48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(in_jax(noise, only(flip=1))[..., 0], noise[:, :, ::-1])


def test_blur_of_all_is_opencvs() -> None:
    # As many as above: JAX compiles for each number of pictures.
    noise = np.random.default_rng(1).integers(0, 256, (20, 48, 48), dtype=np.uint8)
    blurred = [cv2.GaussianBlur(picture, (3, 3), 0) for picture in noise]
    np.testing.assert_allclose(in_jax(noise, only(blur=1))[..., 0], blurred, atol=1)


def test_warp_is_opencvs_but_for_its_32nds_of_a_pixel() -> None:
    rng = np.random.default_rng(2)
    smooth = cv2.GaussianBlur(rng.integers(0, 256, (48, 48), dtype=np.uint8), (9, 9), 0)
    choice = Augmentation()
    warps = slow._warps(8, (48, 48), choice, rng)
    inverse = np.linalg.inv(warps[:, :, :2])
    centre = np.full(2, 23.5)
    shift = warps[:, :, 2] - centre + warps[:, :, :2] @ centre
    ours = fast.warped(
        jnp.asarray(np.tile(smooth, (8, 1, 1)))[..., None],
        jnp.asarray(inverse, jnp.float32),
        jnp.asarray(shift, jnp.float32),
    )
    theirs = [
        cv2.warpAffine(smooth, warp, (48, 48), borderMode=cv2.BORDER_REPLICATE) for warp in warps
    ]
    np.testing.assert_allclose(ours[..., 0], theirs, atol=3)


@pytest.mark.parametrize(
    "choice",
    [
        only(rotation=9.0),
        only(zoom=0.15),
        only(shift=0.09),
        only(flip=0.5),
        Augmentation(cutout=0, contrast=0, brightness=0),
    ],
    ids=["rotation", "zoom", "shift", "flip", "all of them"],
)
def test_places_and_sizes_are_spread_as_in_opencv(
    pictures: NDArray[np.uint8], choice: Augmentation
) -> None:
    ours, theirs = places(in_jax(pictures, choice)), places(in_opencv(pictures, choice))
    error = theirs.std(axis=0) / np.sqrt(COUNT) + 0.01
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * np.sqrt(2) * error).all()
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.08, atol=0.05)


@pytest.mark.parametrize(
    "choice",
    [only(brightness=0.15), only(contrast=0.3), only(cutout=0.5), Augmentation()],
    ids=["brightness", "contrast", "cutout", "all of them"],
)
def test_greys_are_spread_as_in_numpy(pictures: NDArray[np.uint8], choice: Augmentation) -> None:
    fast_ones, slow_ones = in_jax(pictures, choice), in_opencv(pictures, choice)
    for of_picture in (np.mean, np.std, np.min):
        ours = of_picture(fast_ones, axis=(1, 2, 3))
        theirs = of_picture(slow_ones, axis=(1, 2, 3))
        error = 5 * np.sqrt(2 / COUNT) * theirs.std() + 0.05
        assert abs(ours.mean() - theirs.mean()) < error
        # The darkest grey is changed in a few pictures only, so its spread is known less well.
        assert ours.std() == pytest.approx(theirs.std(), rel=0.2, abs=0.05)


def same_distribution(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    """By Kolmogorov and Smirnov: of two thousand each, one in ten thousand equal ones fails; the
    seeds are fixed.
    """
    return bool(stats.ks_2samp(ours, theirs).pvalue > 1e-4)


def test_angles_are_distributed_as_in_opencv() -> None:
    """A bar's angle is that of the warp; it is found by the bar's second moments."""
    bar = np.full((48, 48), 20, np.uint8)
    bar[21:27, 8:40] = 220
    bars = np.tile(bar, (COUNT, 1, 1))
    found = []
    for made in (in_jax(bars, only(rotation=9.0)), in_opencv(bars, only(rotation=9.0))):
        _, _, vx, vy, cov = places(made).T
        found.append(np.rad2deg(0.5 * np.arctan2(2 * cov, vx - vy)))
    ours, theirs = found
    assert same_distribution(ours, theirs)
    assert ours.std() == pytest.approx(9.0, rel=0.05)
    assert abs(ours.mean()) < 1.0
    assert not same_distribution(ours, 1.5 * theirs)


def test_as_many_pictures_are_mirrored_as_in_opencv(pictures: NDArray[np.uint8]) -> None:
    mirrored = pictures[0, :, ::-1]
    for made in (in_jax(pictures, only(flip=0.3)), in_opencv(pictures, only(flip=0.3))):
        is_mirrored = np.abs(made[..., 0] - mirrored).max(axis=(1, 2)) < 1
        is_same = np.abs(made[..., 0] - pictures).max(axis=(1, 2)) < 1
        assert (is_mirrored ^ is_same).all()
        assert is_mirrored.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / COUNT))


def test_cutouts_are_as_frequent_and_as_large_as_in_opencv() -> None:
    grey = np.full((COUNT, 48, 48), 128, np.uint8)
    ours, theirs = (
        (np.abs(made[..., 0] - 128) > 0.01).mean(axis=(1, 2))
        for made in (in_jax(grey, only(cutout=0.4)), in_opencv(grey, only(cutout=0.4)))
    )
    for shares in (ours, theirs):
        assert (shares > 0).mean() == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / COUNT))
    assert same_distribution(ours[ours > 0], theirs[theirs > 0])
    assert not same_distribution(ours[ours > 0], 1.3 * theirs[theirs > 0])


def test_a_view_is_the_same_whatever_batch_it_is_asked_in(pictures: NDArray[np.uint8]) -> None:
    key, slots = jax.random.key(3), jnp.asarray([7, 2, 9])
    whole = fast.draws(key, 4, jnp.arange(10))
    np.testing.assert_array_equal(fast.draws(key, 4, slots), np.asarray(whole)[[7, 2, 9]])
    assert not np.array_equal(fast.draws(key, 5, slots), np.asarray(whole)[[7, 2, 9]])


def test_mixup_draws_the_larger_share_of_a_beta_distribution() -> None:
    rng = np.random.default_rng(4)
    u = rng.random(20_000).astype(np.float32)
    x = np.zeros((len(u), 1, 1, 1), np.float32)
    targets = np.eye(2, dtype=np.float32)[np.arange(len(u)) % 2]
    _, y = fast.mixed(x, jnp.asarray(targets), jnp.asarray(u), fast.share_table(0.4))
    shares = np.asarray((y * targets).sum(axis=1))
    drawn = rng.beta(0.4, 0.4, len(u))
    expected = np.maximum(drawn, 1 - drawn)
    assert shares.mean() == pytest.approx(expected.mean(), abs=0.005)
    assert shares.std() == pytest.approx(expected.std(), abs=0.005)
    np.testing.assert_allclose(np.asarray(y).sum(axis=1), 1, atol=1e-6)


def test_mixup_of_strength_0_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    x = rng.random((5, 2, 2, 1)).astype(np.float32)
    y = rng.random((5, 7)).astype(np.float32)
    same, targets = fast.mixed(x, y, rng.random(5).astype(np.float32), fast.share_table(0))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(targets, y)
