"""The documentation: links and anchors lead somewhere, commands parse, Python runs or fits the
code, quoted messages are those of the program, and the site builds without a warning.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import edgeemo
from edgeemo.version import __version__
from tests.support import REPOSITORY
from tests.test_help import COMMANDS, PROGRAMS

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "training/*.md", "firmware_examples/**/*.md")
    for path in REPOSITORY.glob(pattern)
)
TUTORIALS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def named(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in one of the languages, in order."""
    return [text for kind, text in FENCE.findall(page.read_text()) if kind in languages]


@functools.cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    prose = FENCE.sub("", page.read_text())
    titles = re.findall(r"^#+ +(.+)$", prose, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", title).strip().lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


def test_links_lead_to_files_and_headings_that_exist() -> None:
    wrong, seen = [], 0
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
            if re.match(r"[a-z]+:", link):
                continue
            seen += 1
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            there = target.exists() and REPOSITORY in target.parents
            if not there or (anchor and anchor not in anchors(target)):
                wrong.append(f"{named(page)}: {link}")
    assert seen > 100
    assert wrong == []


def command_lines(page: Path) -> Iterator[str]:
    """Lines of a page's shells that call a program of ours, whole and without remarks.

    Lines that show a form (brackets, dots, variables) and not a command are left out.
    """
    starts = tuple(f"{name} " for name in PROGRAMS)
    for block in blocks(page, "", "sh", "text"):
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            line = re.sub(r"^(\$ |sudo |[A-Z_]+=\S+ )+", "", line.strip())
            line = re.split(r" +#| \| | > | && |;", line)[0].strip()
            if line.startswith(starts) and not re.search(r"[\[\]<>$|…]|\.\.\.|:$", line):
                yield line


def test_commands_of_every_page_parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A player of sounds, which a hook of docs/serve.md calls, need not be on this machine.
    (player := tmp_path / "aplay").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(player.parent), prepend=os.pathsep)
    wrong, seen = [], 0
    for page in PAGES:
        for line in command_lines(page):
            name = next(name for name in PROGRAMS if line.startswith(f"{name} "))
            words = shlex.split(line.removeprefix(name))
            found = name
            while words and f"{found} {words[0]}" in COMMANDS:
                found = f"{found} {words.pop(0)}"
            seen += 1
            try:
                COMMANDS[found].make_context(found, words)
            except click.UsageError as error:
                wrong.append(f"{named(page)}: {line}: {error.format_message()}")
            except click.exceptions.Exit:
                continue  # --help, --version
    assert seen > 90
    assert wrong == []


def test_benchmarks_that_pages_name_exist() -> None:
    modules = {
        module
        for page in PAGES
        for module in re.findall(r"python -m\s+(benchmarks[\w.]*)", page.read_text())
    }
    assert len(modules) > 10
    assert [name for name in modules if importlib.util.find_spec(name.rstrip(".")) is None] == []


def misuse(tree: ast.AST) -> Iterator[str]:
    """Names that edgeemo lacks, and arguments that its public names do not take."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgeemo"):
            module = importlib.import_module(node.module or "")
            yield from (one.name for one in node.names if not hasattr(module, one.name))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "edgeemo":
            folder = importlib.util.find_spec(f"edgeemo.{node.attr}")
            if folder is None and not hasattr(edgeemo, node.attr):
                yield node.attr
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            if name in edgeemo.__all__ and callable(called := getattr(edgeemo, name)):
                takes = inspect.signature(called).parameters
                if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
                    yield from (f"{name}({one.arg}=)" for one in node.keywords
                                if one.arg and one.arg not in takes)  # fmt: skip


def test_python_of_every_page_compiles_and_fits_the_public_names() -> None:
    wrong, seen = [], 0
    for page in PAGES:
        for block in blocks(page, "python", "py"):
            seen += 1
            wrong += [f"{named(page)}: {fault}" for fault in misuse(ast.parse(block))]
    assert seen > 15
    assert wrong == []


def test_what_is_misused_is_seen() -> None:
    wrong = "from edgeemo import Nobody\nedgeemo.nothing(1)\nEmotionSensor('0', held=1)\n"
    assert set(misuse(ast.parse(wrong))) == {"Nobody", "nothing", "EmotionSensor(held=)"}


def test_the_kiosk_of_the_tutorial_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = REPOSITORY / "docs" / "tutorials" / "kiosk.md"
    exec(compile("\n".join(blocks(page, "python")), page.name, "exec"), {"__name__": "tutorial"})
    assert capsys.readouterr().out == "lamp on\nlamp off\n"


@pytest.mark.slow
def test_the_page_leads_from_keras_to_c(tmp_path: Path) -> None:
    page = REPOSITORY / "docs" / "tutorials" / "cortex-m.md"
    # The last block needs a compiler and QEMU; tests/firmware_examples does that.
    commands = blocks(page, "sh")[:-1]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    script = "\n".join(blocks(page, "python"))
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    for line in "".join(commands).replace("\\\n", " ").splitlines():
        line = re.sub(r"^python ", f"{sys.executable} ", line)
        line = re.sub(r"^edgeemo ", f"{sys.executable} -m edgeemo ", line)
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
    assert "selftest" in done.stdout or (tmp_path / "firmware-m4" / "edgeemo_model.h").is_file()


def literals() -> str:
    """All text that the programs hold, a line a literal, with … for what is filled in."""
    found = []
    for folder in ("edgeemo", "training", "export", "workstation"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [getattr(part, "value", "") for part in node.values]
                    found.append("…".join(p if isinstance(p, str) else "" for p in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(text.replace("\n", " ") for text in found)


def test_messages_of_the_troubleshooting_page_are_those_of_the_program() -> None:
    page = (REPOSITORY / "docs" / "help" / "troubleshooting.md").read_text()
    quoted = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    said = literals()
    pieces = [piece.strip() for message in quoted for piece in message.split("…")]
    assert len(quoted) > 15
    assert [piece for piece in pieces if len(piece) > 3 and piece not in said] == []


def test_version_is_that_of_the_changelog_and_of_what_is_written() -> None:
    from edgeemo.contract.manifest import OLDEST_READER

    versions = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\]", (REPOSITORY / "CHANGELOG.md").read_text(), re.M
    )
    numbers = [tuple(map(int, version.split("."))) for version in versions]
    current, oldest = (tuple(map(int, v.split("."))) for v in (__version__, OLDEST_READER))
    assert numbers == sorted(numbers, reverse=True)
    assert oldest <= current
    assert current >= numbers[0]


def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    for package in ("sphinx", "furo", "myst_parser", "sphinx_click"):
        pytest.importorskip(package, reason=f"needs {package}; run: pip install -e '.[docs]'")
    done = subprocess.run(
        [REPOSITORY / "scripts" / "site", tmp_path / "site"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    site = tmp_path / "site"
    pages = {page.relative_to(site).as_posix(): page.read_text() for page in site.rglob("*.html")}
    built = {named(page).removesuffix(".md") + ".html" for page in PAGES} - {"README.html"}
    assert built <= set(pages)
    remote = re.compile(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"https?:")
    assert [name for name, text in pages.items() if remote.search(text)] == []
    styles = "".join(style.read_text() for style in site.rglob("*.css"))
    assert not re.search(r"@import|url\([\"']?(?:https?:)?//", styles)
    commands, python = pages["docs/reference/commands.html"], pages["docs/reference/python.html"]
    assert [words for words in COMMANDS if words not in commands] == []
    assert [name for name in edgeemo.__all__ if f'id="edgeemo.{name}"' not in python] == []
