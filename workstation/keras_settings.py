"""Keras with its own defaults, whatever the machine says: a run or a bundle made beside another
user's keras.json is, bit for bit, the one made without.

Keras reads KERAS_HOME/keras.json (~/.keras by default) and KERAS_* variables when it is imported.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from edgeemo.errors import BrokenDependency, MissingDependency
from edgeemo.optional import IMPORTING, is_installed, need
from workstation.quiet import quiet

# In the order of measured speed on CPUs (docs/stack.md).
BACKENDS = ("tensorflow", "torch", "jax")

# They cut training short, choose other layers, or have TensorFlow convert with Keras 2.
IGNORED = (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
    "TF_USE_LEGACY_KERAS",
)

# Keras, and TensorFlow for JAX, import them if they are there, for features that nobody here uses,
# and the import then takes twice as long.
UNUSED = ("sklearn", "matplotlib", "pandas", "jax")


def settings_file() -> Path:
    """Where Keras reads a user's settings, whether or not there is such a file."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras", "keras.json").expanduser()


def check_backend(name: str) -> None:
    """Refuse a KERAS_BACKEND that is none of BACKENDS, or that is not installed.

    Raises:
        MissingDependency: with the names that it can be here.
    """
    here = [backend for backend in BACKENDS if is_installed(backend)]
    if name in here:
        return
    wrong = "is not installed" if name in BACKENDS else "is no backend that trains"
    expected = f"one of {', '.join(here)}" if here else "a backend, of which none is installed"
    out = "set one of them, or" * bool(here) or "to see what to install,"
    raise MissingDependency(
        f"KERAS_BACKEND={name[:40]}: expected {expected}, and {name[:40]!r} {wrong}; {out} run: "
        "unset KERAS_BACKEND"
    )


@contextmanager
def hidden(names: Iterable[str]) -> Iterator[None]:
    """Let imports of these packages fail inside the block, as if they were not installed; those
    that are imported already stay.
    """
    absent = [name for name in names if name not in sys.modules]
    # None says "not there" to the import system.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def load_keras(extra: str, purpose: str) -> ModuleType:
    """Import keras, with KERAS_BACKEND set already, and give it its own defaults.

    `extra` and `purpose` as `edgeemo.optional.need` takes them. Variables that would change what is
    computed are taken out of this process's environment.

    Raises:
        MissingDependency: not installed.
        BrokenDependency: it does not import, or runs on another backend already.
    """
    for name in IGNORED:
        os.environ.pop(name, None)
    asked = os.environ["KERAS_BACKEND"]
    with quiet(), IMPORTING, hidden(name for name in UNUSED if name != asked):
        try:
            keras = need("keras", extra, purpose)
        except BrokenDependency as error:
            raise _with_settings_file(error) from None
    config = keras.config
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")
    config.set_dtype_policy("float32")
    for of_newer_keras in ("set_max_epochs", "set_max_steps_per_epoch"):
        if hasattr(config, of_newer_keras):
            getattr(config, of_newer_keras)(None)
    used = str(config.backend())
    if used != asked:
        raise BrokenDependency(
            f"expected Keras on {asked}, and it was imported on {used} in this process already; "
            f"start a new one with KERAS_BACKEND={asked}"
        )
    return keras


def _with_settings_file(error: BrokenDependency) -> BrokenDependency:
    """The error, or where Keras refuses its settings file, one that names the file."""
    path = settings_file()
    if not path.is_file() or not (
        "configuration" in str(error) or isinstance(error.__cause__, AttributeError)
    ):
        return error
    return BrokenDependency(
        f"{path}: Keras does not take its settings ({error.__cause__}); correct or remove the file"
    )
