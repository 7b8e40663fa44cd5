"""TensorFlow's distribution strategies behind Keras: several GPUs of a machine, and several
machines that TF_CONFIG names.

The one place of training that imports TensorFlow: `MultiWorkerMirroredStrategy` has no counterpart
in Keras. `Model.fit` and `train_on_batch` of Keras 3 do not work with it
(tensorflow/tensorflow#72388), so Keras' train_step runs in a loop of our own, as TensorFlow's guide
to custom training describes it.
"""

import faulthandler
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.errors import RunError
from edgeemo.optional import need
from training.fit.recipe import Recipe
from training.machines.devices import ONE, Asked, Devices, taken

_EXAMPLE = (
    '\'{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", '
    '"index": 0}}\''
    ", the index 1 on the other machine"
)
# How long a worker waits for the others to be started, and TensorFlow for all of them to connect,
# in seconds.
_MEETING, _JOINING = 600, 120


@dataclass(frozen=True)
class Cluster:
    """The workers' addresses "host:port", the chief's first, and which of them this one is."""

    addresses: tuple[str, ...]
    """host:port of each machine, the chief first."""
    index: int
    """Which of them this is."""


class Replicas(Devices):
    """The devices of a TensorFlow strategy: each takes every n-th picture of a batch, and all of
    them the same step.

    Batch normalization takes its statistics over all devices, so n devices take the step of one.
    Dropout draws the same masks on each.
    """

    def __init__(self, strategy: Any, workers: int, chief: bool) -> None:
        super().__init__(strategy.num_replicas_in_sync, workers, chief)
        self._strategy, self._tf = strategy, _tensorflow()
        self._fitted: tuple[keras.Model, Callable[..., Any]] | None = None
        self._gather = self._tf.function(
            lambda rows: strategy.gather(rows, axis=0), autograph=False
        )

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See Devices."""
        with self._told_of_losses(), self._strategy.scope():
            yield

    def step(self, model: keras.Model, x: Any, y: Any, weights: Any) -> float:
        """See Devices."""
        if self._fitted is None or self._fitted[0] is not model:
            self._fitted = model, self._step_of(model)
        return float(
            self._fitted[1](*(self._shared(part) for part in (x, y, weights) if part is not None))
        )

    def gathered(self, values: list[float]) -> NDArray[np.float64]:
        """See Devices. A worker of several devices gives its values once for each."""
        with self._told_of_losses():
            row = self._tf.constant([values], "float64")
            of_each = self._strategy.experimental_distribute_values_from_function(lambda _: row)
            return np.asarray(self._gather(of_each))

    def check(self, recipe: Recipe, pictures: int) -> None:
        """See Devices; nor can they train in simulated int8, whose ranges would be each device's
        own.
        """
        super().check(recipe, pictures)
        if recipe.qat:
            raise RunError(
                "simulated int8 is trained on one device; add --devices 1, and unset TF_CONFIG"
            )

    def _step_of(self, model: keras.Model) -> Callable[..., Any]:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        model.optimizer.build(model.trainable_variables)

        def part_of_step(*batch: Any) -> Any:
            model.reset_metrics()  # here, where it is each device's own matter
            # Keras divides the loss by the number of devices, so that their gradients add up to
            # those of the whole batch.
            return model.train_step(batch)["loss"]

        def step(*batch: Any) -> Any:
            return self._strategy.reduce(
                "MEAN", self._strategy.run(part_of_step, args=batch), axis=None
            )

        compiled: Callable[..., Any] = self._tf.function(step, autograph=False)
        return compiled

    def _shared(self, batch: NDArray[Any]) -> Any:
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: self._tf.constant(batch[context.replica_id_in_sync_group :: self.count])
        )

    @contextmanager
    def _told_of_losses(self) -> Iterator[None]:
        """Tell in one line what TensorFlow says in many when another worker ends."""
        errors = self._tf.errors
        lost = (
            errors.UnavailableError,
            errors.AbortedError,
            errors.CancelledError,
            errors.DeadlineExceededError,
        )
        try:
            yield
        except (
            *lost,
            errors.FailedPreconditionError,
            errors.InternalError,
            errors.UnknownError,
        ) as error:
            if self.workers == 1:
                raise
            reason = " ".join(str(error).rpartition("aborted by: ")[2].split())[:150]
            raise RunError(
                f"another worker ended or cannot be reached ({reason}); see what it says last, "
                "then start all workers again, "
                "with --resume where an epoch is finished"
            ) from None


def choose(asked: Asked, config: str | None) -> Devices:
    """Devices of this machine, or of all workers of the TF_CONFIG `config`; see
    training.machines.devices.choose_devices.
    """
    cluster = read_cluster(config) if config else None
    if cluster is not None and len(cluster.addresses) > 1:
        return _join(cluster, asked)
    config_of = _tensorflow().config
    kind = "GPU" if config_of.list_physical_devices("GPU") else "CPU"
    if kind == "CPU" and asked in (None, 1):
        return ONE
    available = [device.name for device in config_of.list_logical_devices(kind)]
    names = taken(available, asked, accelerators=kind == "GPU")
    return (
        Replicas(_tensorflow().distribute.MirroredStrategy(names), 1, True)
        if len(names) > 1
        else ONE
    )


def read_cluster(config: str) -> Cluster:
    """The workers that a TF_CONFIG names.

    Raises:
        RunError: not JSON, no cluster of workers (and a chief at most) as host:port, or a task that
            is none of them.
    """
    try:
        value = json.loads(config)
        jobs, task = value["cluster"], value["task"]
        kind, index = task["type"], task["index"]
        if not set(jobs) <= {"chief", "worker"} or len(jobs.get("chief", [])) > 1:
            raise ValueError(f"jobs {', '.join(jobs)}; there can be one chief, and workers")
        if kind not in jobs or type(index) is not int or not 0 <= index < len(jobs[kind]):
            raise ValueError(f"no {kind} {index} in the cluster")
        addresses = (*jobs.get("chief", []), *jobs.get("worker", []))
        if len(set(addresses)) < len(addresses) or not all(_port(address) for address in addresses):
            raise ValueError("an address that is not host:port, or twice there")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(
            f"TF_CONFIG names no cluster of workers ({what}); expected for example {_EXAMPLE}"
        ) from None
    return Cluster(addresses, index + (len(jobs.get("chief", [])) if kind == "worker" else 0))


def meet(cluster: Cluster, seconds: float) -> None:
    """Wait until all workers are started: each holds its own port open and knocks at the others'.

    TensorFlow alone would wait without an end, and cannot be interrupted while it does.

    Raises:
        RunError: the own port is taken, or a worker does not answer within `seconds`.
    """
    own = cluster.addresses[cluster.index]
    family = (
        {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
    )
    try:
        room = socket.create_server(("", _port(own)), **family)  # type: ignore[arg-type]
    except OSError as error:
        raise RunError(
            f"{own}: the port of worker {cluster.index} cannot be opened ({error.strerror}); "
            "choose another in TF_CONFIG"
        ) from None
    deadline = time.monotonic() + seconds
    with room:
        for index, address in enumerate(cluster.addresses):
            while index != cluster.index and not _answers(address):
                if time.monotonic() > deadline:
                    raise RunError(
                        f"worker {index} at {address} did not answer within {seconds:.0f} s; start "
                        "the same command there with "
                        "that index in its TF_CONFIG, and let this machine reach its port"
                    )
                time.sleep(0.2)


def _join(cluster: Cluster, asked: Asked) -> Replicas:
    tf, workers = _tensorflow(), len(cluster.addresses)
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        used = taken(
            [gpu.name for gpu in gpus], "all" if asked is None else asked, accelerators=True
        )
        tf.config.set_visible_devices(gpus[: len(used)], "GPU")
    elif asked not in (None, 1, "all"):
        raise RunError(f"expected 1 as --devices, as there is no GPU here, received {asked}")
    say(
        f"worker {cluster.index} of {workers}: waiting for the others, at most {_MEETING} s",
        err=True,
    )
    meet(cluster, _MEETING)
    # A worker that is lost just now would leave this call waiting for good, and Python with it.
    faulthandler.dump_traceback_later(_JOINING, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.OpError as error:
        raise RunError(
            "the workers met but TensorFlow could not join them "
            f"({error.message.splitlines()[0]}); start all of them again"
        ) from None
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Replicas(strategy, workers, cluster.index == 0)


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() and address[0] != ":" and 0 < int(port) < 65536 else 0


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False


def _tensorflow() -> Any:
    return need("tensorflow", "cpu", "to train on several machines or GPUs")
