"""Pictures a second of a whole epoch on the fast path against its bare gradient steps, and the step
against the chip's peak.

KERAS_BACKEND=jax python -m benchmarks.training.throughput --networks small,teacher --peak 989
KERAS_BACKEND=jax python -m benchmarks.training.throughput --faces 2048 --rounds 7   # on a CPU

Both kinds of epoch take turns in one process, and a share is the median over the pairs. On a CPU the
share of the processor time counts: other processes lengthen the seconds, hardly that.
"""

import time
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from training.fast.choices import STUDENT, TEACHER, Choice
from training.fast.engine import Programs, on_device
from training.fast.job import drawn
from training.fast.xla import check_backend, jax, jnp
from training.networks.cost import multiply_accumulates


class Bare(Programs):
    """The same programs without augmentation and mixup: the pictures go into the network as they
    are.
    """

    def _on_batch(self, state: Any, faces: Any, lesson: Any, batch: Any, numbers: Any) -> Any:
        chosen, _ = batch
        # A slice of the pictures in their own order costs next to nothing, unlike a gathered batch.
        x = jax.lax.dynamic_slice_in_dim(faces["images"], chosen[0] % 7, self.shape.batch)
        y = jax.lax.dynamic_slice_in_dim(lesson[1], chosen[0] % 7, self.shape.batch)
        x, y = x[..., None].astype(jnp.float32), y.astype(jnp.float32)
        return self._step(state, x, y, numbers)


@click.command()
@click.option("--networks", default="nano,small,base", show_default=True)
@click.option("--faces", default=24_000, show_default=True, help="Pictures of an epoch.")
@click.option("--rounds", default=5, show_default=True, help="Pairs of epochs that count.")
@click.option("--peak", type=float, help="Peak of the chip in TFLOP/s in that precision.")
def main(networks: str, faces: int, rounds: int, peak: float | None) -> None:
    """Time epochs of NETWORKS on drawn pictures, whole ones and bare steps in turns."""
    where = check_backend()
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (faces, 48, 48), dtype=np.uint8)
    lesson = (0, jnp.asarray(np.full((faces, 7), 1 / 7, np.float16)))
    on_chip = on_device(images, np.arange(faces), 1)
    say(f"{where}, {faces:,} pictures, JAX {jax.__version__}, {rounds} pairs")
    for name in networks.split(","):
        choice = TEACHER if name == "teacher" else STUDENT
        shape = choice.shape(faces)
        seconds, processor = _times(name, choice, on_chip, lesson, rounds)
        seen = shape.steps * shape.batch
        whole, bare = np.median(seconds, axis=0)
        work = 6 * multiply_accumulates(drawn(name, 1, choice.precision)) * seen / bare / 1e12
        share = "" if peak is None else f", {work / peak:.0%} of the peak"
        say(
            f"{name}, batch of {shape.batch}: {seen / whole:,.0f} pictures/s, "
            f"bare steps {seen / bare:,.0f}; a bare step {1000 * bare / shape.steps:.2f} ms, "
            f"{work:.3g} TFLOP/s (3 x 2 x MACs){share}"
        )
        say(f"  the pictures' share of the seconds {_share(seconds)}")
        if where == "cpu":
            per_picture = 1000 * np.median(processor, axis=0) / seen
            say(
                f"  of the processor time {_share(processor)}; a picture "
                f"{per_picture[0]:.2f} ms of it, bare {per_picture[1]:.2f} ms"
            )


def _share(pairs: NDArray[np.float64]) -> str:
    """What of a whole epoch is not its bare steps, by times (rounds, 2) of both."""
    shares = 1 - pairs[:, 1] / pairs[:, 0]
    return f"{np.median(shares):.1%} ({shares.min():.1%} to {shares.max():.1%})"


def _times(
    name: str, choice: Choice, faces: dict[str, Any], lesson: Any, rounds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds (rounds, 2) of an epoch as it is trained and of its bare steps, and of the processor
    in all threads.
    """
    model = drawn(name, 1, choice.precision)
    shape = choice.shape(len(faces["slots"]))
    kinds = [Programs(model, shape), Bare(model, shape)]
    states: list[Any] = [kind.state() for kind in kinds]
    times = np.zeros((rounds + 1, 2, 2))
    numbers = choice.numbers(shape, 100)
    for turn in range(rounds + 1):  # the first one compiles
        for i in (0, 1) if turn % 2 else (1, 0):
            begun = np.array([time.perf_counter(), time.process_time()])
            states[i], loss = kinds[i].epoch(states[i], faces, lesson, 1, turn, numbers)
            float(loss)
            times[turn, :, i] = np.array([time.perf_counter(), time.process_time()]) - begun
    return times[1:, 0], times[1:, 1]


if __name__ == "__main__":
    main()
