"""The input spec, whose fingerprint prepared data, runs and bundles carry."""

import dataclasses
import json

import pytest

from edgeemo.contract.checked import strict
from edgeemo.contract.crop import Crop
from edgeemo.contract.input_spec import (
    DEFAULT_SPEC,
    PREPROCESS_VERSION,
    Arithmetic,
    InputSpec,
    parse_spec,
)

# What the shipped spec hashes to: the prepared data and bundles that exist carry this value. If it
# must change, PREPROCESS_VERSION or a field of the spec has changed on purpose, and data and
# bundles are to be made again.
DEFAULT_FINGERPRINT = "6b9ea2e1ebda89d3"


def test_the_default_spec_is_48x48_grey_with_pixels_mapped_to_minus_one_to_one() -> None:
    assert DEFAULT_SPEC.shape == (48, 48, 1)
    (scale,), (offset,) = DEFAULT_SPEC.scale, DEFAULT_SPEC.offset
    assert 0 * scale + offset == -1.0
    assert 255 * scale + offset == pytest.approx(1.0, abs=1e-12)
    assert DEFAULT_SPEC.arithmetic is Arithmetic.GRAPH
    assert DEFAULT_SPEC.preprocess == PREPROCESS_VERSION
    assert DEFAULT_SPEC.size == "48x48-grey"
    assert InputSpec(112, 96, 3).size == "112x96-rgb"


def test_the_default_fingerprint_is_the_published_one() -> None:
    assert DEFAULT_SPEC.fingerprint() == DEFAULT_FINGERPRINT
    assert InputSpec().fingerprint() == DEFAULT_FINGERPRINT


OTHER: dict[str, dict[str, object]] = {
    "height": {"height": 64},
    "width": {"width": 64},
    "channels": {"channels": 3},
    "scale": {"scale": (1 / 255,)},
    "offset": {"offset": (0.0,)},
    "arithmetic": {"arithmetic": Arithmetic.RUNTIME},
    "preprocess": {"preprocess": "other/2"},
    "a channel's scale": {"channels": 3, "scale": (0.5, 0.25, 0.125)},
    "a channel's offset": {"channels": 3, "offset": (0.5, 0.25, 0.125)},
}


def test_the_fingerprint_changes_with_every_field() -> None:
    prints = {
        name: dataclasses.replace(DEFAULT_SPEC, **fields).fingerprint()  # type: ignore[arg-type]
        for name, fields in OTHER.items()
    }
    prints["the default"] = DEFAULT_SPEC.fingerprint()
    assert len(set(prints.values())) == len(prints), prints
    changed = {field for fields in OTHER.values() for field in fields}
    assert changed == {field.name for field in dataclasses.fields(InputSpec)}


@pytest.mark.parametrize("fields", [{}, *OTHER.values()], ids=["the default", *OTHER])
def test_a_spec_survives_json(fields: dict[str, object]) -> None:
    spec = dataclasses.replace(DEFAULT_SPEC, **fields)  # type: ignore[arg-type]
    again = strict.from_dict(InputSpec, strict.loads(strict.dumps(spec.to_dict())), "spec")
    assert again == spec
    assert again.fingerprint() == spec.fingerprint()
    assert isinstance(again.arithmetic, Arithmetic)


def test_a_whole_number_in_json_is_the_same_spec() -> None:
    raw = json.loads(strict.dumps(DEFAULT_SPEC.to_dict()))
    raw["offset"] = [-1]  # as JavaScript would write it
    assert strict.from_dict(InputSpec, raw, "spec").fingerprint() == DEFAULT_FINGERPRINT


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"height": 7}, "8 to 512"),
        ({"width": 7}, "8 to 512"),
        ({"height": 513}, "8 to 512"),
        ({"width": 513}, "8 to 512"),
        *(({"channels": n}, r"1 \(grey\) or 3 \(RGB\)") for n in (-1, 0, 2, 4)),
        ({"height": 48.0}, "height: expected int"),
        ({"height": True}, "height: expected int"),
        ({"scale": 1.0}, "scale: expected a list"),
        ({"scale": ["1"]}, r"scale\[0\]: expected a number"),
        ({"scale": []}, "expected one scale or 1"),
        ({"scale": [1, 1, 1]}, "expected one scale or 1"),
        ({"channels": 3, "offset": [1, 1]}, "expected one offset or 3"),
        ({"scale": [0]}, "scale other than 0"),
        ({"offset": [1e7]}, "expected one offset"),
        ({"arithmetic": "host"}, "arithmetic: expected one of graph, runtime"),
        ({"preprocess": None}, "preprocess: expected str"),
        ({"colour": "grey"}, r"unknown fields \['colour'\]"),
    ],
)
def test_a_wrong_spec_from_json_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        strict.from_dict(InputSpec, {**DEFAULT_SPEC.to_dict(), **change}, "spec")


OLD = {
    "height": 48,
    "width": 48,
    "channels": 1,
    "scale": 1 / 127.5,
    "offset": -1.0,
    "preprocess": PREPROCESS_VERSION,
    "crops": {
        "haar": {"scale_q10": 1045, "shift_x_q10": 0, "shift_y_q10": 0},
        "whole": {"scale_q10": 1024, "shift_x_q10": 0, "shift_y_q10": 0},
        "yunet": {"scale_q10": 1024, "shift_x_q10": 0, "shift_y_q10": 25},
    },
}
OLD_FINGERPRINT = "49e450d1a203e409"  # of every bundle and prepared folder before 0.2.0


def test_a_spec_of_before_detectors_owned_their_crops_is_the_default_one_with_its_crops() -> None:
    spec, crops = parse_spec(OLD, OLD_FINGERPRINT, "spec")
    assert spec == DEFAULT_SPEC
    assert crops == {
        "haar": Crop(scale_q10=1045),
        "whole": Crop(),
        "yunet": Crop(shift_y_q10=25),
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"offset": -1.5}, "is not its own"),
        ({"scale": [1.0]}, "scale: expected a number"),
        ({"crops": {}}, "is not its own"),
        ({"crops": []}, "crops: expected an object"),
        ({"arithmetic": "graph"}, r"unknown fields \['arithmetic'\]"),
        (
            {"crops": {"whole": {"scale_q10": 1024, "shift_x_q10": 0}}},
            r"missing fields \['shift_y_q10'\]",
        ),
        (
            {"crops": {"whole": {"scale_q10": 0, "shift_x_q10": 0, "shift_y_q10": 0}}},
            "crop scale of 256 to 4096",
        ),
    ],
)
def test_an_old_spec_that_was_changed_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_spec(OLD | change, OLD_FINGERPRINT, "spec")


def test_a_spec_with_anothers_fingerprint_is_refused() -> None:
    spec = DEFAULT_SPEC.to_dict()
    assert parse_spec(spec, DEFAULT_FINGERPRINT, "spec") == (DEFAULT_SPEC, {})
    with pytest.raises(ValueError, match=f"is not its own \\({DEFAULT_FINGERPRINT}\\)"):
        parse_spec(spec, OLD_FINGERPRINT, "spec")
