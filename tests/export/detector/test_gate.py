"""The detector's gate: what int8 may lose is stated, and nothing else passes."""

import numpy as np
import pytest

from export.detector.gate import judge_detector
from workstation.frames.judge import WITHOUT, Count


def counts(found: int, faces: int = 1000, false: int = 0, kind: int = 100) -> dict[str, Count]:
    hits = tuple(bool(hit) for hit in np.arange(faces) < found)
    return {
        "some": Count(hits, 0, faces),
        "others": Count((True,) * kind + (False,) * (100 - kind), 0, 100),
        WITHOUT: Count((), false, 100),
    }


def test_equal_models_pass() -> None:
    verdict = judge_detector(counts(990), counts(990), 0.97)
    assert verdict.passed
    assert [looks.found for looks in verdict.looks] == [990, 100, 0]


@pytest.mark.parametrize(
    ("full", "whole", "overlap", "reason"),
    [
        (counts(990), counts(970), 0.97, "finds 1.82% fewer faces, and up to 2."),
        (counts(990), counts(990, kind=90), 0.97, "others: 10.0% fewer"),
        (counts(990), counts(990, false=2), 0.97, "2 false faces in 100"),
        (counts(990), counts(990), 0.89, "overlap"),
        (counts(700), counts(700), 0.97, "80% are asked for"),
    ],
)
def test_each_limit_refuses(
    full: dict[str, Count], whole: dict[str, Count], overlap: float, reason: str
) -> None:
    verdict = judge_detector(full, whole, overlap)
    assert not verdict.passed
    assert any(reason in words for words in verdict.reasons), verdict.reasons


def test_as_many_false_faces_as_float_shows_are_no_loss() -> None:
    assert judge_detector(counts(990, false=3), counts(990, false=3), 0.97).passed
