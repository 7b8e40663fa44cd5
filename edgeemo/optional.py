"""Optional packages: absent says what installs them, broken says why it does not import.

They are imported late, by whichever thread comes first, and here alone: OpenCV takes itself out of
`sys.modules` while it loads, so another thread would meet half of it, or none.
"""

import importlib
import importlib.util
import os
import shlex
import sys
import threading
from pathlib import Path
from types import ModuleType

from edgeemo.errors import BrokenDependency, MissingDependency

IMPORTING = threading.RLock()
"""Held while a package of others is looked for or imported, so that no second thread does."""
# Read when the library is loaded: ONNX Runtime from 1.29 writes a device id and an event database
# under the user's cache and looks up a host of Microsoft's.
_SILENCED = {"ORT_DISABLE_TELEMETRY": "1"}


def send_nothing() -> None:
    """Switch off what optional packages would send of their own accord, in this process and in
    those that it starts. What the user has set stays.

    `need` does it before each import; programs do it first, for packages that import others.
    """
    for name, value in _SILENCED.items():
        os.environ.setdefault(name, value)


def is_installed(module: str) -> bool:
    """Whether the package of `module` can be found, without importing it.

    A folder without code, such as an uninstall leaves behind, is no package.
    """
    try:
        with IMPORTING:
            spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def loaded(module: str, *names: str) -> ModuleType | None:
    """`module` where something has loaded it already, with these names in it; None elsewhere, also
    while another thread is still loading it.

    For what only makes the very same result faster: loading OpenCV takes 36 MB.
    """
    there = sys.modules.get(module)
    return there if there and all(hasattr(there, name) for name in names) else None


def install_line(extras: str, *, anew: bool = False) -> str:
    """The command that installs the extras of edgeemo ("train" or "train,gpu"); `anew` over what is
    there.

    Where edgeemo is installed and knows these extras, its name does; beside a checkout that is not
    installed, or was when it had fewer extras, the folder is named.
    """
    import importlib.metadata  # takes 20 ms, and only errors need it

    options = " --force-reinstall" * anew
    checkout = Path(__file__).resolve().parent.parent
    known: set[str] = set()
    for installed in importlib.metadata.distributions(name="edgeemo"):
        if (
            Path(str(installed.locate_file(""))).resolve() != checkout
        ):  # what a build left there is not
            known.update(installed.metadata.get_all("Provides-Extra") or [])
    if set(extras.split(",")) <= known or not (checkout / "pyproject.toml").is_file():
        return f"pip install{options} 'edgeemo[{extras}]'"
    folder = "." if checkout == Path.cwd() else str(checkout)
    return f"pip install{options} -e {shlex.quote(f'{folder}[{extras}]')}"


def need(module: str, extra: str, purpose: str, *, called: str = "") -> ModuleType:
    """Import `module`, which the extra `extra` installs; messages say `called` for its name.

    Raises:
        MissingDependency: not installed; the message names the command that installs it.
        BrokenDependency: installed, but its import fails; the message carries the reason.
    """
    called = called or module.partition(".")[0]
    if not is_installed(module):
        raise MissingDependency(
            f"{called} is needed {purpose} and is not installed; run: {install_line(extra)}"
        )
    send_nothing()
    try:
        with IMPORTING:
            return importlib.import_module(module)
    except Exception as error:
        raise BrokenDependency(
            f"{called} is installed but does not import ({type(error).__name__}:"
            f" {str(error).splitlines()[0] if str(error) else ''}); run:"
            f" {install_line(extra, anew=True)}"
        ) from error
