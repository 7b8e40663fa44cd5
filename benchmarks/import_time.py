"""What `import edgeemo` costs over bare Python with NumPy imported, in fresh processes that take
turns.

python -m benchmarks.import_time
"""

import statistics
import subprocess
import sys
import time

import click

from edgeemo.cli.shell import say

_STATEMENTS = {
    "numpy": "import numpy",
    "numpy, edgeemo": "import numpy, edgeemo",
    "numpy, edgeemo.Recognizer": "import numpy, edgeemo; edgeemo.Recognizer",
    "first prediction": (
        "import numpy, edgeemo; edgeemo.predict(numpy.zeros((240, 320, 3), numpy.uint8))"
    ),
}


@click.command()
@click.option("--runs", default=20, show_default=True, help="Processes of each kind.")
def main(runs: int) -> None:
    """Print the median time of each statement and its distance from the first."""
    times: dict[str, list[float]] = {name: [] for name in _STATEMENTS}
    for _ in range(runs):
        for name, statement in _STATEMENTS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True, stderr=subprocess.DEVNULL)
            times[name].append(1000 * (time.perf_counter() - start))
    base = statistics.median(times["numpy"])
    for name, values in times.items():
        median = statistics.median(values)
        say(
            f"{name:<28} {median:7.1f} ms   {median - base:+7.1f} ms over numpy   ratio"
            f" {median / base:.2f}"
        )


if __name__ == "__main__":
    main()
