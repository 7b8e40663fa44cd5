"""Milliseconds of a gradient step by precision, in turns; under torch with and without fusing.

KERAS_BACKEND=torch OMP_NUM_THREADS=2 python -m benchmarks.training.step --model small
"""

import time
from collections.abc import Iterator
from typing import Any

import click
import numpy as np

from training.machines.backend import choose_backend

BACKEND = choose_backend()

import keras  # noqa: E402 - the backend has to be chosen before

from edgeemo.cli.shell import say  # noqa: E402
from edgeemo.contract.input_spec import DEFAULT_SPEC  # noqa: E402
from edgeemo.contract.labels import LABELS  # noqa: E402
from training.machines.compute import computing_in, fuse_normalization  # noqa: E402
from training.networks import NETWORKS  # noqa: E402

PRECISIONS = ("float32", "bfloat16")


@click.command()
@click.option("--model", type=click.Choice(list(NETWORKS)), default="small", show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option(
    "--rounds",
    default=8,
    show_default=True,
    help="Steps of each kind, in turns; the median counts.",
)
def main(model: str, batch_size: int, rounds: int) -> None:
    """Time gradient steps of MODEL on drawn pictures."""
    rng = np.random.default_rng(1)
    pictures = rng.uniform(0, 255, (batch_size, *DEFAULT_SPEC.shape)).astype(np.float32)
    targets = np.eye(len(LABELS), dtype=np.float32)[rng.integers(0, len(LABELS), batch_size)]
    networks = dict(_networks(model))
    times: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(rounds + 2):  # the first two make graphs and kernels
        for name, network in networks.items():
            start = time.perf_counter()
            network.train_on_batch(pictures, targets)
            if turn >= 2:
                times[name].append(1000 * (time.perf_counter() - start))
    slowest = max(float(np.median(taken)) for taken in times.values())
    say(f"{model}, batch of {batch_size}, Keras {keras.__version__} on {BACKEND}")
    for name, taken in times.items():
        say(f"{name:<28}{np.median(taken):8.0f} ms a step  {np.median(taken) / slowest:5.2f}x")


def _networks(model: str) -> Iterator[tuple[str, Any]]:
    for precision in PRECISIONS:
        for fused in (False, True)[: 2 if BACKEND == "torch" else 1]:
            with computing_in(precision):
                network = NETWORKS.get(model)(DEFAULT_SPEC, len(LABELS))
            if fused:
                fuse_normalization(network)
            network.compile(
                keras.optimizers.AdamW(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True)
            )
            yield f"{precision}{', fused normalization' if fused else ''}", network


if __name__ == "__main__":
    main()
