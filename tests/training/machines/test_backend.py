"""What a machine is set to changes no result: Keras' settings file and variables, matplotlibrc."""

import hashlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeemo.errors import MissingDependency
from tests import support
from training.machines.backend import choose_backend
from workstation.figures import figure_png, plt

NETWORK = """
from training.machines.backend import choose_backend
choose_backend()
import keras
layer = keras.layers.Conv2D(2, 3)
print(layer.dtype, layer.data_format, keras.config.epsilon(), keras.config.max_epochs())
"""


def drawn() -> str:
    """The digest of a figure."""
    figure, panel = plt.subplots()
    panel.plot([1, 2, 4])
    panel.set_title("epochs")
    return hashlib.sha256(figure_png(figure)).hexdigest()


FIGURE = f"""
import hashlib
from workstation.figures import figure_png, plt
{inspect.getsource(drawn)}
print(drawn())
"""


def started(code: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(support.REPOSITORY)} | environment,
    )  # fmt: skip


def settings(folder: Path, **values: object) -> str:
    (folder / "keras.json").write_text(json.dumps(values))
    return str(folder)


def test_choosing_gives_keras_its_own_settings_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    keras.config.set_floatx("float16")
    keras.config.set_epsilon(1e-3)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    choose_backend()
    layer = keras.layers.Conv2D(2, 3)
    assert (keras.config.floatx(), keras.config.epsilon()) == ("float32", 1e-7)
    assert (layer.dtype_policy.name, layer.data_format) == ("float32", "channels_last")
    assert "KERAS_MAX_EPOCHS" not in os.environ


@pytest.mark.slow
def test_settings_file_and_variables_of_keras_change_no_number(tmp_path: Path) -> None:
    home = settings(tmp_path, floatx="float16", image_data_format="channels_first", epsilon=1e-3)
    done = started(NETWORK, KERAS_BACKEND="jax", KERAS_HOME=home, KERAS_MAX_EPOCHS="1")
    assert done.stdout == "float32 channels_last 1e-07 None\n", done.stderr


def test_settings_file_that_keras_refuses_is_named(tmp_path: Path) -> None:
    home = settings(tmp_path, floatx="float8")
    done = started(
        "from training.machines.backend import choose_backend; choose_backend()",
        KERAS_BACKEND="jax",
        KERAS_HOME=home,
    )
    assert f"{home}/keras.json: Keras does not take its settings" in done.stderr
    assert "correct or remove the file" in done.stderr


@pytest.mark.parametrize("name", ["tenserflow", "TensorFlow", "numpy"])
def test_backend_that_cannot_be_is_refused_with_those_that_can(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(
        MissingDependency, match=rf"KERAS_BACKEND={name}: expected one of tensorflow.*unset"
    ):
        choose_backend()


def test_figures_are_the_same_beside_a_matplotlibrc(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.size: 22\nimage.origin: lower\nlines.linewidth: 9")
    done = started(FIGURE, MATPLOTLIBRC=str(tmp_path))
    assert done.stdout.strip() == drawn(), done.stderr
