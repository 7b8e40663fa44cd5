import io

import pytest

from training.data.line_count import MAX_LINE, has_more_lines


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (b"", 0),
        (b"a", 1),
        (b"a\n", 1),
        (b"a\n\n", 2),
        (b"a\nb", 2),
        (b"x" * (MAX_LINE - 1) + b"\n", 1),
        ((b"x" * (MAX_LINE - 1) + b"\n") * 100 + b"x", 101),
        (b"\n" * 3_000_000, 3_000_000),
    ],
)
def test_lines_are_counted_with_and_without_an_end(table: bytes, lines: int) -> None:
    stream = io.BytesIO(table)
    assert not has_more_lines(stream, lines)
    assert stream.tell() == 0
    if lines:
        assert has_more_lines(stream, lines - 1)
        assert stream.tell() == 0


class Endless(io.RawIOBase):
    """A file that never ends, as a packed one may be, of lines of `length` bytes."""

    def __init__(self, length: int) -> None:
        self.read_bytes, self._line = 0, b"x" * (length - 1) + b"\n"

    def read(self, size: int = -1, /) -> bytes:
        start = self.read_bytes % len(self._line)
        self.read_bytes += size
        return (self._line * (size // len(self._line) + 2))[start : start + size]

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return offset


def test_a_table_without_end_is_left_after_a_few_megabytes() -> None:
    long, short = Endless(MAX_LINE + MAX_LINE // 2), Endless(10)
    assert not has_more_lines(long, 500_000)  # the reader says which line is too long
    assert has_more_lines(short, 500_000)
    assert long.read_bytes <= 1 << 20
    assert short.read_bytes <= 6 << 20
