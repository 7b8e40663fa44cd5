"""The words in which `--input` says a size, and InputSpec.size shows it."""

import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec, parse_size
from edgeemo.errors import InvalidInput


@pytest.mark.parametrize(
    "spec", [DEFAULT_SPEC, InputSpec(112, 112, 3), InputSpec(96, 64, 1), InputSpec(8, 512, 3)]
)
def test_size_in_words_is_read_back(spec: InputSpec) -> None:
    assert parse_size(spec.size) == spec
    assert parse_size(f" {spec.size.upper()} ") == spec


def test_height_comes_first() -> None:
    assert parse_size("112x96-rgb").shape == (112, 96, 3)


@pytest.mark.parametrize(
    "text",
    [
        "", "48", "48x48", "48x48-gray", "48x48-grey-", "0x48-grey", "7x48-grey", "48x513-rgb",
        "4_8x48-rgb", "48x48xrgb", "1\u0664x48-rgb",
    ],
)  # fmt: skip
def test_size_of_another_form_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected an input"):
        parse_size(text)
