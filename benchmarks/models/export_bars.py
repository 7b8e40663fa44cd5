"""The export stage's bars: time and peak memory of `build`, and the time of `evaluate`.

Each runs as its own process.

python -m benchmarks.models.export_bars RUN prepared/ [--json OUT.json]

Bars, for `small` on two cores and 3,579 faces: build under 4 minutes and 3 GiB, evaluate with int8
TFLite under 10 s.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.run import run_files
from edgeemo.data.prepared import prepared_files

_MINUTES, _GIB, _SECONDS = 4.0, 3.0, 10.0


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the figures here."
)
def main(run: Path, data: Path, json_path: Path | None) -> None:
    """Build RUN with the prepared folder DATA, then evaluate what came of it.

    Exit code 1 when a bar is missed.
    """
    if json_path:
        check_output(json_path, (*run_files(run), *prepared_files(data)))
    with tempfile.TemporaryDirectory() as folder:
        bundle = str(Path(folder, "bar.edgeemo"))
        build = _measured(["-m", "export", "build", str(run), "--data", str(data), "--out", bundle])
        evaluate = _measured(
            ["-m", "edgeemo", "evaluate", bundle, str(data), "--against", "report"]
        )
    rows = (
        ("build, minutes", build["seconds"] / 60, _MINUTES),
        ("build, peak GiB", build["gib"], _GIB),
        ("evaluate int8.tflite against its report, seconds", evaluate["seconds"], _SECONDS),
    )
    for name, value, bar in rows:
        say(f"{name:<50}{value:>8.2f}  bar {bar:g}  {value / bar:.2f} of it")
    if json_path:
        with written_beside(json_path) as part:
            part.write_text(strict.dumps({"build": build, "evaluate": evaluate}))
    if any(value >= bar for _, value, bar in rows):
        sys.exit(1)


def _measured(words: list[str]) -> dict[str, float]:
    """Seconds, and GiB of the largest resident set, of a Python process that must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(
            f"{' '.join(words)} failed: {errors.decode(errors='replace')[-500:]}"
        )
    return {"seconds": time.perf_counter() - start, "gib": usage.ru_maxrss / 2**20}


if __name__ == "__main__":
    main()
