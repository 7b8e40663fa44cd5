"""Chooses a Keras backend that is installed, before keras is imported: without one, `import keras`
fails obscurely.
"""

import os

from edgeemo.errors import MissingDependency
from edgeemo.optional import is_installed, need
from workstation.quiet import quiet

# In the order of measured speed on CPUs (docs/stack.md).
_BACKENDS = ("tensorflow", "torch", "jax")


def choose_backend() -> str:
    """Set KERAS_BACKEND where it is unset, to the first backend that is installed, and return it.

    Raises:
        MissingDependency: no keras or no backend; the message names the install command.
    """
    if not os.environ.get("KERAS_BACKEND"):
        installed = [name for name in _BACKENDS if is_installed(name)]
        if not installed:
            raise MissingDependency(
                "Keras needs a backend and none is installed; run: pip install -e "
                "'.[train,export]' (TensorFlow), "
                "or pip install torch or jax"
            )
        os.environ["KERAS_BACKEND"] = installed[0]
    # A worker that is lost gets one line of ours, not twenty of TensorFlow's.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if os.environ.get("TF_CONFIG") else "2")
    with quiet():
        need("keras", "train", "to train")
    return os.environ["KERAS_BACKEND"]
