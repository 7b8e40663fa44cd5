"""The units that bring models to a kiosk: they parse, and call what there is."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeemo.cli.main import main
from edgeemo.slots import store
from edgeemo.updates import client
from tests.support import REPOSITORY

KIOSK = REPOSITORY / "firmware_examples" / "raspberry_pi_kiosk"
UNITS = [*KIOSK.glob("edgeemo-update.*"), *KIOSK.glob("edgeemo-updated.*")]


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((KIOSK / name).read_text())
    return parser


def test_the_update_is_asked_for_as_documented_and_the_kiosk_hears_of_it() -> None:
    words = shlex.split(unit("edgeemo-update.service")["Service"]["ExecStart"])
    assert (Path(words[0]).name, *words[1:]) == ("edgeemo", "update", "$EDGEEMO_UPDATE")
    (given,) = re.findall(r'EDGEEMO_UPDATE="(.*?)"', (KIOSK / "README.md").read_text())
    command = main.get_command(None, "update")  # type: ignore[arg-type]
    assert command
    command.make_context("update", shlex.split(given))
    state = Path("/var/lib", unit("edgeemo-update.service")["Service"]["StateDirectory"])
    assert state == store.FOLDER
    watched = Path(unit("edgeemo-updated.path")["Path"]["PathChanged"])
    assert watched == state / client._FOLDER / client._LAST
    assert unit("edgeemo-update.timer")["Timer"]["RandomizedDelaySec"]


def test_both_programs_may_write_where_models_are_installed() -> None:
    for name in ("edgeemo-kiosk.service", "edgeemo-serve.service"):
        service = unit(name)["Service"]
        assert (service["User"], service["StateDirectory"]) == ("edgeemo", "edgeemo"), name


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_pass_systemd(path: Path, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze, which is not installed here")
    for other in UNITS:
        text = re.sub(r"(ExecStart=)\S+", rf"\1{sys.executable}", other.read_text())
        (tmp_path / other.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / path.name],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if path.name in line] == []
