"""How far each format's answers may be off, and on how many pictures."""

from dataclasses import replace

import numpy as np
import pytest

from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.models import find_model
from edgeemo.proof.selftest import replay, replays


@pytest.fixture(scope="module")
def nano() -> Bundle:
    return read_bundle(find_model("nano"))


def verdict(bundle: Bundle, file: str, pictures: int, off: float) -> tuple[bool | None, str]:
    """What the self-test says where `pictures` of the 32 stored answers are `off` logits off."""
    selftest = bundle.selftest()
    logits = selftest.logits[file].copy()
    logits[:pictures, 0] += np.float32(off)
    changed = replace(selftest, logits={**selftest.logits, file: logits})
    (plan,) = [plan for plan in replays(bundle.manifest) if plan.artifact.file == file]
    result = replay(bundle, plan, changed)
    assert result.differing == pictures / 32
    return result.passed, result.note


@pytest.mark.parametrize(
    ("file", "pictures", "off", "passed"),
    [
        ("fp32.onnx", 32, 5e-5, True),
        ("fp32.onnx", 1, 2e-4, False),
        ("fp16.onnx", 32, 0.02, True),
        ("fp16.onnx", 1, 0.05, False),
        ("int8.onnx", 4, 0.1, True),  # 255 steps span 9.2 logits
        ("int8.onnx", 5, 0.1, False),
        ("int8.onnx", 1, 0.2, False),
    ],
)
def test_answers_beyond_what_was_measured_fail(
    nano: Bundle, file: str, pictures: int, off: float, passed: bool
) -> None:
    assert verdict(nano, file, pictures, off)[0] is passed


def test_the_note_says_on_how_many_pictures(nano: Bundle) -> None:
    note = verdict(nano, "int8.onnx", 8, 0.05)[1]
    assert note == "25% of the pictures differ, allowed 12%"


def test_int8_onnx_gives_the_stored_bits_or_steps_on_a_few_pictures(nano: Bundle) -> None:
    (plan,) = [plan for plan in replays(nano.manifest) if plan.artifact.file == "int8.onnx"]
    result = replay(nano, plan, nano.selftest())
    assert result.passed
    assert result.difference <= 2
