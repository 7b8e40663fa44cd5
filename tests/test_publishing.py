"""Nothing is published while an address or a name stands for one that nobody has decided on."""

import shutil
import subprocess
from pathlib import Path

from tests.support import REPOSITORY

FILES = ("pyproject.toml", ".github/ISSUE_TEMPLATE/config.yml")


def refused(tree: Path) -> list[str]:
    """What publish-check says of a tree; nothing where it may be published."""
    done = subprocess.run(
        [REPOSITORY / "scripts" / "publish-check", tree], capture_output=True, text=True
    )
    assert done.returncode == bool(done.stderr)
    return done.stderr.splitlines()


def test_publishing_waits_for_each_address_and_for_somebody_who_answers(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    project, config = (tmp_path / name for name in FILES)
    for file in (project, config):
        file.write_text(file.read_text().replace("edgeemo.invalid", "code.host"))
    (tmp_path / "MAINTAINERS").write_text("A. Person <a@code.host>\n")
    assert refused(tmp_path) == []

    config.write_text(config.read_text().replace("code.host", "edgeemo.invalid"))
    assert [line.split(":")[0] for line in refused(tmp_path)[:-1]] == [FILES[1]]
    (tmp_path / "MAINTAINERS").write_text("\n")
    project.write_text(project.read_text().replace("https://code.host/docs", "http://docs.test/"))
    *missing, last = refused(tmp_path)
    assert [line.split(":")[0] for line in missing] == [*FILES, "MAINTAINERS"]
    assert last == 'not to be published; see CONTRIBUTING.md, "Before the first release"'


def test_the_release_asks_before_it_builds() -> None:
    steps = (REPOSITORY / ".github" / "workflows" / "release.yml").read_text()
    build, publish = steps.split("  publish:\n")
    assert "needs: build" in publish
    assert "if: github.ref_type == 'tag'\n        run: ./scripts/publish-check\n" in build
