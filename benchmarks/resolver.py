"""What each profile of pyproject.toml installs, on each Python and processor, as a table.

python -m benchmarks.resolver                  # print the table
python -m benchmarks.resolver --write          # also put it into docs/reference/installing.md

Nothing is installed: uv resolves the extras from wheels alone, with the markers of that Python and
that processor. (`pip install --dry-run --platform` evaluates markers such as `platform_machine` on
the machine that it runs on, so that it cannot be asked for another one.) Needs uv and the package
index: pip install uv.
"""

import datetime
import itertools
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from edgeemo.cli.shell import say

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "installing.md"
PROFILES = {
    "": "the base",
    "pi": "`pi`",
    "jetson": "`jetson`",
    "desktop": "`desktop`",
    "train,cpu": "`train,cpu`",
    "train,gpu": "`train,gpu`",
    "train,export": "`train,export`",
}
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
# JetPack 6 has glibc 2.35, Debian 12 and Raspberry Pi OS 12 have 2.36.
LIBC = "manylinux_2_35"
# Whose release candidates are worth a word; where there is no finished version, they are taken.
NAMED = ("tensorflow", "tensorflow-cpu", "jax", "onnxruntime", "ai-edge-litert", "numpy")
BEGIN, END = "<!-- benchmarks.resolver: begin -->", "<!-- benchmarks.resolver: end -->"


def resolved(extras: str, python: str, machine: str) -> dict[str, str] | str:
    """The packages with their versions, or uv's reason why there is no such set."""
    asked = [word for extra in extras.split(",") if extra for word in ("--extra", extra)]
    done = subprocess.run(
        [
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--only-binary", ":all:", "--python-version", python),
            *("--python-platform", f"{machine}-{LIBC}", *asked, "pyproject.toml"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return " ".join(re.sub(r"[^ -~]", " ", done.stderr).split())
    return dict(line.split(" ")[0].split("==") for line in done.stdout.splitlines() if "==" in line)


def culprit(reason: str) -> str:
    """What uv names first as without a version for that Python, or without a wheel, as a cell."""
    found = re.search(r"and ([a-z0-9-]+)[<>=]\S* depends on Python", reason) or re.search(
        r"([a-z0-9-]+)[<>=]\S* has no (?:usable )?wheels", reason
    )
    return f"no: {found[1]}" if found else "no"


def cell(answer: dict[str, str] | str) -> str:
    """A number of packages with those that are not finished, or what stands in the way."""
    if isinstance(answer, str):
        return culprit(answer)
    unfinished = [
        f"{name} {version}"
        for name, version in answer.items()
        if name in NAMED and re.search(r"[a-z]", version)
    ]
    return ", ".join([str(len(answer)), *unfinished])


def table(answers: dict[tuple[str, str, str], dict[str, str] | str]) -> list[str]:
    """The lines of the Markdown table: a profile a row, a processor and Python a column."""
    columns = list(itertools.product(MACHINES, PYTHONS))
    head = ["extras", *(f"{machine} {python}" for machine, python in columns)]
    rows = [
        [name, *(cell(answers[extras, python, machine]) for machine, python in columns)]
        for extras, name in PROFILES.items()
    ]
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def write(lines: list[str]) -> None:
    """Put the lines between the page's two marks."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--write", "into_page", is_flag=True, help="Also put the table into the docs.")
def main(into_page: bool) -> None:
    """Resolve each profile for each Python and processor, without installing anything."""
    cases = list(itertools.product(PROFILES, PYTHONS, MACHINES))
    with ThreadPoolExecutor(8) as pool:  # they wait for the index
        answers = dict(zip(cases, pool.map(resolved, *zip(*cases, strict=True)), strict=True))
    for (extras, python, machine), answer in answers.items():
        if isinstance(answer, str):
            say(f"{extras or 'the base'}, Python {python}, {machine}: {answer[:600]}", err=True)
    uv = subprocess.run(["uv", "--version"], capture_output=True, text=True).stdout.split()[1]
    today = datetime.datetime.now(datetime.UTC).date()
    lines = [
        f"Packages in all, as uv {uv} resolved them on {today} ({LIBC}, wheels alone):",
        "",
        *table(answers),
    ]
    say(*lines)
    if into_page:
        write(lines)


if __name__ == "__main__":
    main()
