"""Faces travel in one file and come out bit for bit; results come back in files of limited size."""

from pathlib import Path

import numpy as np
import pytest

from edgeemo.errors import DataError, MissingFile
from training.fast.faces import FaceSet, Part, load_faces, pack_faces
from training.fast.parcel import pack_results, unpack_results


def made(seed: int, count: int) -> Part:
    rng = np.random.default_rng(seed)
    return Part(
        rng.integers(0, 256, (count, 48, 48), dtype=np.uint8),
        rng.integers(0, 7, count),
        rng.integers(-1, 11, (count, 10)),
    )


def test_packed_faces_are_the_same_bit_for_bit(tmp_path: Path) -> None:
    faces = FaceSet(
        made(1, 9), made(2, 5), made(3, 4).images, {"split_hash": "abc", "data_seed": 1}
    )
    pack_faces(faces, tmp_path)
    back = load_faces(tmp_path)
    for ours, theirs in ((back.train, faces.train), (back.validation, faces.validation)):
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.votes, theirs.votes)
    np.testing.assert_array_equal(back.unlabelled, faces.unlabelled)
    assert back.about == faces.about


def test_smooth_pictures_take_half_their_bytes(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :48]
    smooth = np.tile(((x * 3 + y * 2) % 256).astype(np.uint8), (200, 1, 1))
    part = Part(smooth, np.zeros(200, np.int64), np.zeros((200, 10), np.int64))
    file = pack_faces(FaceSet(part, part, smooth[:0], {}), tmp_path)
    assert file.stat().st_size < smooth.nbytes / 2


def test_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "faces.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="pack the faces again"):
        load_faces(tmp_path)
    with pytest.raises(MissingFile, match="python -m training prepare"):
        load_faces(tmp_path / "elsewhere")


def test_results_come_back_and_teachers_stay_where_there_is_no_room(tmp_path: Path) -> None:
    out = tmp_path / "out"
    content = {
        "results.md": 100,
        "small/model.weights.h5": 30_000,
        "small-float/model.weights.h5": 30_000,
        "small-float/state.npz": 10,
        "teacher-1/heads.npz": 60_000,
        "teacher-2/heads.npz": 60_000,
    }
    for name, size in content.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(name[:1].encode() * size)
    left = pack_results(out, tmp_path / "parcel", 50_000, 4)
    assert left == ["teacher-2/heads.npz"]
    assert max(p.stat().st_size for p in (tmp_path / "parcel").iterdir()) <= 50_000
    assert unpack_results(tmp_path / "parcel", tmp_path / "back") == 4
    for name in ("small/model.weights.h5", "small-float/model.weights.h5", "teacher-1/heads.npz"):
        assert (tmp_path / "back" / name).read_bytes() == (out / name).read_bytes()
    assert not (tmp_path / "back/small-float/state.npz").exists()
