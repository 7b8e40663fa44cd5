"""A detector's bundle is read as if it were hostile, and told from a model's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.container import packed
from edgeemo.contract.detector_bundle import DetectorBundle, read_detector, write_detector
from edgeemo.contract.face_rows import NEVER
from edgeemo.errors import BundleError, MissingFile
from edgeemo.models import find_detector, find_model, shipped_detectors

KB = 1024


@pytest.fixture(scope="module")
def bundle() -> DetectorBundle:
    return read_detector(find_detector("face"))


def changed(bundle: DetectorBundle, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    manifest = json.loads(bundle.manifest.to_json())
    change(manifest)
    path.write_bytes(packed(json.dumps(manifest), bundle.files))
    return path


def test_those_that_ship_are_as_small_as_promised_and_learned_what_they_say() -> None:
    assert shipped_detectors() == ["face", "face-nano"]
    for name, most in (("face", 150 * KB), ("face-nano", 64 * KB)):
        shipped = read_detector(find_detector(name))
        assert shipped.manifest.name == name
        assert shipped.manifest.artifact.bytes <= most
        assert shipped.manifest.training["sources"] == ["photos.zip", "scenes.zip"]
        assert 0 < shipped.manifest.tensor_arena_bytes <= (96 * KB if "nano" in name else 400 * KB)
        assert repr(shipped).count("\n") == 0


def test_what_is_written_is_what_is_read(bundle: DetectorBundle, tmp_path: Path) -> None:
    out = write_detector(tmp_path / "again.edgeemo", bundle.manifest, bundle.files)
    assert out.manifest == bundle.manifest
    assert (tmp_path / "again.edgeemo").read_bytes() == bundle.path.read_bytes()


def test_each_kind_of_bundle_is_told_from_the_other() -> None:
    with pytest.raises(BundleError, match="received a face detector's bundle; pass it as"):
        read_bundle(find_detector("face"))
    with pytest.raises(BundleError, match="expected a face detector's bundle, received one of"):
        read_detector(find_model("nano"))
    with pytest.raises(MissingFile, match="one of face"):
        find_detector("fase")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(schema_version=2), "schema 2, this edgeemo reads up to 1"),
        (lambda m: m.update(minimum_edgeemo="9.0.0"), "needs edgeemo 9.0.0"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.pop("looks"), "looks"),
        (lambda m: m["rows"].update(grids=[]), "one or more grids"),
        (lambda m: m["rows"]["grids"][0].update(stride=0), "stride of 1 to 128"),
        (lambda m: m["rows"]["grids"][0].update(rows=31), "int8 output of"),
        (lambda m: m["rows"].update(threshold=1e9), "thresholds of -20 to 20"),
        (lambda m: m["rows"].update(closer_q10=9999), "second look of 256 to 4096"),
        (lambda m: m["artifact"]["output"].update(scale=0.0), "scale of the output"),
        (lambda m: m["artifact"]["output"].update(zero_point=300), "zero point"),
        (lambda m: m["artifact"]["input"].update(shape=[1, 1, 1, 1]), "int8 input of"),
        (lambda m: m["artifact"].update(file="../x.tflite"), "plain file name"),
        (lambda m: m["artifact"].update(sha256="0" * 64), "sha256 differs"),
        (lambda m: m.update(input_fingerprint="x"), "fingerprint"),
        (lambda m: m["looks"][0].update(found=10**6), "found more faces than there are"),
        (lambda m: m.update(box_overlap=2.0), "a smallest face of 0 to 1"),
        (lambda m: m.update(tensor_arena_bytes=-1), "counts of 0 to"),
        (lambda m: m.update(licence="a\u202eb"), "printable"),
        (lambda m: m["companions"].pop(), "companions"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(
    bundle: DetectorBundle,
    change: Callable[[dict[str, Any]], object],
    reason: str,
    tmp_path: Path,
) -> None:
    path = changed(bundle, tmp_path / "bad.edgeemo", change)
    with pytest.raises(BundleError, match=reason):
        read_detector(path)


def test_a_selftest_of_other_rows_is_refused(bundle: DetectorBundle, tmp_path: Path) -> None:
    files = dict(bundle.files) | {"selftest.npz": b"PK"}
    companions = tuple(
        replace(c, bytes=2, sha256="7f" * 32) if c.file == "selftest.npz" else c
        for c in bundle.manifest.companions
    )
    with pytest.raises(BundleError, match="sha256 differs"):
        write_detector(
            tmp_path / "x.edgeemo", replace(bundle.manifest, companions=companions), files
        )
    assert not (tmp_path / "x.edgeemo").exists()


def test_rows_of_before_certain_was_a_field_never_are_certain(
    bundle: DetectorBundle, tmp_path: Path
) -> None:
    path = changed(bundle, tmp_path / "old.edgeemo", lambda m: m["rows"].pop("certain"))
    assert read_detector(path).manifest.rows.certain == NEVER
