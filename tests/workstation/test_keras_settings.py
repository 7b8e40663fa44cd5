"""What Keras is imported with; tests/training/machines/test_backend.py has its settings."""

import importlib
import sys
import wave

import pytest

from workstation.keras_settings import hidden


def test_what_is_hidden_imports_again_afterwards_and_what_was_loaded_stays() -> None:
    sys.modules.pop("colorsys", None)
    with hidden(["colorsys", "wave"]):
        with pytest.raises(ImportError, match="colorsys"):
            importlib.import_module("colorsys")
        assert importlib.import_module("wave") is wave
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0.0)


def test_what_was_hidden_comes_back_after_an_error() -> None:
    sys.modules.pop("colorsys", None)
    with pytest.raises(ValueError, match="inside"), hidden(["colorsys"]):
        raise ValueError("inside")
    assert "colorsys" not in sys.modules
