"""The manifest is strict: every field missing, added or of another type is refused by name."""

import copy
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.crop import Crop
from edgeemo.contract.input_spec import DEFAULT_SPEC, PREPROCESS_VERSION
from edgeemo.contract.manifest import parse_manifest
from edgeemo.errors import BundleError

Json = dict[str, Any]
CROP = {"scale_q10": 1024, "shift_x_q10": 0, "shift_y_q10": 0}
FREE = ("training",)  # a run's own record, kept as it is
MALFORMED_NAMES = [
    "../x",
    "",
    ".hidden",
    "-x",
    "Small",
    "a b",
    "a/b",
    "a\nb",
    "small\n",
    "ü",
    "x" * 65,
    "x" * 10**5,
]
MALFORMED_VERSIONS = [
    "1.0",
    "new",
    "",
    "1.2.3.4",
    "v1.2.3",
    "1.2.3-rc1",
    " 1.2.3",
    "1.2.3\n",
    "1..3",
    "-1.2.3",
    "\u0661.\u0662.\u0663",
    "1.2." + "3" * 6,
]


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> Json:
    return dict(json.loads(read_bundle(tiny_bundle).manifest.to_json()))


def parse(value: Any) -> None:
    parse_manifest(json.dumps(value).encode(), "some.edgeemo")


def refusal(value: Any) -> str:
    """The message of the refusal: one line of decent length, with the bundle and a way out."""
    with pytest.raises(BundleError) as caught:
        parse(value)
    message = str(caught.value)
    assert message.startswith("some.edgeemo: ")
    assert message.isprintable()
    assert len(message) < 800
    assert re.search(
        "build or copy the bundle again|make it again|run: pip install --upgrade edgeemo", message
    )
    return message


