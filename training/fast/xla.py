"""JAX, for the fast path alone: everything else of training runs on whichever backend Keras has."""

import os
from typing import Any

from edgeemo.errors import MissingDependency
from edgeemo.optional import need

os.environ.setdefault("KERAS_BACKEND", "jax")

jax: Any = need("jax", "gpu", "to train on the fast path")
jnp: Any = jax.numpy


def check_backend() -> str:
    """Where JAX computes, "cpu" or "gpu".

    Raises:
        MissingDependency: Keras was told to run on another backend, whose networks JAX cannot
        compile.
    """
    import keras

    if keras.backend.backend() != "jax":
        raise MissingDependency(
            f"expected Keras on jax for the fast path, received {keras.backend.backend()}; "
            "set KERAS_BACKEND=jax"
        )
    return str(jax.default_backend())


def keep_compiled(folder: str) -> None:
    """Keep compiled programs in `folder`, so that the next process need not compile them again."""
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
