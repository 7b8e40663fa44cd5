import pytest

from edgeemo.contract.checked.counts import count_of


@pytest.mark.parametrize(
    ("count", "words", "says"),
    [
        (0, ("file",), "0 files"),
        (1, ("file",), "1 file"),
        (2, ("file",), "2 files"),
        (1_234_567, ("test picture",), "1,234,567 test pictures"),
        (1, ("copy", "copies"), "1 copy"),
        (3, ("copy", "copies"), "3 copies"),
    ],
)
def test_one_thing_has_no_plural(count: int, words: tuple[str, ...], says: str) -> None:
    assert count_of(count, *words) == says
