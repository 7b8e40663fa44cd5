"""What a line of a recording is, so that nothing else is ever taken for one that was torn."""

import contextlib
import json
import re

from edgeemo.results import Reading

MAX_LINE = 64 * 1024
"""Bytes of one line; ours are some hundreds."""

_KEYS = tuple(Reading(time=0.0, frame=0).to_dict())
# Lines of version 0.1.0 have no "monotonic"; those of a camera that is gone have one key more.
_ORDERS = {
    before + gone
    for before in (_KEYS, tuple(key for key in _KEYS if key != "monotonic"))
    for gone in ((), ("camera_ok",))
}

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_NUMBER_BEGUN = r"-?\d*(?:\.\d*)?(?:e[+-]?\d*)?"
_TEXT = r'"(?:[^"\\\x00-\x1f]|\\.)*"'
_TEXT_BEGUN = r'"(?:[^"\\\x00-\x1f]|\\.)*\\?'
_NULL_BEGUN = "|nu?l?"
_SCORE = f"{_TEXT}: {_NUMBER}"
_SCORE_BEGUN = rf"(?:{_TEXT_BEGUN}|{_TEXT}(?::(?: (?:{_NUMBER_BEGUN})?)?)?)"

# A value as our lines have it, and what it may look like where a line was torn.
_VALUES = {
    "face_id": (r"null|\d+", rf"\d+{_NULL_BEGUN}"),
    "emotion": (f"null|{_TEXT}", f"{_TEXT_BEGUN}{_NULL_BEGUN}"),
    "scores": (
        rf"\{{(?:{_SCORE}(?:, {_SCORE})*)?\}}",
        rf"\{{(?:{_SCORE}, )*(?:{_SCORE_BEGUN}|{_SCORE},)?",
    ),
    "box": (r"null|\[-?\d+(?:, -?\d+){3}\]", rf"\[(?:-?\d+, )*(?:-?\d*,?)?{_NULL_BEGUN}"),
    "camera_ok": ("false", "fa?l?s?"),
}


def is_reading(line: bytes) -> bool:
    """Whether `line`, without its end, is a reading: a JSON object with just the keys of one, in
    their order.
    """
    if len(line) > MAX_LINE:
        return False
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(line)
        return (
            isinstance(value, dict)
            and tuple(value) in _ORDERS
            and isinstance(value["time"], (int, float))
            and isinstance(value["frame"], int)
        )
    return False


def is_begun(tail: bytes, *, alone: bool) -> bool:
    """Whether `tail` is how a reading begins, as a crash leaves it.

    Any beginning will do after lines of ours; a line that is `alone` in its file must reach the
    number of its frame, which no other program's file begins like.
    """
    if len(tail) > MAX_LINE:
        return False
    text = tail.decode("utf-8", "replace")
    if alone and not re.match(
        rf'\{{"time": {_NUMBER}, (?:"monotonic": {_NUMBER}, )?"frame": \d', text
    ):
        return False
    return any(_is_prefix(text, keys) for keys in _ORDERS)


def _is_prefix(text: str, keys: tuple[str, ...]) -> bool:
    for number, key in enumerate(keys):
        name = ("{" if number == 0 else ", ") + f'"{key}": '
        if len(text) <= len(name):
            return name.startswith(text)
        if not text.startswith(name):
            return False
        text = text[len(name) :]
        whole, begun = _VALUES.get(key, (_NUMBER, _NUMBER_BEGUN))
        if re.fullmatch(begun, text):
            return True
        match = re.match(whole, text)
        if not match:
            return False
        text = text[match.end() :]
    return text in ("", "}")
