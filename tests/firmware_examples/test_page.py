"""The page on a kiosk's screen, and the container: units, installer and files as they are checked
without the machines that they are for.
"""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgeemo.cli.main import main
from tests.support import REPOSITORY

KIOSK = REPOSITORY / "firmware_examples" / "raspberry_pi_kiosk"
CONTAINER = REPOSITORY / "firmware_examples" / "container"
SERVE, PAGE = KIOSK / "edgeemo-serve.service", KIOSK / "edgeemo-page.service"
EXTRAS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def service(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text())
    return parser["Service"]


def parses(words: list[str]) -> None:
    """Whether `edgeemo` takes these words; raises click's UsageError."""
    command = main.get_command(None, words[0])  # type: ignore[arg-type]
    assert command is not None
    command.make_context(words[0], words[1:])


def test_server_is_watched_restarted_and_shut_in() -> None:
    unit = service(SERVE)
    assert (unit["Type"], unit["NotifyAccess"], unit["Restart"]) == ("notify", "main", "always")
    assert int(unit["WatchdogSec"]) >= 60  # the page is to say that the camera is lost
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == ("any", "localhost")
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["User"] not in ("", "root")
    program, verb, options = shlex.split(unit["ExecStart"])
    assert (Path(program).name, verb, options) == ("edgeemo", "serve", "$EDGEEMO_SERVE")
    settings = (KIOSK / "install.sh").read_text()
    (words,) = re.findall(r"^#EDGEEMO_SERVE=(.*)$", settings, re.MULTILINE)
    parses(["serve", *shlex.split(words)])


def test_browser_shows_the_servers_page_and_nothing_else() -> None:
    unit = service(PAGE)
    words = shlex.split(unit["ExecStart"].replace("\\\n", " "))
    assert words[:3] == ["/usr/bin/cage", "--", "/usr/bin/chromium"]
    assert {"--kiosk", "--no-first-run"} <= set(words)
    assert "EDGEEMO_PAGE=http://127.0.0.1:8765/?kiosk" in PAGE.read_text()
    assert unit["IPAddressAllow"] == "localhost"


@pytest.mark.parametrize(("unit", "most"), [(SERVE, 2.0), (PAGE, 7.5)])
def test_units_pass_systemd_and_score(unit: Path, most: float, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze, which is not installed here")
    copy = tmp_path / unit.name
    # Where the programs are, here.
    text = re.sub(r"(ExecStart=)\S+", rf"\1{sys.executable}", unit.read_text())
    copy.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60
    )
    assert [line for line in verified.stderr.splitlines() if unit.name in line] == []
    scored = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", copy],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", scored.stdout)
    assert float(score) <= most
    stated = (KIOSK / "README.md").read_text()
    assert f"{unit.name}` {score}" in stated


def test_installer_of_the_page_says_its_steps() -> None:
    done = subprocess.run(
        [KIOSK / "install.sh", "--page", "--dry-run"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "gpiozero" not in done.stdout  # of the lamp
    for step in ("[pi,serve,mqtt]", "edgeemo-serve.service", "edgeemo-page.service"):
        assert step in done.stdout
    assert "edgeemo-kiosk.service /etc" not in done.stdout
    for extra in ("pi", "serve", "mqtt"):
        assert extra in EXTRAS


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and what follows it, comments left out."""
    lines = [line for line in (CONTAINER / "Dockerfile").read_text().splitlines()
             if not line.startswith("#")]  # fmt: skip
    text = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if line]


def test_dockerfile_keeps_hadolints_rules() -> None:
    found = instructions()
    stages = [index for index, (word, _) in enumerate(found) if word == "FROM"]
    assert len(stages) == 2  # what builds stays behind
    base = dict(found[: stages[0]])["ARG"]
    assert re.fullmatch(r"BASE=\S+:\S+", base)  # DL3006: a tag
    assert not base.endswith(":latest")  # DL3007
    runs = [text for word, text in found if word == "RUN"]
    for text in runs:
        assert "sudo" not in text  # DL3004
        assert not re.search(r"\bapt \b|apt-get upgrade", text)  # DL3027, DL3005
        if "apt-get install" in text:
            assert "apt-get update &&" in re.sub(r"\s+", " ", text)  # DL3009, in one layer
            assert "install -y --no-install-recommends" in text  # DL3014, DL3015
            assert "rm -rf /var/lib/apt/lists/*" in text  # DL3009
        if "pip install" in text:
            assert "--no-cache-dir" in text  # DL3042
        assert "|" not in text.replace("||", "")  # DL4006: no pipe without pipefail
    last = found[stages[1] :]
    assert [text for word, text in last if word == "USER"][-1] == "1000:1000"  # DL3002
    assert sum(word == "HEALTHCHECK" for word, _ in last) == 1  # DL3012
    assert not any(word in ("ADD", "MAINTAINER") for word, _ in found)  # DL3020, DL4000
    for word, text in found:
        if word in ("ENTRYPOINT", "CMD"):
            assert text.startswith("[")  # DL3025
        if word == "WORKDIR":
            assert text.startswith("/")  # DL3000
    entry = next(text for word, text in last if word == "ENTRYPOINT")
    words = [*re.findall(r'"([^"]*)"', entry), "--camera", "/dev/video0"]
    assert words[0] == "edgeemo"
    parses(words[1:])
    wanted = re.findall(r"'\.\[([a-z,]+)\]'", "\n".join(runs))[0].split(",")
    assert set(wanted) <= set(EXTRAS)


def test_compose_gives_the_container_a_camera_and_little_else() -> None:
    text = (CONTAINER / "compose.yaml").read_text()
    for line in ("read_only: true", "- ALL", "- no-new-privileges:true", "- /dev/video0",
                 '"127.0.0.1:8765:8765"', "dockerfile: firmware_examples/container/Dockerfile"):  # fmt: skip
        assert line in text
    assert "privileged: true" not in text
    assert "network_mode" not in text
    ignored = (CONTAINER / "Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*"
    for word, copied in instructions():
        if word == "COPY" and not copied.startswith("--from"):
            assert all(f"!{name}" in ignored for name in copied.split()[:-1])
