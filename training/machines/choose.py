"""Which devices a network is fitted on: one, several of a machine, or those of several machines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import keras

from edgeemo.errors import RunError
from training.fit.recipe import Recipe
from training.machines import workers
from training.machines.devices import ONE, Asked, Devices, taken
from training.machines.seen import look


class DataParallel(Devices):
    """Several devices of this machine under JAX, through Keras' own distribution.

    The numbers are the same as on one, but for rounding.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(len(names))
        self._distribution = keras.distribution.DataParallel(devices=names)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See Devices."""
        with self._distribution.scope():
            yield


def choose_devices(asked: Asked) -> Devices:
    """The devices that --devices asks for; None for all accelerators where there are several.

    TF_CONFIG adds other machines. This comes before the first tensor that TensorFlow makes, and
    waits for the other machines.

    Raises:
        RunError: fewer devices than asked for, a backend that cannot share batches, a bad
            TF_CONFIG, or no answer from a machine.
    """
    backend, cluster = keras.backend.backend(), os.environ.get("TF_CONFIG")
    if backend == "tensorflow":
        return workers.choose(asked, cluster)
    if cluster:
        raise RunError(
            "TF_CONFIG is set, and several machines train with TensorFlow alone; expected "
            f"KERAS_BACKEND=tensorflow, received {backend}; set that, or unset TF_CONFIG"
        )
    if backend != "jax":
        if asked in (None, 1):
            return ONE
        raise RunError(
            "Keras shares batches among devices with jax and tensorflow, received "
            f"KERAS_BACKEND={backend} and --devices {asked}; set another backend, or leave "
            "--devices "
            "out"
        )
    available = keras.distribution.list_devices()
    names = taken(available, asked, accelerators=not available[0].startswith("cpu"))
    return DataParallel(names) if len(names) > 1 else ONE


def choose_side_by_side(asked: bool | None) -> bool:
    """Whether several seeds are trained side by side: as `asked`, or None for where that pays, on
    a GPU under JAX.

    Raises:
        RunError: asked for on another backend.
    """
    backend = keras.backend.backend()
    if asked is None:
        return backend == "jax" and bool(look(backend).gpus)
    if asked and backend != "jax":
        raise RunError(
            f"seeds are trained side by side under JAX alone, received Keras on {backend}; set "
            "KERAS_BACKEND=jax, or leave out --side-by-side"
        )
    return asked


def with_pipeline(recipe: Recipe, devices: Devices, *, settled: bool) -> Recipe:
    """The recipe with its pictures augmented where that pays (`augmented_where`), unless that is
    `settled`.
    """
    if settled:
        return recipe
    backend = keras.backend.backend()
    gpus = len(look(backend).gpus) if backend == "jax" else 0
    return replace(recipe, pipeline=augmented_where(backend, gpus, devices.count))


def augmented_where(backend: str, gpus: int, devices: int) -> str:
    """ "device" where Keras runs on JAX and on one device, a GPU, which a host could not feed; else
    "host", whose OpenCV is the faster one where the network has the same cores.
    """
    return "device" if backend == "jax" and gpus and devices == 1 else "host"
