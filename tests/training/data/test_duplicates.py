"""Copies are found through every change that re-uploads show, and different pictures stay apart."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.labelled import PictureArchive
from edgeemo.data.pictures import decode_picture
from edgeemo.errors import PictureError
from tests import support
from training.data.duplicates import exact_groups, find_duplicates

Picture = NDArray[np.uint8]


def jpeg(picture: Picture, quality: int = 85) -> Picture:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def resized(picture: Picture) -> Picture:
    large = cv2.resize(picture, (100, 100), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(large, (48, 48), interpolation=cv2.INTER_AREA), np.uint8)


def turned(picture: Picture, angle: float, zoom: float) -> Picture:
    warp = cv2.getRotationMatrix2D((23.5, 23.5), angle, zoom)
    return np.asarray(
        cv2.warpAffine(picture, warp, (48, 48), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


CHANGES = {
    "the same pixels": lambda p: p.copy(),
    "JPEG of quality 75": lambda p: jpeg(p, 75),
    "enlarged and reduced": resized,
    "darker": lambda p: cv2.convertScaleAbs(p, alpha=1, beta=-25),
    "less contrast": lambda p: cv2.convertScaleAbs(p, alpha=0.6, beta=40),
    "mirrored": lambda p: cv2.flip(p, 1),
    "mirrored and re-encoded": lambda p: jpeg(cv2.flip(p, 1)),
    "turned right": lambda p: jpeg(turned(p, -9, 1)),
    "turned left and larger": lambda p: jpeg(turned(p, 7, 1.08)),
    "mirrored, turned and smaller": lambda p: jpeg(turned(cv2.flip(p, 1), 6, 0.92)),
}


def drawn(count: int, seed: int = 0) -> list[Picture]:
    """Pictures with structure at all scales, as photos have, all different."""
    rng = np.random.default_rng(seed)
    scales = [(3, 50), (6, 35), (12, 25), (24, 12)]
    layers = [
        [
            cv2.resize(rng.normal(0, size, (n, n)), (48, 48), interpolation=cv2.INTER_CUBIC)
            for n, size in scales
        ]
        for _ in range(count)
    ]
    return [(128 + np.sum(parts, axis=0)).clip(0, 255).astype(np.uint8) for parts in layers]


def stacked(pictures: list[Picture]) -> Picture:
    return np.stack(pictures)[..., np.newaxis]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copy_joins_its_picture_and_no_other(change: str) -> None:
    pictures = drawn(120)
    copies = [CHANGES[change](picture) for picture in pictures[:60]]
    groups = find_duplicates(stacked(pictures + copies), progress=False).groups
    assert groups.tolist() == [*range(120), *range(60)]


def test_the_same_mean_and_layout_alone_do_not_make_a_copy() -> None:
    # One strong common shape and light, as faces have, below a detail of each picture's own.
    shape = cv2.GaussianBlur(np.kron(np.eye(2), np.ones((24, 24))) * 160, (0, 0), 5)
    rng = np.random.default_rng(4)
    detail = [
        cv2.resize(rng.normal(0, 12, (16, 16)), (48, 48), interpolation=cv2.INTER_CUBIC)
        for _ in range(60)
    ]
    pictures = [(shape + 40 + part).clip(0, 255).astype(np.uint8) for part in detail]
    alike = np.corrcoef(np.stack(pictures).reshape(60, -1))
    assert np.median(alike) > 0.9
    assert len(np.unique(find_duplicates(stacked(pictures), progress=False).groups)) == 60


def test_copies_of_copies_are_one_group_and_pairs_say_what_was_joined() -> None:
    first, other = drawn(2)
    chain = [first, jpeg(turned(first, 5, 1), 90), jpeg(turned(first, 9, 1.05), 90), other]
    found = find_duplicates(stacked(chain), progress=False)
    assert found.groups.tolist() == [0, 0, 0, 1]
    assert found.exact.tolist() == [0, 1, 2, 3]
    assert {tuple(sorted(pair)) for pair in found.pairs.tolist()} <= {(0, 1), (0, 2), (1, 2)}
    assert ((found.detail >= 0.85) & (found.detail <= 1.001)).all()


def test_flat_pictures_are_copies_only_of_equal_pixels() -> None:
    flat = [np.full((48, 48), value, np.uint8) for value in (0, 0, 7, 255, 7)]
    assert find_duplicates(stacked(flat), progress=False).groups.tolist() == [0, 0, 1, 2, 1]


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_pictures(count: int) -> None:
    assert find_duplicates(stacked(drawn(count)), progress=False).groups.tolist() == list(
        range(count)
    )


def test_the_order_of_pictures_changes_the_numbers_but_not_the_groups() -> None:
    pictures = drawn(40)
    pictures += [jpeg(picture) for picture in pictures[:20]]
    order = np.random.default_rng(2).permutation(len(pictures))
    plain = find_duplicates(stacked(pictures), progress=False).groups
    mixed = find_duplicates(stacked([pictures[i] for i in order]), progress=False).groups
    back = np.empty_like(mixed)
    back[order] = mixed
    assert np.array_equal(plain[:, None] == plain, back[:, None] == back)
    assert (
        np.diff(np.unique(mixed, return_index=True)[1]) > 0
    ).all()  # numbered in order of first appearance


def test_two_runs_give_the_same_bytes() -> None:
    images = stacked(drawn(50) + [jpeg(picture, 60) for picture in drawn(50)])
    first, second = (find_duplicates(images, progress=False) for _ in range(2))
    assert first.groups.tobytes() == second.groups.tobytes()
    assert first.pairs.tobytes() == second.pairs.tobytes()
    assert first.detail.tobytes() == second.detail.tobytes()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_exact_groups_are_those_of_equal_pixels(which: list[int]) -> None:
    pictures = drawn(5)
    groups = exact_groups(stacked([pictures[i] for i in which]))
    seen: list[int] = []
    for number in which:
        seen += [number] if number not in seen else []
    assert groups.tolist() == [seen.index(number) for number in which]


def test_re_encoded_and_augmented_copies_of_real_faces_are_found() -> None:
    """A part of what benchmarks/training/duplicates.py measures on all: the set padded with rotated
    and mirrored copies.
    """
    data = support.shared("data", "fer2013.zip").parent
    with (data / "kaggle_layouts" / "overlap_truth.csv").open(newline="") as file:
        truth = [
            row
            for row in csv.DictReader(file)
            if row["archive"] in ("face-emotion-dataset", "facial-emotion-dataset")
        ]
    faces = {
        Path(path).name: image
        for path, image in read(data / "fer2013.zip", {r["fer2013_source"] for r in truth}).items()
    }
    images, place = list(faces.values()), {name: i for i, name in enumerate(faces)}
    kinds: dict[str, list[tuple[int, int]]] = {}
    for archive in ("face-emotion-dataset", "facial-emotion-dataset"):
        copies = read(data / "kaggle_layouts" / f"{archive}.zip", None)
        for row in truth:
            if row["archive"] == archive:
                kinds.setdefault(row["kind"], []).append(
                    (len(images), place[row["fer2013_source"]])
                )
                images.append(copies[row["path"]])
    groups = find_duplicates(np.stack(images), progress=False).groups
    bars = {"copy": 0.995, "brightness": 0.98, "augmented": 0.90}
    assert set(kinds) == set(bars)
    for kind, bar in bars.items():
        assert np.mean([groups[a] == groups[b] for a, b in kinds[kind]]) >= bar, kind


def read(path: Path, names: set[str] | None) -> dict[str, Picture]:
    """The network inputs of an archive's pictures, or of those with a name among `names`, by
    path.
    """
    found = {}
    with PictureArchive(path, LABELS) as archive:
        for file in archive.files:
            if names is None or Path(file.path).name in names:
                try:
                    frame = decode_picture(archive.read(file.path), file.path)
                except PictureError:
                    continue
                found[file.path] = face_to_input(
                    frame, (0, 0, frame.shape[1], frame.shape[0]), DEFAULT_SPEC
                )
    return found
