"""Chooses a Keras backend that is installed, before keras is imported: without one, `import keras`
fails obscurely.
"""

import os

from edgeemo.errors import MissingDependency
from edgeemo.optional import is_installed
from workstation.keras_settings import BACKENDS, check_backend, load_keras


def choose_backend(preferred: str | None = None) -> str:
    """Set KERAS_BACKEND where it is unset, import Keras with its own defaults, and return it.

    Unset, it becomes `preferred`, or the first backend that is installed. Settings of the user's
    keras.json are not taken over.

    Raises:
        MissingDependency: no keras or no backend, or KERAS_BACKEND names none that is installed;
            the message names what to set or the install command.
    """
    if not os.environ.get("KERAS_BACKEND"):
        installed = [name for name in BACKENDS if is_installed(name)]
        if not installed:
            raise MissingDependency(
                "Keras needs a backend and none is installed; run: pip install -e "
                "'.[train,export]' (TensorFlow), "
                "or pip install torch or jax"
            )
        os.environ["KERAS_BACKEND"] = preferred or installed[0]
    check_backend(os.environ["KERAS_BACKEND"])
    # A worker that is lost gets one line of ours, not twenty of TensorFlow's.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if os.environ.get("TF_CONFIG") else "2")
    load_keras("train", "to train")
    return os.environ["KERAS_BACKEND"]
