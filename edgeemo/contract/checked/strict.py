"""JSON from outside, read strictly: no doubled keys, no NaN, no unknown or missing fields, types as
declared.
"""

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, NoReturn, TypeVar

from edgeemo.contract.checked.text import without_halves

T = TypeVar("T")

# Our own files nest a dozen levels; whatever walks a parsed value (repr, asdict, dumps) does it by
# recursion.
_MAX_DEPTH = 64
MAX_BYTES = 16 * 1024 * 1024
"""Of JSON text: a report of a million pictures takes 14 million."""
# Each becomes an object in memory of up to 50 times its text; our largest file has 3,200.
_MAX_VALUES = 200_000
# Our longest whole numbers are seeds and sizes; Python's own limit has a message for developers.
_MAX_DIGITS = 100


def loads(text: str | bytes) -> Any:
    """Parse JSON of up to MAX_BYTES, 200,000 values and 64 levels; raises ValueError for more, for
    whole numbers of over 100 digits, doubled keys, NaN and infinities as for bad syntax.
    """
    _check_size(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_doubles,
            parse_int=_whole_number,
            parse_float=_finite_float,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    _check_depth(value)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text with half of a character, which UTF-8 cannot hold") from None
    return value


def dumps(value: Any, *, indent: int | None = 2) -> str:
    """JSON text that `loads` accepts: keys sorted, NaN refused, halves of characters, as in file
    names that are no UTF-8, as `printable` shows them.
    """
    text = json.dumps(value, indent=indent, sort_keys=True, allow_nan=False)
    if "\\ud" not in text:
        return text
    return json.dumps(without_halves(value), indent=indent, sort_keys=True, allow_nan=False)


def dumps_line(value: Any) -> str:
    """JSON text on one line, keys in their own order, for `--json` output; halves of characters as
    in `dumps`.
    """
    text = json.dumps(value, allow_nan=False)
    return json.dumps(without_halves(value), allow_nan=False) if "\\ud" in text else text


def from_dict(kind: type[T], value: Any, where: str) -> T:
    """Build the dataclass `kind` from parsed JSON, refusing what does not match its fields and
    types.

    Raises:
        ValueError: naming the field by its path from `where`.
    """
    return typing.cast(T, _convert(kind, value, where))


def _check_size(text: str | bytes) -> None:
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} bytes, expected at most {MAX_BYTES:,}")
    # Commas and brackets inside strings count as well, of which ours have few.
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > _MAX_VALUES:
        raise ValueError(f"{values:,} values, expected at most {_MAX_VALUES:,}")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key[:60]!r} appears twice")
        result[key] = value
    return result


def _whole_number(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits, expected at most {_MAX_DIGITS}")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_constant(digits[:60])


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number that JSON knows")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError("nested too deep")


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return _convert_dataclass(kind, value, where)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        (inner,) = [arg for arg in args if arg is not type(None)]
        return _convert(inner, value, where)
    if origin is tuple:
        _expect(isinstance(value, list), where, "a list", value)
        if args[-1] is not Ellipsis:
            _expect(len(value) == len(args), where, f"{len(args)} elements", value)
            return tuple(
                _convert(arg, item, f"{where}[{i}]")
                for i, (arg, item) in enumerate(zip(args, value, strict=True))
            )
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (dict, Mapping) or kind is dict:
        _expect(isinstance(value, dict), where, "an object", value)
        return {
            key: _convert(args[1] if args else Any, item, f"{where}[{key[:60]!r}]")
            for key, item in value.items()
        }
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _convert_enum(kind, value, where)
    if kind is float:
        _expect(
            isinstance(value, (int, float)) and not isinstance(value, bool),
            where,
            "a number",
            value,
        )
        return float(value)
    _expect(type(value) is kind, where, f"{kind.__name__}", value)
    return value


def _convert_enum(kind: type[Enum], value: Any, where: str) -> Enum:
    for member in kind:
        if type(value) is type(member.value) and value == member.value:
            return member
    words = ", ".join(str(member.value) for member in kind)
    raise ValueError(f"{where}: expected one of {words}, received {str(value)[:60]!r}")


def _convert_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, "an object", value)
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    missing, unknown = sorted(set(names) - set(value)), sorted(set(value) - set(names))
    if missing or unknown:
        raise ValueError(f"{where}: missing fields {missing}, unknown fields {str(unknown)[:200]}")
    try:
        return kind(
            **{name: _convert(hints[name], value[name], f"{where}.{name}") for name in names}
        )
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{where}: {error}") from None


def _expect(holds: bool, where: str, expected: str, value: Any) -> None:
    if not holds:
        raise ValueError(
            f"{where}: expected {expected}, received {str(value)[:60]!r} ({type(value).__name__})"
        )
