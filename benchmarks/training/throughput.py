"""Pictures a second of a whole epoch on the fast path against its bare gradient steps, and the step
against the chip's peak.

KERAS_BACKEND=jax python -m benchmarks.training.throughput --networks small,teacher --peak 989
"""

import time
from typing import Any

import click
import numpy as np

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
@click.option("--rounds", default=3, show_default=True, help="Epochs of each kind, in turns.")
@click.option("--peak", type=float, help="Peak of the chip in TFLOP/s in that precision.")
def main(networks: str, faces: int, rounds: int, peak: float | None) -> None:
    """Time epochs of NETWORKS on drawn pictures; the fastest of each kind counts."""
    where = check_backend()
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (faces, 48, 48), dtype=np.uint8)
    lesson = (0, jnp.asarray(np.full((faces, 7), 1 / 7, np.float16)))
    on_chip = on_device(images, np.arange(faces), 1)
    say(f"{where}, {faces:,} pictures, JAX {jax.__version__}")
    for name in networks.split(","):
        choice = TEACHER if name == "teacher" else STUDENT
        whole, bare = _seconds(name, choice, on_chip, lesson, rounds)
        steps = max(1, faces // choice.batch)
        seen = steps * choice.batch
        work = 6 * multiply_accumulates(drawn(name, 1, choice.precision)) * seen / bare / 1e12
        share = "" if peak is None else f", {work / peak:.0%} of the peak"
        say(
            f"{name}, batch of {choice.batch}: {seen / whole:,.0f} pictures/s, "
            f"bare steps {seen / bare:,.0f}; the pictures' share of an epoch "
            f"{1 - bare / whole:.1%}; a bare step {1000 * bare / steps:.2f} ms, "
            f"{work:.1f} TFLOP/s (3 x 2 x MACs){share}"
        )


def _seconds(
    name: str, choice: Choice, faces: dict[str, Any], lesson: Any, rounds: int
) -> tuple[float, float]:
    """Seconds of an epoch as it is trained, and of its bare steps."""
    model = drawn(name, 1, choice.precision)
    shape = choice.shape(len(faces["slots"]))
    kinds = [Programs(model, shape), Bare(model, shape)]
    states: list[Any] = [kind.state() for kind in kinds]
    times: list[list[float]] = [[], []]
    numbers = choice.numbers(shape, 100)
    for turn in range(rounds + 1):
        for i, kind in enumerate(kinds):
            start = time.perf_counter()
            states[i], loss = kind.epoch(states[i], faces, lesson, 1, turn, numbers)
            float(loss)
            if turn:
                times[i].append(time.perf_counter() - start)
    return min(times[0]), min(times[1])


if __name__ == "__main__":
    main()
