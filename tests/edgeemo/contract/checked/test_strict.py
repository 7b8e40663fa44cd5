"""JSON from outside: what the strict reader takes, and what it refuses."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.contract.checked import strict


@dataclass(frozen=True)
class Inner:
    name: str
    count: int


@dataclass(frozen=True)
class Outer:
    title: str
    count: int
    share: float
    done: bool
    inner: Inner
    several: tuple[Inner, ...]
    pair: tuple[float, int]
    rows: tuple[tuple[int, ...], ...]
    by_name: dict[str, float | None]
    anything: dict[str, Any]
    perhaps: int | None
    maybe: Mapping[str, int]


GOOD: dict[str, Any] = {
    "title": "t",
    "count": 3,
    "share": 0.5,
    "done": True,
    "inner": {"name": "n", "count": 1},
    "several": [{"name": "a", "count": 1}, {"name": "b", "count": 2}],
    "pair": [0.25, 7],
    "rows": [[1, 2], []],
    "by_name": {"x": 1.5, "y": None},
    "anything": {"deep": [1, {"er": None}]},
    "perhaps": None,
    "maybe": {"k": 1},
}


def test_every_declared_type_is_built() -> None:
    assert strict.from_dict(Outer, GOOD, "outer") == Outer(
        title="t",
        count=3,
        share=0.5,
        done=True,
        inner=Inner("n", 1),
        several=(Inner("a", 1), Inner("b", 2)),
        pair=(0.25, 7),
        rows=((1, 2), ()),
        by_name={"x": 1.5, "y": None},
        anything={"deep": [1, {"er": None}]},
        perhaps=None,
        maybe={"k": 1},
    )


def test_a_whole_number_serves_as_float_and_becomes_one() -> None:
    built = strict.from_dict(Outer, GOOD | {"share": 2, "perhaps": 5}, "outer")
    assert built.share == 2.0
    assert type(built.share) is float
    assert built.perhaps == 5


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_named(field: str) -> None:
    value = {key: item for key, item in GOOD.items() if key != field}
    with pytest.raises(
        ValueError, match=rf"^outer: missing fields \['{field}'\], unknown fields \[\]$"
    ):
        strict.from_dict(Outer, value, "outer")


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^outer: missing fields \[\], unknown fields \['extra'\]$"
    ):
        strict.from_dict(Outer, GOOD | {"extra": 1}, "outer")


def test_a_misspelled_inner_field_is_named_by_its_path() -> None:
    value = GOOD | {"several": [{"name": "a", "count": 1}, {"nmae": "b", "count": 2}]}
    with pytest.raises(
        ValueError,
        match=r"^outer\.several\[1\]: missing fields \['name'\], unknown fields \['nmae'\]$",
    ):
        strict.from_dict(Outer, value, "outer")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": 1}, "outer.title: expected str, received '1' (int)"),
        ({"title": None}, "outer.title: expected str, received 'None' (NoneType)"),
        ({"count": 3.0}, "outer.count: expected int, received '3.0' (float)"),
        ({"count": "3"}, "outer.count: expected int, received '3' (str)"),
        ({"count": True}, "outer.count: expected int, received 'True' (bool)"),
        ({"share": False}, "outer.share: expected a number, received 'False' (bool)"),
        ({"share": "0.5"}, "outer.share: expected a number, received '0.5' (str)"),
        ({"share": None}, "outer.share: expected a number, received 'None' (NoneType)"),
        ({"done": 1}, "outer.done: expected bool, received '1' (int)"),
        ({"done": "yes"}, "outer.done: expected bool, received 'yes' (str)"),
        ({"inner": []}, "outer.inner: expected an object, received '[]' (list)"),
        ({"inner": "n"}, "outer.inner: expected an object, received 'n' (str)"),
        ({"several": {"0": 1}}, "outer.several: expected a list, received"),
        ({"several": "ab"}, "outer.several: expected a list, received 'ab' (str)"),
        ({"several": [1]}, "outer.several[0]: expected an object, received '1' (int)"),
        ({"pair": [0.25]}, "outer.pair: expected 2 elements, received '[0.25]' (list)"),
        ({"pair": [0.25, 7, 7]}, "outer.pair: expected 2 elements, received"),
        ({"pair": [0.25, 7.5]}, "outer.pair[1]: expected int, received '7.5' (float)"),
        ({"rows": [[1, 2], [3, True]]}, "outer.rows[1][1]: expected int, received 'True' (bool)"),
        ({"rows": [1]}, "outer.rows[0]: expected a list, received '1' (int)"),
        ({"by_name": {"x": "1"}}, "outer.by_name['x']: expected a number, received '1' (str)"),
        ({"by_name": [1]}, "outer.by_name: expected an object, received '[1]' (list)"),
        ({"anything": 1}, "outer.anything: expected an object, received '1' (int)"),
        ({"perhaps": 1.5}, "outer.perhaps: expected int, received '1.5' (float)"),
        ({"perhaps": True}, "outer.perhaps: expected int, received 'True' (bool)"),
        ({"maybe": {"k": None}}, "outer.maybe['k']: expected int, received 'None' (NoneType)"),
    ],
)
def test_a_wrong_type_is_refused_with_path_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared whole
        strict.from_dict(Outer, GOOD | change, "outer")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [None, 1, "text", [], [GOOD], True])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^outer: expected an object, received "):
        strict.from_dict(Outer, value, "outer")


def test_a_number_too_large_for_a_float_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="outer: int too large"):
        strict.from_dict(Outer, GOOD | {"share": 10**400}, "outer")


def test_a_hostile_name_or_value_keeps_the_message_short_and_on_one_line() -> None:
    hostile = "line\nbreak\x1b[2J" + "x" * 100_000
    for value in (
        GOOD | {hostile: 1},
        GOOD | {"title": [hostile]},
        GOOD | {"by_name": {hostile: "x"}},
        {hostile + str(i): i for i in range(50)},
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at below
            strict.from_dict(Outer, value, "outer")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '{"x": [{"a": 1, "b": 2, "a": 3}]}', b'{"a": 1, "\\u0061": 2}']
)
def test_a_doubled_key_is_refused_by_name(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"^key 'a' appears twice$"):
        strict.loads(text)


def test_one_key_in_two_objects_is_no_doubled_key() -> None:
    assert strict.loads('{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}') == {
        "a": {"a": 1},
        "b": [{"a": 2}, {"a": 3}],
    }


def test_a_doubled_key_among_very_many_is_found_quickly_and_reported_shortly() -> None:
    many = ",".join(f'"{i}":0' for i in range(100_000))
    last = "k" * 100_000
    start = time.perf_counter()
    with pytest.raises(ValueError, match="appears twice") as caught:
        strict.loads(f'{{{many},"{last}":1,"{last}":2}}')
    assert time.perf_counter() - start < 5
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_is_no_finite_number_is_refused(word: str) -> None:
    for text in (word, f"[{word}]", f'{{"a": {word}}}'):
        with pytest.raises(ValueError, match="is not a number that JSON knows"):
            strict.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        "{'a': 1}",
        "{a: 1}",
        "1 2",
        "// x\n1",
        "01",
        '"\x00"',
        "tru",
        b"\xff\xfe\xfa",
        b"\x80",
        "\ufeff1",
    ],
)
def test_bad_syntax_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the json module
        strict.loads(text)


def test_a_number_of_five_thousand_digits_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="a number of 5,000 digits, expected at most 100"):
        strict.loads("1" * 5000)
    assert strict.loads("-" + "9" * 99) == 1 - 10**99


@pytest.mark.parametrize("depth", [100, 900, 1000, 5000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_a_value_error(depth: int, opening: str, closing: str) -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        strict.loads(opening * depth + "1" + closing * depth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" + "[]," * 200_000 + "[]]", "400,002 values, expected at most 200,000"),
        (b'{"a": "' + b"x" * 16_777_216 + b'"}', "16,777,225 bytes, expected at most 16,777,216"),
    ],
)
def test_text_of_too_many_values_or_bytes_is_refused_unparsed(
    text: str | bytes, message: str
) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        strict.loads(text)
    assert time.process_time() - start < 0.2


def test_a_report_of_a_million_pictures_is_read() -> None:
    text = '{"ids": "' + "0123456789ab" * 1_000_000 + '"}'
    assert len(strict.loads(text)["ids"]) == 12_000_000


def test_the_nesting_of_real_files_is_read() -> None:
    assert strict.loads("[" * 20 + "]" * 20) is not None


def test_dumps_sorts_keys_and_refuses_nan() -> None:
    assert strict.dumps({"b": 1, "a": [1.5]}, indent=None) == '{"a": [1.5], "b": 1}'
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            strict.dumps({"a": number})
        with pytest.raises(ValueError, match="JSON compliant"):
            strict.dumps_line({"a": number})


def test_dumps_line_is_one_line_with_keys_in_their_own_order() -> None:
    assert strict.dumps_line({"b": "x\ny", "a": 1}) == '{"b": "x\\ny", "a": 1}'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON)
def test_what_dumps_writes_loads_reads_back(value: Any) -> None:
    assert strict.loads(strict.dumps(value)) == value
    assert strict.loads(strict.dumps_line(value).encode()) == value


@settings(deadline=None)
@given(st.text() | st.binary())
def test_any_text_parses_as_json_does_or_is_a_value_error(text: str | bytes) -> None:
    try:
        value = strict.loads(text)
    except ValueError:
        return
    assert value == json.loads(text)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_a_value_error_or_the_declared_type(value: Any) -> None:
    try:
        built = strict.from_dict(Inner, value, "inner")
    except ValueError:
        return
    assert type(built.name) is str
    assert type(built.count) is int