def objects(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all objects with fixed fields inside the manifest."""
    if path and path[0] in FREE:
        return []
    found: list[tuple[Any, ...]] = [path] if isinstance(value, dict) else []
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
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
            if path == () and key == "operating_point":
                continue  # bundles from before it have none
            changed = copy.deepcopy(manifest)
            del at(changed, path)[key]
            says = (
                "other classes than the labels"
                if "per_class_recall" in path
                else f"missing fields ['{key}']"
            )
            if path == () and key in ("input_fingerprint", "input_spec"):
                says = f"manifest.{key}: expected"
            assert says in refusal(changed)
            checked += 1
    assert checked > 60


def test_every_unknown_field_is_refused(manifest: Json) -> None:
    for path in objects(manifest):
        changed = copy.deepcopy(manifest)
        at(changed, path)["surplus"] = 1
        message = refusal(changed)
        assert "surplus" in message or path[-1:] in (("per_class_recall",), ("crops",))


def test_every_wrong_type_is_refused(manifest: Json) -> None:
    for path in objects(manifest):
        for key, value in at(manifest, path).items():
            if path == () and key in FREE:
                continue
            for wrong in (True, [[]], {"a": 1}, "x" if not isinstance(value, str) else 5):
                changed = copy.deepcopy(manifest)
                at(changed, path)[key] = wrong
                refusal(changed)


def set_at(*path: Any) -> Callable[[Json, Any], None]:
    def change(manifest: Json, value: Any) -> None:
        at(manifest, path[:-1])[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            ("schema_version",),
            3,
            "schema 3, this edgeemo reads up to 2; run: pip install --upgrade edgeemo",
        ),
        (("schema_version",), 0, "expected schema 2, received 0"),
        (("labels",), ["angry"], "expected 2 to 64 distinct labels"),
        (("labels",), ["a", "a"], "expected 2 to 64 distinct labels"),
        (("labels",), ["a", "b\n"], "printable characters"),
        (("labels",), ["a", "b"], "other classes than the labels"),
        (("schema_version",), -1, "expected schema 2, received -1"),
        *(
            (("name",), name, "expected a name of a-z, 0-9, . _ -, received")
            for name in MALFORMED_NAMES
        ),
        *(
            ((field,), version, "expected a version like 1.2.3, received")
            for field in ("version", "minimum_edgeemo")
            for version in MALFORMED_VERSIONS
        ),
        (("input_fingerprint",), "0" * 16, "is not its own"),
        (("input_fingerprint",), "49E450D1A203E409", "is not its own"),
        (("input_spec", "height"), 7, "8 to 512 pixels a side"),
        (("input_spec", "height"), 64, "is not its own"),
        (("input_spec", "offset"), [0.5], "is not its own"),
        (("crops", "mtcnn"), CROP | {"scale_q10": 9999}, "crop scale of 256 to 4096"),
        (("crops", "../x"), CROP, "expected crops of at most 64 detectors, by names of"),
        (("crops",), {f"d{i}": CROP for i in range(65)}, "expected crops of at most 64"),
        (("artifacts", 0, "file"), "../fp32.onnx", "expected a plain file name"),
        (("artifacts", 0, "format"), "onnx2", "expected one of tflite, onnx"),
        (("artifacts", 0, "precision"), "int4", "expected one of int8, mixed, fp16, fp32"),
        (("artifacts", 0, "role"), "report", "expected the role model of every artifact"),
        (("artifacts", 0, "role"), "weights", "expected one of model, report, selftest"),
        (("artifacts", 0, "sha256"), "abc", "sha256 of 64 hex digits"),
        (("artifacts", 0, "bytes"), -1, "sha256 of 64 hex digits and a size"),
        (("artifacts", 0, "sha256"), "A" * 64, "sha256 of 64 hex digits"),
        (("artifacts", 0, "file"), "fp32.onnx\n", "expected a plain file name"),
        (("artifacts", 0, "file"), "int8.onnx", "each file once"),
        (("companions", 0, "role"), "selftest", "expected the companions report, selftest"),
        (("companions", 0, "role"), "model", "expected the companions report, selftest"),
        (
            ("companions", 0, "bytes"),
            -5,
            "report.json: expected a sha256 of 64 hex digits and a size",
        ),
        (("artifacts",), [], "at least one artifact"),
        (("companions",), [], "expected the companions"),
        (("evaluation", 0, "artifact"), "other.tflite", "which is no artifact"),
        # A file of the bundle, but no model.
        (("evaluation", 0, "artifact"), "report.json", "which is no artifact"),
        (("evaluation", 0, "float_confusion"), [[0] * 7] * 7, "does not add up"),
        (
            ("evaluation", 0, "confusion"),
            [[-1] + [0] * 6, [57] + [0] * 6, *[[0] * 7] * 5],
            "does not add up",
        ),
        (("evaluation", 0, "confusion"), [[56] + [0] * 5] * 7, "is not 7x7"),
        (("evaluation", 0, "confusion"), [], "is not 7x7"),
        (("evaluation", 0, "drop_interval"), [0.0], "drop_interval: expected 2 elements"),
        (("evaluation", 0, "n"), 7, "does not add up to its n of 7"),
        (("evaluation", 0, "confusion"), [[1]], "is not 7x7"),
        (("evaluation", 0, "per_class_recall"), {"angry": 1.0}, "other classes than the labels"),
        (("evaluation", 0, "per_class_recall", "joy"), 1.0, "other classes than the labels"),
        (("smoothing", "window"), -0.5, "smoothing"),
        (("smoothing", "hold_time"), -0.5, "smoothing"),
        (("smoothing", "floor"), -0.1, "smoothing"),
        (("smoothing", "floor"), 1.1, "smoothing"),
        (("smoothing", "window"), 1e300, "smoothing of 0 to 3600 seconds"),
        (("tensor_arena_bytes",), -1, "tensor arena"),
        (("tensor_arena_bytes",), 10**90, "tensor arena of 0 to 4,294,967,296 bytes"),
        (("tensor_arena_bytes",), 10**300, "a number of 301 digits, expected at most 100"),
        (("calibration", "n"), -1, "0 to 1,000,000,000 calibration pictures"),
        (("evaluation", 0, "drop"), 30.0, "a drop of shares"),
        (("evaluation", 0, "drop_interval"), [-50.0, -40.0], "a drop of shares"),
        (("evaluation", 0, "top1"), 99.0, "shares of 0 to 1"),
        (("evaluation", 0, "per_class_recall", "happy"), -1.0, "shares of 0 to 1"),
        (("version",), "0.65536.0", "parts up to 65535"),
        (("licence",), "MIT\x1b]0;x\x07", "printable text"),
        (("data", "sets"), ["a\nb"], "printable text"),
        (("artifacts", 0, "input", "dtype"), "x", "tensor of int8 or float32"),
        (("artifacts", 0, "input", "shape"), [10**90], "tensor of 1 to 8 dimensions"),
        (("artifacts", 0, "input", "shape"), [10**400], "a number of 401 digits"),
        (("artifacts", 0, "input", "zero_point"), 10**30, "zero point of -128 to 127"),
        (("artifacts", 3, "output", "scale"), -1.0, "positive scale of an int8 tensor"),
        (("input_spec", "crops"), {}, "not the one of schema 2"),
    ],
)
def test_wrong_value_is_refused_and_named(
    manifest: Json, path: tuple[Any, ...], value: Any, says: str
) -> None:
    changed = copy.deepcopy(manifest)
    set_at(*path)(changed, value)
    assert says in refusal(changed)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"name": 1, "name": 2}',
        b'{"a": NaN}',
    ],
)
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(BundleError, match=r"some\.edgeemo: its manifest is not valid"):
        parse_manifest(text, "some.edgeemo")


def test_a_newer_schema_says_upgrade_whatever_else_it_holds(manifest: Json) -> None:
    for newer in (3, 4, 10**6):
        assert (
            f"schema {newer}, this edgeemo reads up to 2; run: pip install --upgrade edgeemo"
            in refusal(manifest | {"schema_version": newer, "invented later": {}, "labels": {}})
        )
        assert "pip install --upgrade edgeemo" in refusal({"schema_version": newer})


@pytest.mark.parametrize("version", [True, "3", 3.0, None, [3]], ids=str)
def test_a_schema_version_that_is_no_whole_number_is_no_newer_schema(
    manifest: Json, version: Any
) -> None:
    assert "manifest.schema_version: expected int" in refusal(
        manifest | {"schema_version": version}
    )


def test_a_bundle_for_another_preprocessing_is_refused_though_its_fingerprint_is_right(
    manifest: Json,
) -> None:
    # The spec is sound in itself, but face_to_input of this version gives other pixels than the
    # training saw.
    spec = replace(DEFAULT_SPEC, preprocess="luma15-area-bilinear/2")
    changed = manifest | {"input_spec": spec.to_dict(), "input_fingerprint": spec.fingerprint()}
    assert (
        "made for the preprocessing 'luma15-area-bilinear/2', this edgeemo has"
        f" '{PREPROCESS_VERSION}'" in refusal(changed)
    )


def test_a_spec_that_is_as_sound_as_another_is_read(manifest: Json) -> None:
    spec = replace(DEFAULT_SPEC, height=64, width=40, channels=3, scale=(1.0, 2.0, 3.0))
    changed = manifest | {"input_spec": spec.to_dict(), "input_fingerprint": spec.fingerprint()}
    assert parse_manifest(json.dumps(changed).encode(), "some.edgeemo").input_spec == spec


def test_crops_of_a_bundle_are_read_by_the_detectors_name(manifest: Json) -> None:
    changed = manifest | {"crops": {"mtcnn": CROP | {"shift_y_q10": -7}}}
    parsed = parse_manifest(json.dumps(changed).encode(), "some.edgeemo")
    assert parsed.crops == {"mtcnn": Crop(shift_y_q10=-7)}


def test_a_manifest_of_schema_1_says_the_same_in_the_words_of_today(manifest: Json) -> None:
    old = copy.deepcopy(manifest)
    del old["crops"]
    for entry in (*old["artifacts"], *old["companions"]):
        del entry["role"]
    crops = {"haar": CROP | {"scale_q10": 1045}, "whole": CROP}
    spec = {
        "height": 48,
        "width": 48,
        "channels": 1,
        "scale": 1 / 127.5,
        "offset": -1.0,
        "preprocess": PREPROCESS_VERSION,
        "crops": crops,
    }
    text = json.dumps(spec, sort_keys=True)
    old |= {
        "schema_version": 1,
        "input_spec": spec,
        "input_fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16],
    }
    parsed = parse_manifest(json.dumps(old).encode(), "some.edgeemo")
    assert json.loads(parsed.to_json()) == manifest | {"crops": crops}
    for path, value in ((("input_spec", "offset"), -1.5), (("companions", 0, "file"), "x.json")):
        assert refusal(set_copy(old, path, value))


@pytest.mark.parametrize(
    ("field", "number"),
    [
        ('"offset": [-1.0]', '"offset": [1e999]'),
        ('"offset": [-1.0]', '"offset": [NaN]'),
        ('"floor": 0.4', '"floor": -Infinity'),
    ],
)
def test_a_number_that_is_not_finite_is_refused(manifest: Json, field: str, number: str) -> None:
    text = json.dumps(manifest)
    assert field in text
    with pytest.raises(BundleError, match="is not a number that JSON knows"):
        parse_manifest(text.replace(field, number).encode(), "some.edgeemo")


@pytest.mark.parametrize(
    "hostile",
    ["a\nb\x1b[31m\u202e" + "x" * 100_000, "\ud800"],
    ids=["long and many lines", "surrogate"],
)
def test_hostile_text_anywhere_stays_one_short_printable_line(manifest: Json, hostile: str) -> None:
    for path in objects(manifest):
        refusal(set_copy(manifest, (*path, hostile), 1))
        for key, value in at(manifest, path).items():
            if isinstance(value, (int, float, dict, list)) and key not in FREE:
                refusal(set_copy(manifest, (*path, key), hostile))
    for path in (
        ("name",),
        ("version",),
        ("input_fingerprint",),
        ("labels", 3),
        ("evaluation", 0, "artifact"),
    ):
        refusal(set_copy(manifest, path, hostile))
    for key in ("file", "format", "precision", "sha256"):
        refusal(set_copy(manifest, ("artifacts", 0, key), hostile))


def set_copy(manifest: Json, path: tuple[Any, ...], value: Any) -> Json:
    changed = copy.deepcopy(manifest)
    set_at(*path)(changed, value)
    return changed


def test_an_unknown_artifact_is_refused_with_those_there_are(manifest: Json) -> None:
    parsed = parse_manifest(json.dumps(manifest).encode(), "some.edgeemo")
    assert parsed.artifact("int8.onnx").opset == 17
    assert [entry.file for entry in parsed.entries] == [
        "fp16.onnx",
        "fp32.onnx",
        "int8.onnx",
        "int8.tflite",
        "report.json",
        "selftest.npz",
    ]
    with pytest.raises(
        BundleError,
        match=r"\(fp16\.onnx, fp32\.onnx, int8\.onnx, int8\.tflite\), received 'report\.json'",
    ):
        parsed.artifact("report.json")
