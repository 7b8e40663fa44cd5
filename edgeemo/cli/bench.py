"""edgeemo bench"""

import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgeemo.cli.options import PlainPath, artifact_option, bundle_argument, threads_option
from edgeemo.cli.processor import processor_name
from edgeemo.cli.shell import say
from edgeemo.cli.tables import say_wrapped
from edgeemo.contract.checked.counts import count_of
from edgeemo.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeemo.backends import Backend
    from edgeemo.contract.bundle import Bundle


@click.command()
@bundle_argument(default=DEFAULT_MODEL)
@artifact_option()
@threads_option()
@click.option(
    "--all", "every", is_flag=True, help="Time all models that ship, in turns, and their ratios."
)
@click.option(
    "--beside",
    type=PlainPath(),
    metavar="OTHER.tflite",
    help="Run another TFLite model alternately and print the ratio.",
)
@click.option(
    "--runs",
    type=click.IntRange(10, 1_000_000),
    default=1000,
    help="Timed inferences of each model.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.pass_context
def bench(
    context: click.Context,
    bundle: str,
    artifact: str | None,
    threads: int,
    every: bool,
    beside: Path | None,
    runs: int,
    as_json: bool,
) -> None:
    """Time single-face inference on this machine: pixels in, logits out, one face at a time.

    Figures hold for this machine alone. --beside runs the two models in turns in one process, so
    that noise meets both.

    \b
    edgeemo bench small --runs 2000
    edgeemo bench nano --beside other.tflite
    edgeemo bench --all
    """
    if every:
        if context.get_parameter_source("bundle") is not ParameterSource.DEFAULT or artifact:
            raise click.UsageError("--all times each model's int8 file; drop BUNDLE and --artifact")
        _bench_all(threads, beside, runs, as_json)
        return
    from edgeemo.backends import open_backend
    from edgeemo.contract.checked import strict
    from edgeemo.recognizer import load_bundle

    opened = load_bundle(bundle)
    start = time.perf_counter()
    backend = open_backend(opened, artifact, threads=threads)
    loaded = time.perf_counter()
    call = _call(backend)
    call()
    first = time.perf_counter()
    calls = [call]
    if beside:
        calls.append(_other(beside, threads))
    times = alternate(calls, runs)
    result = {
        "model": opened.manifest.name,
        "artifact": backend.artifact,
        "interpreter": f"{backend.name} {backend.version}",
        "machine": machine(),
        "threads": threads,
        "runs": runs,
        "load_ms": 1000 * (loaded - start),
        "first_inference_ms": 1000 * (first - loaded),
        "ms": summary(times[0]),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if beside:
        other = summary(times[1])
        result |= {
            "beside": str(beside),
            "beside_ms": other,
            "ratio_p50": summary(times[0])["p50"] / other["p50"],
        }
    if as_json:
        say(strict.dumps_line(result))
    else:
        say_wrapped(*_lines(result))


def _bench_all(threads: int, beside: Path | None, runs: int, as_json: bool) -> None:
    from edgeemo.cli.family import family
    from edgeemo.contract.checked import strict

    rows = family()
    calls = _calls([bundle for _, bundle in rows], threads)
    names = [row.name for row, _ in rows]
    if beside:
        calls.append(_other(beside, threads))
        names.append(beside.name)
    p50 = {
        name: summary(times)["p50"]
        for name, times in zip(names, alternate(calls, runs), strict=True)
    }
    shipped = DEFAULT_MODEL if DEFAULT_MODEL in names else names[0]
    against = names[-1] if beside else shipped
    if as_json:
        say(strict.dumps_line({"machine": machine(), "threads": threads, "ms": p50}))
        return
    say_wrapped(
        f"{count_of(threads, 'thread')}  {machine()}  ({count_of(runs, 'run')} each, in turns)"
    )
    for name, ms in p50.items():
        say(f"{name:<20} p50 {ms:.3f} ms  {ms / p50[against]:.2f} x {against}")


def times_of(bundles: Sequence["Bundle"], runs: int = 200) -> list[float]:
    """Median milliseconds of one face through each bundle's int8 file, in turns."""
    calls = _calls(bundles, 1)
    return [summary(times)["p50"] for times in alternate(calls, runs)]


def _calls(bundles: Sequence["Bundle"], threads: int) -> list[Callable[[], object]]:
    from edgeemo.backends import open_backend

    return [_call(open_backend(bundle, threads=threads)) for bundle in bundles]


def _call(backend: "Backend") -> Callable[[], object]:
    """One inference of a drawn face."""
    import numpy as np

    face = np.random.default_rng(0).integers(0, 256, (1, *backend.spec.shape), dtype=np.uint8)
    return lambda: backend.infer(face)


def machine() -> str:
    """This machine's processor and system, in words."""
    return f"{processor_name()}, {platform.machine()}, {platform.system()} {platform.release()}"


def _other(path: Path, threads: int) -> Callable[[], object]:
    from edgeemo.backends.litert import timed_call
    from edgeemo.contract.checked.reading import read_regular, why_no_file
    from edgeemo.contract.container import MAX_BUNDLE_BYTES
    from edgeemo.errors import InvalidInput, MissingFile

    if why := why_no_file(path):
        raise MissingFile(f"{path}: {why}; expected a .tflite model for --beside")
    try:
        model = read_regular(path, MAX_BUNDLE_BYTES)
    except ValueError as error:
        raise InvalidInput(f"{path}: {error}; name a model for a device") from None
    return timed_call(model, path.name, threads)


def alternate(calls: Sequence[Callable[[], object]], runs: int) -> list[list[float]]:
    """Seconds of each call, the calls taking turns; a tenth of the runs warm up first."""
    times: list[list[float]] = [[] for _ in calls]
    for run in range(-runs // 10, runs):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if run >= 0:
                kept.append(time.perf_counter() - start)
    return times


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": 1000 * statistics.median(ordered),
        "p95": 1000 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "mean": 1000 * statistics.fmean(ordered),
    }


def _lines(result: dict[str, Any]) -> list[str]:
    ms = result["ms"]
    lines = [
        (
            f"{result['model']} {result['artifact']}  {result['interpreter']}  "
            f"{count_of(result['threads'], 'thread')}  {result['machine']}"
        ),
        (
            f"one face     p50 {ms['p50']:.3f} ms  p95 {ms['p95']:.3f} ms  mean {ms['mean']:.3f} ms"
            f"  ({count_of(result['runs'], 'run')})"
        ),
        (
            f"start        model load {result['load_ms']:.1f} ms, first inference"
            f" {result['first_inference_ms']:.2f} ms"
        ),
        f"memory       peak RSS {result['peak_rss_mb']:.0f} MB",
    ]
    if "beside" in result:
        other = result["beside_ms"]
        lines.append(
            f"beside       {result['beside']}: p50 {other['p50']:.3f} ms  p95 {other['p95']:.3f} ms"
            f"  mean {other['mean']:.3f} ms"
        )
        lines.append(
            f"ratio        {result['ratio_p50']:.2f} (p50 of {result['model']} / p50 of the other)"
        )
    return lines
