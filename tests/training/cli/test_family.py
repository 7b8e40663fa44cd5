"""What `family` refuses before it looks at a backend."""

from pathlib import Path

import pytest

from tests import support
from training.__main__ import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "0m"), "expected a time of 1s to 100h like 90s, 12m or 2h, received '0m'"),
        (("--budget", "0.5s"), "expected a time of 1s to 100h"),
        (("--budget", "101h"), "expected a time of 1s to 100h"),
        (("--budget", "9" * 400 + "h"), "expected a time of 1s to 100h"),
        (("--budget", "12"), "received '12'"),
        (("--budget", "-3m"), "received '-3m'"),
        (("--budget", "soon"), "received 'soon'"),
        (("--budget", ""), "an empty word after --budget"),
        (("--budget", "\u0661\u0662m"), "expected a time of 1s to 100h"),
        (("--teacher", "huge"), "expected a network of nano, small, base"),
        (("--networks", "nano,huge"), "received 'huge'"),
        (("--networks", ""), "an empty word after --networks"),
        (("--networks", "nano,nano"), "expected each network once, received nano twice"),
        (("--faces", "5"), "5 is not in the range x>=100"),
        (("--seed", "-1"), "-1 is not in the range"),
        (("--device", "tpu"), "'tpu' is not one of 'gpu', 'cpu'"),
    ],
)
def test_what_cannot_be_a_family_is_refused_in_one_line(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = support.done_here(
        main, "x", "family", "--data", tmp_path, "--out", tmp_path / "out", *words
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()[-1]) < 300
    assert not (tmp_path / "out").exists()
