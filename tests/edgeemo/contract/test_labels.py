"""The seven labels: their order, and the words and numbers that data sets use for them."""

import pytest

from edgeemo.contract.labels import (
    DROPPED_WORDS,
    FER2013_CODES,
    FERPLUS_COLUMNS,
    LABELS,
    check_label_order,
    known_label,
    label_index,
    parse_label,
)
from edgeemo.errors import BundleError, DataError, EdgeemoError, UnknownLabel

SEVEN = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")

# Word by word, from the data sets' own documentation: FER-2013 folders, FER+ columns, RAF-DB, AffectNet, KDEF, CK+.
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
    assert parse_label(word) == label
    assert known_label(word) == label
    assert label_index(word) == SEVEN.index(label)


@pytest.mark.parametrize("word", ["Happiness", "HAPPY", "  happy ", "Joy\n", "\thappy"])
def test_case_and_outer_blanks_do_not_count(word: str) -> None:
    assert parse_label(word) == "happy"


def test_each_label_is_its_own_word() -> None:
    assert [parse_label(label) for label in LABELS] == list(LABELS)
    assert [label_index(label) for label in LABELS] == list(range(7))


@pytest.mark.parametrize(
    "word", ["", " ", "hap py", "happyy", "0", "3", "contempt", "not a face", "fröhlich", "None"]
)
def test_an_unknown_word_raises_and_the_message_lists_the_seven(word: str) -> None:
    assert known_label(word) is None
    for ask in (parse_label, label_index):
        with pytest.raises(UnknownLabel) as caught:
            ask(word)
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
    # Header of fer2013new.csv: Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF
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


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_right_order_passes_as_list_or_tuple(kind: type) -> None:
    check_label_order(kind(SEVEN), "somewhere", DataError)


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
        check_label_order(labels, "a/file.json", error)
    message = str(caught.value)
    assert message.startswith("a/file.json: ")
    assert "angry, neutral, disgust, fear, happy, sad, surprise" in message
    assert "make it again" in message


def test_hostile_labels_cannot_break_the_message_into_lines_or_flood_it() -> None:
    with pytest.raises(BundleError) as caught:
        check_label_order(["a\nb\x1b[31m", *["x" * 10_000] * 6], "file", BundleError)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 500
