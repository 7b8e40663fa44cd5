"""Labels: what a bundle may call its classes, and the words that data sets use for the seven."""

import unicodedata

import pytest

from edgeemo.contract.label_words import WORDS as LABEL_WORDS
from edgeemo.contract.label_words import plain_label
from edgeemo.contract.labels import (
    DROPPED_WORDS,
    FER2013_CODES,
    FERPLUS_COLUMNS,
    LABELS,
    check_labels,
    check_same_labels,
    known_label,
    label_index,
    match_label,
    match_label_or_none,
    meaning,
)
from edgeemo.errors import BundleError, DataError, EdgeemoError, UnknownLabel

SEVEN = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")

# Word by word, from the data sets' own documentation: FER-2013 folders, FER+ columns, RAF-DB,
# AffectNet, KDEF, CK+.
WORDS = {
    "angry": "angry",
    "anger": "angry",
    "annoyed": "angry",
    "neutral": "neutral",
    "neutrality": "neutral",
    "calm": "neutral",
    "disgust": "disgust",
    "disgusted": "disgust",
    "fear": "fear",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "happy": "happy",
    "happiness": "happy",
    "joy": "happy",
    "sad": "sad",
    "sadness": "sad",
    "surprise": "surprise",
    "surprised": "surprise",
}


def test_the_seven_labels_stand_in_this_order() -> None:
    assert LABELS == SEVEN


@pytest.mark.parametrize(("word", "label"), WORDS.items())
def test_every_known_word_means_its_label(word: str, label: str) -> None:
    assert match_label(word, LABELS) == label
    assert known_label(word) == label
    assert label_index(word, LABELS) == SEVEN.index(label)


@pytest.mark.parametrize("word", ["Happiness", "HAPPY", "  happy ", "Joy\n", "\thappy"])
def test_case_and_outer_blanks_do_not_count(word: str) -> None:
    assert match_label(word, LABELS) == "happy"


# One sentence's worth of words a language, as class folders have them, in the order of LABELS and
# contempt.
LANGUAGES = {
    "French": "colère neutre dégoût peur joie tristesse surprise mépris",
    "French without accents": "colere neutre degout peur heureux triste surprise mepris",
    "Spanish": "enojo neutral asco miedo alegría tristeza sorpresa desprecio",
    "German": "Wut neutral Ekel Angst Freude Trauer Überraschung Verachtung",
    "German without umlauts": "wuetend neutral ekel aengstlich gluecklich traurig ueberrascht "
    "verachtung",
    "Portuguese": "raiva neutro nojo medo felicidade tristeza surpresa desprezo",
    "Italian": "rabbia neutrale disgusto paura felicità tristezza sorpresa disprezzo",
    "Chinese": "生气 中性 厌恶 恐惧 高兴 悲伤 惊讶 轻蔑",
    "Chinese, traditional": "憤怒 平靜 厭惡 恐懼 開心 難過 驚訝 輕蔑",
    "Japanese": "怒り 無表情 嫌悪 恐怖 喜び 悲しみ 驚き 軽蔑",
}


@pytest.mark.parametrize("words", LANGUAGES.values(), ids=LANGUAGES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_words_of_other_languages_mean_the_same(words: str, form: str) -> None:
    expected = [*LABELS, "contempt"]
    for shown in (words, words.upper(), words.title()):
        written = unicodedata.normalize(form, shown).split()
        assert [meaning(word) for word in written] == expected
        assert [match_label(word, expected) for word in written] == expected


def test_no_word_has_two_meanings() -> None:
    plain = [plain_label(word) for words in LABEL_WORDS.values() for word in set(words)]
    assert len(set(plain)) == len(plain)
    assert list(LABEL_WORDS) == [*LABELS, "contempt"]


def test_each_label_is_its_own_word() -> None:
    assert [match_label(label, LABELS) for label in LABELS] == list(LABELS)
    assert [label_index(label, LABELS) for label in LABELS] == list(range(7))


@pytest.mark.parametrize(
    "word", ["", " ", "hap py", "happyy", "0", "3", "contempt", "not a face", "lustig", "None"]
)
def test_an_unknown_word_raises_and_the_message_lists_the_seven(word: str) -> None:
    assert known_label(word) is None
    for ask in (match_label, label_index):
        with pytest.raises(UnknownLabel) as caught:
            ask(word, LABELS)
        assert "angry, neutral, disgust, fear, happy, sad, surprise" in str(caught.value)
        assert repr(word) in str(caught.value)


def test_unknown_label_is_a_value_error_of_edgeemo() -> None:
    assert issubclass(UnknownLabel, EdgeemoError)
    assert issubclass(UnknownLabel, ValueError)


def test_fer2013_codes_are_those_of_the_challenge() -> None:
    # "0=Angry, 1=Disgust, 2=Fear, 3=Happy, 4=Sad, 5=Surprise, 6=Neutral" (Kaggle, 2013).
    known = {0: "angry", 1: "disgust", 2: "fear", 3: "happy", 4: "sad", 5: "surprise", 6: "neutral"}
    assert dict(enumerate(FER2013_CODES)) == known
    assert sorted(FER2013_CODES) == sorted(LABELS)


def test_ferplus_columns_stand_in_the_order_of_fer2013new_csv() -> None:
    # Header of fer2013new.csv: Usage,Image
    # name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
    header = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    assert ",".join(FERPLUS_COLUMNS) == header


def test_each_ferplus_column_is_a_label_or_dropped() -> None:
    named = [known_label(column) for column in FERPLUS_COLUMNS]
    assert named == [
        "neutral",
        "happy",
        "surprise",
        "sad",
        "angry",
        "disgust",
        "fear",
        None,
        None,
        None,
    ]
    assert all(
        column.lower() in DROPPED_WORDS
        for column, label in zip(FERPLUS_COLUMNS, named, strict=True)
        if not label
    )


def test_no_dropped_word_is_a_label() -> None:
    assert [known_label(word) for word in DROPPED_WORDS] == [None] * len(DROPPED_WORDS)


EIGHT = ("joy", "neutral", "contempt", "wütend", "fear", "sad", "surprise", "0")


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("joy", "joy"),
        ("Happy", "joy"),  # a bundle's own name stands for the meaning of its word
        ("CONTEMPT", "contempt"),
        ("WÜTEND", "wütend"),
        (" 0 ", "0"),
        ("afraid", "fear"),
        ("angry", "wütend"),  # by its meaning in another language
        ("mépris", "contempt"),
    ],
)
def test_a_word_is_matched_to_the_bundles_own_labels(word: str, label: str) -> None:
    assert match_label(word, EIGHT) == label
    assert label_index(word, EIGHT) == EIGHT.index(label)


