"""The words that people see, in each language."""

import ast

import pytest

from edgeemo.contract.label_words import WORDS
from edgeemo.contract.labels import LABELS, meaning
from edgeemo.contract.languages import LANGUAGES, NAMES, PHRASES, label_name, phrase
from edgeemo.errors import InvalidInput
from tests.support import REPOSITORY

OTHERS = LANGUAGES[1:]


def test_every_language_has_every_label_and_every_phrase() -> None:
    assert set(NAMES) == set(PHRASES) == set(OTHERS)
    for language in OTHERS:
        assert set(NAMES[language]) == set(WORDS) >= set(LABELS)
        assert set(PHRASES[language]) >= _phrases_in_the_code()


@pytest.mark.parametrize("language", OTHERS)
def test_a_label_in_a_language_means_the_same_and_no_two_are_alike(language: str) -> None:
    names = {label: label_name(label, language) for label in WORDS}
    assert {label: meaning(name) for label, name in names.items()} == {x: x for x in WORDS}
    assert len(set(names.values())) == len(names)


def test_label_names() -> None:
    assert label_name("happy", "es") == "alegría"
    assert label_name("Anger", "es") == "enfado"  # by its meaning
    assert label_name("bored", "es") == "bored"  # no known meaning
    assert label_name("Anger", "en") == label_name("Anger") == "Anger"
    # A bundle that tells joy from happiness must not show one word for both.
    assert label_name("joy", "es", ["happy", "joy"]) == "joy"
    assert phrase("no face", "es") == "ninguna cara"
    assert phrase("no face") == "no face"


def test_another_language_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"expected a language of en, es; received 'fr'"):
        label_name("happy", "fr")
    with pytest.raises(InvalidInput, match="received 'de'"):
        phrase("no face", "de")


def _phrases_in_the_code() -> set[str]:
    """The first argument of every call of `phrase`, which has to be written out."""
    found = set()
    for path in (REPOSITORY / "edgeemo").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "phrase(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "phrase":
                english = node.args[0]
                assert isinstance(english, ast.Constant), f"{path}:{node.lineno}"
                found.add(str(english.value))
    return found
