"""These files need Keras on JAX, which a process chooses once: tests/training/test_fast_path.py
runs them in one of its own.
"""

import os

from training.machines.backend import choose_backend

if os.environ.get("KERAS_BACKEND") != "jax":
    collect_ignore_glob = ["test_*.py"]
else:
    choose_backend()