@pytest.mark.parametrize("word", ["disgust", "dégoût", "1", ""])
def test_a_word_of_the_seven_that_the_bundle_has_not_is_refused_with_its_own(word: str) -> None:
    with pytest.raises(UnknownLabel, match=", ".join(EIGHT)):
        match_label(word, EIGHT)
    assert match_label_or_none(word, EIGHT) is None


def test_labels_that_differ_by_case_alone_are_told_apart_by_it() -> None:
    assert match_label("ok", ("ok", "OK")) == "ok"
    assert match_label("OK", ("ok", "OK")) == "OK"
    with pytest.raises(UnknownLabel):
        match_label("Ok", ("ok", "OK"))


@pytest.mark.parametrize("labels", [SEVEN, EIGHT, ("a", "b"), [f"c{i}" for i in range(64)]])
def test_two_to_64_distinct_names_are_labels(labels: list[str]) -> None:
    check_labels(labels, "somewhere", DataError)


@pytest.mark.parametrize(
    "labels",
    [
        [],
        ["one"],
        [f"c{i}" for i in range(65)],
        ["a", "a"],
        ["a", ""],
        ["a", " b"],
        ["a", "b\n"],
        ["a", "b\x1b[31m"],
        ["a", "\ud800"],
        ["a", "\u202eb"],
        ["a", "x" * 49],
        ["a", 7],
    ],
    ids=repr,
)
@pytest.mark.parametrize("error", [DataError, BundleError])
def test_other_labels_are_refused_in_one_printable_line(
    labels: list[str], error: type[EdgeemoError]
) -> None:
    with pytest.raises(error, match=r"^somewhere: expected") as caught:
        check_labels(labels, "somewhere", error)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_same_labels_in_the_same_order_pass_as_list_or_tuple(kind: type) -> None:
    check_same_labels(kind(SEVEN), SEVEN, "somewhere", DataError)


@pytest.mark.parametrize(
    "labels",
    [
        [],
        SEVEN[:6],
        (*SEVEN, "contempt"),
        SEVEN[::-1],
        ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
        ("Angry", *SEVEN[1:]),
        (*SEVEN[:6], 7),
    ],
    ids=["none", "six", "eight", "backwards", "alphabetical", "capital", "a number"],
)
@pytest.mark.parametrize("error", [DataError, BundleError])
def test_another_order_raises_the_error_asked_for(
    labels: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        check_same_labels(labels, SEVEN, "a/file.json", error)
    message = str(caught.value)
    assert message.startswith("a/file.json: ")
    assert "angry, neutral, disgust, fear, happy, sad, surprise" in message
    assert "make it again" in message


def test_labels_of_other_languages_are_named_in_their_letters() -> None:
    with pytest.raises(DataError, match="expected the labels joie, colère, in this order"):
        check_same_labels(["angry", "happy"], ("joie", "colère"), "file", DataError)


def test_hostile_labels_cannot_break_the_message_into_lines_or_flood_it() -> None:
    with pytest.raises(BundleError) as caught:
        check_same_labels(["a\nb\x1b[31m", *["x" * 10_000] * 6], SEVEN, "file", BundleError)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
