"""Chooses a Keras backend that is installed, before keras is imported: without one, `import keras`
fails obscurely.
"""

import os
from pathlib import Path

from edgeemo.errors import MissingDependency
from edgeemo.optional import install_line, is_installed
from training.machines.nvidia import device_files
from training.machines.seen import EXTRAS, chosen_here, uses_cuda
from workstation.keras_settings import BACKENDS, check_backend, load_keras


def choose_backend(preferred: str | None = None, purpose: str = "to train") -> str:
    """Set KERAS_BACKEND where it is unset, import Keras with its own defaults, and return it.

    Unset, it becomes `preferred`, or the first backend that is installed; on a machine with an
    NVIDIA GPU the first that was built for it, if there is one. Settings of the user's keras.json
    are not taken over. `purpose` says in an error what the backend is needed for.

    Raises:
        MissingDependency: no keras or no backend, `preferred` is not installed, or KERAS_BACKEND
            names none that is; the message names what to set or the install command.
    """
    installed = [name for name in BACKENDS if is_installed(name)]
    if not os.environ.get("KERAS_BACKEND"):
        if preferred is not None and preferred not in installed:
            raise MissingDependency(
                f"{preferred} is needed {purpose} and is not installed; run: "
                f"{install_line(f'train,{EXTRAS[preferred]}')}"
            )
        if not installed:
            raise MissingDependency(f"Keras needs a backend and none is installed; run: {_lines()}")
        os.environ["KERAS_BACKEND"] = preferred or first_choice(installed)
        chosen_here(os.environ["KERAS_BACKEND"])
    check_backend(os.environ["KERAS_BACKEND"])
    # A worker that is lost gets one line of ours, not twenty of TensorFlow's.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if os.environ.get("TF_CONFIG") else "2")
    load_keras("train", "to train")
    return os.environ["KERAS_BACKEND"]


def first_choice(installed: list[str], devices: Path = Path("/dev")) -> str:
    """The backend to take of those installed, which are in the order of their speed on CPUs."""
    if not device_files(devices):
        return installed[0]
    # JAX before the others: the fast path is on it.
    built = [name for name in ("jax", *installed) if name in installed and uses_cuda(name)]
    return built[0] if built else installed[0]


def _lines() -> str:
    gpu, cpu = install_line("train,gpu"), install_line("train,cpu")
    if device_files():
        return f"{gpu} (JAX, for the NVIDIA GPU of this machine), or {cpu} (TensorFlow)"
    return f"{cpu} (TensorFlow), or {gpu} (JAX, for an NVIDIA GPU)"
