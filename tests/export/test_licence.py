"""A bundle says MIT and FER-2013 only where all of it comes from there."""

import pytest

from export.manifest import OF_FER2013, default_licence


@pytest.mark.parametrize(
    ("sets", "licence"),
    [
        (("fer2013",), OF_FER2013),
        (("mine",), "licence not stated; trained on mine"),
        (("fer2013", "mine"), "licence not stated; trained on fer2013, mine"),
        ((), "licence not stated; trained on data that is not known"),
    ],
)
def test_licence_is_that_of_fer2013_only_where_nothing_else_is_in_it(
    sets: tuple[str, ...], licence: str
) -> None:
    assert default_licence(sets) == licence
