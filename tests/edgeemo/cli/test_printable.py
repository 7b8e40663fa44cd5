"""What others wrote reaches terminal, JSON, log and pages as printable characters alone."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.cli import shell
from edgeemo.cli.main import main
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.text import printable, without_halves
from edgeemo.models import find_model
from tests.support import REPOSITORY, done_here, matching_hashes, png_of, rezip
from workstation import html

HOSTILE = "a\x1b[31mb\rc\nd\u202ee\udce9\ud800\x07\x9b"
SHOWN = r"a\x1b[31mb\rc\nd\u202ee\xe9\ud800\x07\x9b"


def test_escapes_line_ends_and_halves_are_shown_as_python_writes_them() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("Grüße, 表情 🙂") == "Grüße, 表情 🙂"


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_printable_and_utf8(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()
    without_halves(text).encode()


def test_json_keeps_all_characters_but_halves() -> None:
    line = strict.dumps_line({"image": HOSTILE, "box": (1, 2)})
    assert line.isascii()
    assert json.loads(line) == {
        "image": "a\x1b[31mb\rc\nd\u202ee\\xe9\\ud800\x07\x9b",
        "box": [1, 2],
    }
    assert strict.loads(strict.dumps({HOSTILE: "🙂"})) == {without_halves(HOSTILE): "🙂"}


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'["\udfff\ud800"]', b'["\xed\xa0\x80"]'])
def test_json_from_outside_with_half_a_character_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="half of a character|invalid|can't decode"):
        strict.loads(text)
    assert strict.loads(r'"\ud83d\ude42"') == "🙂"


def test_pages_show_it_too() -> None:
    assert html.text(f"<{HOSTILE}>") == f"&lt;{SHOWN}&gt;"


def test_programs_say_log_and_fail_in_printable_characters() -> None:
    @click.command()
    @click.argument("word")
    def group(word: str) -> None:
        shell.say(word, "second")
        shell.log_to_stderr("it", logging.INFO)
        logging.getLogger("edgeemo.test").info("logged %s", word)
        raise ValueError(word.replace("\n", ""))

    before = logging.root.handlers[:], logging.root.level
    try:
        done = done_here(group, "it", HOSTILE)
    finally:
        logging.root.handlers[:], logging.root.level = before
    assert done.stdout == f"{SHOWN}\nsecond\n"
    logged, failed = done.stderr.splitlines()
    assert logged == f"it: logged {SHOWN}"
    assert done.stderr.replace("\n", "").isprintable()
    assert failed.startswith("it: unexpected ValueError: a\\x1b[31mb")
    wrong = done_here(group, "it", "word", HOSTILE)
    assert wrong.returncode == 2
    assert wrong.stderr.replace("\n", "").isprintable()


def test_predict_names_a_file_of_bytes_and_escapes(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9\x1b[31m\n.png")
    with open(name, "wb") as file:
        file.write(png_of(48, 48))
    command = [sys.executable, "-m", "edgeemo", "predict", name, name + b"2", "--detector", "whole"]
    plain = subprocess.run(command, capture_output=True, cwd=REPOSITORY)
    shown = f"{tmp_path}/caf\\xe9\\x1b[31m\\n.png"
    assert plain.stdout.decode().startswith(f"{shown}: ")
    assert plain.stdout.decode().count("\n") == 1
    assert f"edgeemo: {shown}2: no such file" in plain.stderr.decode()
    as_json = subprocess.run([*command, "--json"], capture_output=True, cwd=REPOSITORY)
    assert json.loads(as_json.stdout)["image"] == f"{tmp_path}/caf\\xe9\x1b[31m\n.png"


def test_info_and_doctor_show_a_hostile_bundle_in_printable_characters(tmp_path: Path) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        text = HOSTILE.encode("utf-8", "ignore").decode()
        manifest["training"]["recipe"] = {"model": text, text: text}
        report = json.loads(entries["report.json"])
        for entry in report["selftest"]["int8.tflite"]:
            entry[:] = [text, "0" * 16]
        report["artifacts"][text] = {text: text}
        entries["report.json"] = json.dumps(report).encode()
        matching_hashes(entries, manifest)

    path = rezip(find_model("base"), tmp_path / "hostile.edgeemo", change)
    for words in (["info", path], ["doctor", "--model", path], ["info", path, "--json"]):
        done = done_here(main, "edgeemo", *words)
        assert re.sub(r"\n", "", done.stdout + done.stderr).isprintable(), words


def test_nothing_but_the_shell_prints() -> None:
    allowed = {"edgeemo/cli/shell.py"}
    for folder in ("edgeemo", "training", "export", "workstation"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            name = file.relative_to(REPOSITORY).as_posix()
            calls = re.findall(r"^\s*(?:click\.s?echo|print)\(", file.read_text(), re.MULTILINE)
            if name not in allowed and not name.endswith("edgeemo/__init__.py"):
                assert not calls, f"{name}: use edgeemo.cli.shell.say"
