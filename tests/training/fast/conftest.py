"""These files need Keras on JAX: tests/training/test_fast_path.py runs them apart."""

import os

if os.environ.get("KERAS_BACKEND") != "jax":
    collect_ignore_glob = ["test_*.py"]
