"""`edgeemo-train` and `edgeemo-export`: the workstation's programs of an editable install, from
whatever folder.
"""

import os
import runpy
import sys
from pathlib import Path

from edgeemo.cli import shell

_ROOT = Path(__file__).resolve().parents[2]


def train() -> None:
    """`edgeemo-train`: what `python -m training` is inside the checkout."""
    _run("training", "edgeemo-train", "train")


def export() -> None:
    """`edgeemo-export`: what `python -m export` is inside the checkout."""
    _run("export", "edgeemo-export", "export")


def _run(package: str, program: str, extra: str) -> None:
    """Run a package of the checkout that edgeemo was installed from, before others of its name.

    The folder goes first on the path of this process and of those that it starts, and on nobody
    else's: a package of another author that is called `training` stays what it is.
    """
    if not (_ROOT / package / "__main__.py").is_file() or not (_ROOT / "pyproject.toml").is_file():
        shell.say(
            f"{program}: expected edgeemo installed from a checkout, whose {package}/ it runs; "
            f"clone the repository, and there run: pip install -e '.[{extra}]'",
            err=True,
        )
        sys.exit(1)
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.path.insert(0, str(_ROOT))
    shell.SPOKEN |= {
        "python -m training": "edgeemo-train",
        "python -m export": "edgeemo-export",
    }
    runpy.run_module(package, run_name="__main__", alter_sys=True)
