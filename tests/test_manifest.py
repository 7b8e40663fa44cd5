"""The manifest is strict: every field missing, added or of another type is refused by name."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.manifest import parse_manifest
from edgeemo.errors import BundleError

Json = dict[str, Any]
FREE = ("training",)  # a run's own record, kept as it is


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Json:
    return dict(json.loads(read_bundle(tiny_bundle).manifest.to_json()))


def parse(value: Any) -> None:
    parse_manifest(json.dumps(value).encode(), "some.edgeemo")


def objects(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all objects with fixed fields inside the manifest."""
    if path and path[0] in FREE:
        return []
    found: list[tuple[Any, ...]] = [path] if isinstance(value, dict) else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [deeper for key, child in children for deeper in objects(child, (*path, key))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def test_real_manifest_parses_and_survives_a_round_trip(manifest: Json) -> None:
    parsed = parse_manifest(json.dumps(manifest).encode(), "some.edgeemo")
    assert json.loads(parsed.to_json()) == manifest


def test_every_missing_field_is_named(manifest: Json) -> None:
    checked = 0
    for path in objects(manifest):
        for key in at(manifest, path):
            changed = copy.deepcopy(manifest)
            del at(changed, path)[key]
            with pytest.raises(BundleError, match=r"some\.edgeemo: .*; (build|make|copy)") as caught:
                parse(changed)
            checked += 1
            assert "\n" not in str(caught.value)
    assert checked > 60


def test_every_unknown_field_is_refused(manifest: Json) -> None:
    for path in objects(manifest):
        changed = copy.deepcopy(manifest)
        at(changed, path)["surplus"] = 1
        with pytest.raises(BundleError):
            parse(changed)


def test_every_wrong_type_is_refused(manifest: Json) -> None:
    for path in objects(manifest):
        for key, value in at(manifest, path).items():
            if path == () and key in FREE:
                continue
            for wrong in (True, [[]], {"a": 1}, "x" if not isinstance(value, str) else 5):
                changed = copy.deepcopy(manifest)
                at(changed, path)[key] = wrong
                with pytest.raises(BundleError):
                    parse(changed)


def set_at(*path: Any) -> Callable[[Json, Any], None]:
    def change(manifest: Json, value: Any) -> None:
        at(manifest, path[:-1])[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("schema_version",), 2, "schema 2, this edgeemo reads up to 1; run: pip install --upgrade edgeemo"),
        (("schema_version",), 0, "expected schema 1, received 0"),
        (("labels",), ["neutral", "angry", "disgust", "fear", "happy", "sad", "surprise"], "in this order"),
        (("labels",), ["angry"], "expected the labels angry, neutral"),
        (("name",), "../x", "expected a name"),
        (("name",), "", "expected a name"),
        (("version",), "1.0", "expected a version like 1.2.3"),
        (("minimum_edgeemo",), "new", "expected a version like 1.2.3"),
        (("input_fingerprint",), "0" * 16, "is not its input spec's"),
        (("input_spec", "height"), 64, "square grey input"),
        (("artifacts", 0, "file"), "../fp32.onnx", "none that this version knows"),
        (("artifacts", 0, "format"), "tflite", "none that this version knows"),
        (("artifacts", 0, "precision"), "int4", "expected the precision"),
        (("artifacts", 0, "sha256"), "abc", "sha256 of 64 hex digits"),
        (("artifacts", 0, "bytes"), -1, "sha256 of 64 hex digits and a size"),
        (("artifacts",), [], "at least one artifact"),
        (("companions",), [], "expected the companions"),
        (("evaluation", 0, "artifact"), "other.tflite", "which is no artifact"),
        (("evaluation", 0, "n"), 7, "does not add up to its n of 7"),
        (("evaluation", 0, "confusion"), [[1]], "is not 7x7"),
        (("evaluation", 0, "per_class_recall"), {"angry": 1.0}, "other classes than the seven"),
    ],
)
def test_wrong_value_is_refused_and_named(manifest: Json, path: tuple[Any, ...], value: Any, says: str) -> None:
    changed = copy.deepcopy(manifest)
    set_at(*path)(changed, value)
    with pytest.raises(BundleError) as caught:
        parse(changed)
    assert str(caught.value).startswith("some.edgeemo: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"name": 1, "name": 2}', b'{"a": NaN}']
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(BundleError, match=r"some\.edgeemo: its manifest is not valid"):
        parse_manifest(text, "some.edgeemo")
