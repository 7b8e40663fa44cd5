"""Compiled programs of one network: an epoch of gradient steps, and the logits of a list of
pictures.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.fast.augment import augment, draws, mixed, share_table
from training.fast.optimizer import decayed, new_state, updated
from training.fast.xla import jax, jnp
from training.fit.recipe import Augmentation

CLASSES = 7
_MEASURED, _LONG = 5, 1.0  # steps, and seconds after which no other one is measured
_MIXING = 1  # apart from the draws of the augmentation


@dataclass(frozen=True)
class Shape:
    """What a program is compiled for: change it and it has to be compiled again."""

    batch: int
    """Pictures a step."""
    slots: int
    """Entries of an epoch's list; what does not fill a batch is left for another epoch."""
    augmentation: Augmentation
    """How strongly pictures are changed where they are fitted to."""
    views: Augmentation
    """The same where they are scored for students."""
    scored: int
    """Pictures a step where logits alone are wanted."""

    @property
    def steps(self) -> int:
        """Gradient steps of an epoch."""
        return max(1, self.slots // self.batch)


def schedule(
    shape: Shape,
    epochs: int,
    *,
    peak: float,
    warmup: float,
    decay: float,
    momentum: float,
    mixup: float,
) -> dict[str, Any]:
    """The numbers that a program takes and is not compiled for; `epochs` and `warmup` in epochs."""
    numbers = {
        "peak": peak,
        "warmup": float(round(warmup * shape.steps)),
        "total": float(epochs * shape.steps),
        "decay": decay,
        "momentum": momentum,
    }
    plain = {name: np.float32(value) for name, value in numbers.items()}
    return plain | {"table": share_table(mixup)}


class Programs:
    """The programs of one network, compiled when first called or, by `ready`, before.

    The network computes in its own precision; its logits (n, 7 * heads) are float32. A state is
    what
    `training.fast.optimizer.new_state` makes; `epoch` takes it over and gives the next.
    """

    def __init__(self, model: keras.Model, shape: Shape) -> None:
        self.model, self.shape = model, shape
        self.heads = int(model.outputs[0].shape[-1]) // CLASSES
        self._decays = decayed(model)
        self._one = jax.jit(self._on_batch, donate_argnums=0)
        self._ordered = jax.jit(self._order)
        in_one = jax.default_backend() != "cpu"
        whole: Any = jax.jit(self._an_epoch, donate_argnums=0)
        self._epoch: Any = whole if in_one else self._by_steps
        self._view = jax.jit(self._scores_of_view)
        self._score = jax.jit(self._scores)

    def state(self) -> dict[str, Any]:
        """The start of a training from the network's present weights."""
        return new_state(self.model)

    def epoch(
        self, state: Any, faces: Any, lesson: Any, seed: int, number: int, numbers: Any
    ) -> Any:
        """(state, mean loss) after epoch `number` of a training by `seed`, which draws order and
        mixup.

        Args:
            state: given up; take the new one.
            faces: from `on_device`; their seed draws the views.
            lesson: ("view", "table"): which view of the faces is seen, and its targets, float16
                (slots, 7 * heads).
            numbers: from `schedule`.
        """
        view, table = lesson
        return self._epoch(
            state, faces, (np.int32(view), table), np.uint32(seed), np.int32(number), numbers
        )

    def seconds_of_epoch(self, faces: Any, table: Any, numbers: Any) -> float:
        """Seconds of an epoch that trains nothing of use: the shorter of two; where an epoch is a
        call for each step, by the first steps.
        """
        times: list[float] = []
        state = self.state()
        if self._epoch != self._by_steps:
            for _ in range(2):
                start = time.monotonic()
                state, loss = self.epoch(state, faces, (0, table), 0, 0, numbers)
                float(loss)
                times.append(time.monotonic() - start)
            return min(times)
        batches = zip(*self._ordered(np.uint32(0), np.int32(0)), strict=True)
        for batch in itertools.islice(batches, _MEASURED):
            start = time.monotonic()
            state, loss = self._one(state, faces, (np.int32(0), table), batch, numbers)
            float(loss)
            times.append(time.monotonic() - start)
            if sum(times) > _LONG:
                break
        return float(np.median(times)) * self.shape.steps

    def scores_of_view(self, state: Any, faces: Any, view: int) -> Any:
        """float32 (slots, 7 * heads) logits of the averaged weights on the pixels of a view of
        `faces`, before any mixup.
        """
        return self._view(_network_of(state), faces, np.int32(view))

    def scores(self, state: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (n, 7 * heads) logits of the averaged weights on uint8 (n, S, S) pictures as they
        are.
        """
        padded = _padded(images, self.shape.scored)
        return np.asarray(self._score(_network_of(state), padded))[: len(images)]

    def ready(
        self, state: Any, faces: Any, table: Any, numbers: Any, images: NDArray[np.uint8]
    ) -> list[Callable[[], None]]:
        """What compiles the epoch and the scores of so many `images`, to call in any thread."""
        zero, seed, lesson = np.int32(0), np.uint32(0), (np.int32(0), table)
        score = self._score.lower(_network_of(state), _padded(images, self.shape.scored))
        if self._epoch == self._by_steps:
            batch = np.zeros(self.shape.batch, np.int32), np.zeros(self.shape.batch, np.float32)
            epoch = "_one", self._one.lower(state, faces, lesson, batch, numbers)
        else:
            epoch = "_epoch", self._epoch.lower(state, faces, lesson, seed, zero, numbers)
        traced = [epoch, ("_score", score)]
        return [self._compiling(name, program) for name, program in traced]

    def ready_to_score(self, state: Any, faces: Any) -> Callable[[], None]:
        """What compiles the scores of a view."""
        program = self._view.lower(_network_of(state), faces, np.int32(0))
        return self._compiling("_view", program)

    def _compiling(self, name: str, program: Any) -> Callable[[], None]:
        return lambda: setattr(self, name, program.compile())

    def keep(self, state: Any) -> keras.Model:
        """The network with the averaged weights of a state."""
        values = jax.device_get(_network_of(state))
        for variable, value in zip(self.model.trainable_variables, values["average"], strict=True):
            variable.assign(value)
        for variable, value in zip(
            self.model.non_trainable_variables, values["others"], strict=True
        ):
            variable.assign(value)
        return self.model

    def _order(self, seed: Any, number: Any) -> tuple[Any, Any]:
        """The batches of an epoch, int32 (steps, batch) places in the list, and mixup's draws for
        them.
        """
        shape = self.shape
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _MIXING), number)
        order_key, share_key = jax.random.split(key)
        order = jax.random.permutation(order_key, shape.slots)
        order = jnp.resize(order, (shape.steps * shape.batch,))
        shares = jax.random.uniform(share_key, (shape.steps, shape.batch))
        return order.reshape(shape.steps, shape.batch), shares

    def _an_epoch(
        self, state: Any, faces: Any, lesson: Any, seed: Any, number: Any, numbers: Any
    ) -> Any:
        def step(carry: Any, batch: Any) -> Any:
            return self._on_batch(carry, faces, lesson, batch, numbers)

        state, losses = jax.lax.scan(step, state, self._order(seed, number))
        return state, losses.mean()

    def _on_batch(self, state: Any, faces: Any, lesson: Any, batch: Any, numbers: Any) -> Any:
        (view, table), (chosen, share) = lesson, batch
        u = draws(jax.random.key(faces["seed"]), view, chosen)
        pictures = faces["images"][faces["slots"][chosen]][..., None]
        x = augment(pictures, u, self.shape.augmentation)
        x, y = mixed(x, table[chosen].astype(jnp.float32), share, numbers["table"])
        return self._step(state, x, y, numbers)

    def _by_steps(
        self, state: Any, faces: Any, lesson: Any, seed: Any, number: Any, numbers: Any
    ) -> Any:
        """An epoch as so many calls: on a CPU XLA computes convolutions inside of a loop in one
        slow thread.
        """
        order, shares = self._ordered(seed, number)
        losses = []
        for batch in zip(order, shares, strict=True):
            state, loss = self._one(state, faces, lesson, batch, numbers)
            losses.append(loss)
        return state, jnp.stack(losses).mean()

    def _step(self, state: Any, x: Any, y: Any, numbers: Any) -> Any:
        def loss(weights: Any) -> Any:
            logits, others = self.model.stateless_call(weights, state["others"], x, training=True)
            return objective(y, logits), others

        (value, others), gradients = jax.value_and_grad(loss, has_aux=True)(state["weights"])
        new = updated(state, gradients, self._decays, numbers)
        return new | {"others": others}, value

    def _scores_of_view(self, network: Any, pictures: Any, view: Any) -> Any:
        shape, key = self.shape, jax.random.key(pictures["seed"])
        slots = len(pictures["slots"])
        size = min(shape.scored, slots)
        steps = -(-slots // size)
        places = jnp.minimum(jnp.arange(steps * size), slots - 1).reshape(steps, size)

        def score(chosen: Any) -> Any:
            u = draws(key, view, chosen)
            x = augment(pictures["images"][pictures["slots"][chosen]][..., None], u, shape.views)
            return self._logits(network, x)

        return _mapped(score, places).reshape(steps * size, -1)[:slots]

    def _scores(self, network: Any, batches: Any) -> Any:
        def score(batch: Any) -> Any:
            return self._logits(network, batch[..., None].astype(jnp.float32))

        logits = _mapped(score, batches)
        return logits.reshape(-1, logits.shape[-1])

    def _logits(self, network: Any, x: Any) -> Any:
        logits, _ = self.model.stateless_call(
            network["average"], network["others"], x, training=False
        )
        return logits


def objective(targets: Any, logits: Any) -> Any:
    """The mean over a batch of the cross-entropies of all heads, from targets and logits (n, 7 *
    heads).

    A head whose seven targets are 0 counts nothing for that picture.
    """
    logits = logits.astype(jnp.float32).reshape(len(logits), -1, CLASSES)
    shares = jax.nn.log_softmax(logits, axis=-1)
    return -(targets.reshape(logits.shape) * shares).sum(axis=(1, 2)).mean()


def on_device(images: Any, slots: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """The pictures as programs read them, sent to the device once.

    Args:
        images: uint8 (N, S, S), or such an array that is there already.
        slots: (slots,) rows of the pictures, the list that an epoch goes through; one may be in it
            repeatedly.
        seed: of the views, 0 to 2**32 - 1.
    """
    places = jnp.asarray(slots.astype(np.int32))
    return {"images": jnp.asarray(images), "slots": places, "seed": np.uint32(seed)}


def _network_of(state: Any) -> Any:
    return {"average": state["average"], "others": state["others"]}


def _mapped(of: Callable[[Any], Any], batches: Any) -> Any:
    """`of` each of the batches: in a loop on a GPU, one after another in the program of a CPU."""
    if jax.default_backend() != "cpu":
        return jax.lax.map(of, batches)
    return jnp.stack([of(batch) for batch in batches])


def _padded(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(batches, size, S, S) with the last picture repeated."""
    steps = -(-len(images) // size)
    places = np.minimum(np.arange(steps * size), len(images) - 1)
    return np.asarray(images[places].reshape(steps, size, *images.shape[1:]))
