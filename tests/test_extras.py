"""Lines that say what to install name extras of pyproject.toml, in messages and in documents."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgeemo.optional import install_line
from tests.support import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
CODE = ("edgeemo", "training", "export", "workstation", "benchmarks")
# Which argument of a call names extras.
CALLS = {"need": 1, "install_line": 0, "load_keras": 0}
WRITTEN = re.compile(r"(?:edgeemo|\.|checkout|/)\[([a-z0-9,]+)\]['\"]")


def named_in_code() -> Iterator[tuple[str, str]]:
    for folder in CODE:
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                place = CALLS.get(getattr(node.func, "id", ""))
                if place is not None and len(node.args) > place:
                    value = node.args[place]
                    if isinstance(value, ast.Constant):
                        yield f"{file}:{node.lineno}", str(value.value)


def written() -> Iterator[tuple[str, str]]:
    files = [REPOSITORY / "pyproject.toml", *REPOSITORY.glob("*.md")]
    for folder in (*CODE, "docs", "firmware_examples", "scripts"):
        files += [p for p in (REPOSITORY / folder).rglob("*") if p.suffix in (".md", ".py", ".sh")]
    for file in files:
        for found in WRITTEN.finditer(file.read_text(encoding="utf-8", errors="replace")):
            yield str(file), found[1]


def test_every_extra_that_is_named_exists() -> None:
    named = [*named_in_code(), *written()]
    assert len(named) > 40
    assert {"train,gpu", "train,cpu", "train,export"} <= {extras for _, extras in named}
    wrong = [(place, one) for place, extras in named for one in extras.split(",")
             if one not in EXTRAS]  # fmt: skip
    assert wrong == []


def test_pi_takes_the_light_litert_where_it_is_built() -> None:
    (litert,) = [Requirement(line) for line in EXTRAS["pi"] if "litert<" in line]
    assert litert.specifier.contains("1.2.0")
    assert not litert.specifier.contains("2.3.0")
    marker = litert.marker
    assert marker is not None
    assert marker.evaluate({"python_version": "3.11"})
    assert not marker.evaluate({"python_version": "3.13"})
    (any_of_them,) = [Requirement(line) for line in EXTRAS["litert"]]
    assert any_of_them.specifier.contains("1.2.0")


def test_extras_parse_and_lead_to_a_backend() -> None:
    parsed = {extra: [Requirement(line) for line in lines] for extra, lines in EXTRAS.items()}
    cpu = {one.name for one in parsed["cpu"]}
    gpu = {one.name: one.extras for one in parsed["gpu"]}
    assert (cpu, gpu) == ({"tensorflow-cpu", "tensorflow"}, {"jax": {"cuda13"}})
    assert any(one.name == "edgeemo" and "cpu" in one.extras for one in parsed["export"])
    own = {extra for lines in parsed.values() for one in lines if one.name == "edgeemo"
           for extra in one.extras}  # fmt: skip
    assert own <= set(EXTRAS)


def test_a_pi_and_a_jetson_get_interpreters_and_pillow_alone() -> None:
    def bought(extra: str) -> set[str]:
        lines = [Requirement(line) for line in EXTRAS[extra]]
        inner = [part for one in lines if one.name == "edgeemo" for part in sorted(one.extras)]
        outside = {one.name for one in lines if one.name != "edgeemo"}
        return outside.union(*(bought(part) for part in inner))

    assert bought("pi") == {"ai-edge-litert", "pillow"}
    # `face`, the detector that ships, runs on LiteRT alone.
    assert bought("jetson") == {"ai-edge-litert", "onnxruntime", "pillow"}
    assert bought("heic") == {"pillow", "pillow-heif"}
    assert "opencv-python-headless" in bought("desktop") & bought("train")


def test_the_line_names_the_checkout_where_the_installed_package_lacks_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert install_line("nonsense") == f"pip install -e '{REPOSITORY}[nonsense]'"
    monkeypatch.chdir(REPOSITORY)
    assert install_line("nonsense", anew=True) == ("pip install --force-reinstall -e '.[nonsense]'")


def test_the_line_names_the_package_where_it_is_installed_with_that_extra() -> None:
    known = importlib.metadata.metadata("edgeemo").get_all("Provides-Extra") or []
    assert "train" in known
    assert install_line("train") == "pip install 'edgeemo[train]'"


def test_a_program_without_its_packages_names_the_extra_that_brings_them(tmp_path: Path) -> None:
    # Without the environment's packages, but for the two that the command line needs.
    for name in ("numpy", "click"):
        package = Path(__import__(name).__file__ or "").parent
        (tmp_path / name).symlink_to(package)
        if (libraries := package.with_name(f"{name}.libs")).is_dir():
            (tmp_path / libraries.name).symlink_to(libraries)
    for words, missing, extra in (
        (("training", "stats", "x"), "cv2", "train"),
        (("export", "build", "x", "--data", "y", "--out", "z.edgeemo"), None, "export"),
        (("training", "train", "--data", "x", "--out", "y"), "Keras needs a backend", "train,cpu"),
        (("training", "family", "--data", "x", "--out", "y"), "jax", "train,gpu"),
    ):
        done = subprocess.run(
            [sys.executable, "-S", "-m", *words],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=60,
            env={"PYTHONPATH": f"{REPOSITORY}:{tmp_path}", "PATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert f"python -m {words[0]}: {missing or ''}" in done.stderr
        assert f"run: pip install -e '.[{extra}]'" in done.stderr
